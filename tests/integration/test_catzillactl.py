"""catzillactl against a real sidecar: what it sends of a file, and what it says of findings."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, program


def ctl(sidecar: Sidecar, *arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program("catzillactl").resolve()), "--address", sidecar.control, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", ["validate", "apply", "diff"])
def test_a_finding_is_told_once_with_its_file_and_line(
    sidecar: Sidecar, tmp_path: pathlib.Path, command: str
) -> None:
    (tmp_path / "mine.yaml").write_text("mounts:\n  - name: a\n    prefixx: /a\n")
    told = ctl(sidecar, command, "-f", "mine.yaml", cwd=tmp_path)
    text = told.stdout + told.stderr
    assert told.returncode == 6, text
    assert text.count("CZ1002") == 1, text
    assert "mine.yaml:3" in text


def test_relative_roots_count_from_the_file_and_live_mounts_serve(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "below").mkdir()
    make_site(tmp_path / "below")
    (tmp_path / "below" / "mine.yaml").write_text(
        "mounts: [{name: live, prefix: /live, root: site}]\n"
    )
    assert ctl(sidecar, "apply", "-f", "below/mine.yaml", cwd=tmp_path).returncode == 0
    with RawConnection(sidecar.port) as raw:
        assert raw.get("/live/a.txt").body == b"0123456789"
    listed = ctl(sidecar, "mount", "ls", cwd=tmp_path)
    assert "/live" in listed.stdout
    assert ctl(sidecar, "mount", "rm", "live", cwd=tmp_path).returncode == 0
    with RawConnection(sidecar.port) as raw:
        assert raw.get("/live/a.txt").status == 404


def test_an_unreachable_sidecar_has_its_own_exit_code(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    made = subprocess.run(
        [str(program("catzillactl")), "--address", f"unix:{tmp_path}/none.sock", "status"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 7, made.stderr
    assert "no sidecar answers at" in made.stderr


def test_o7_a_mistyped_command_or_flag_is_answered_with_the_likely_one(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    for arguments, likely in (
        (["explian"], "'explian' is no command (did you mean explain?)"),
        (["cache", "pruge"], "'pruge' is no command (did you mean purge?)"),
        (["cache", "purg"], "'purg' is no command (did you mean purge?)"),
        (["status", "--ouput", "json"], "'--ouput' is no flag (did you mean --output?)"),
        (["zzzzzzzz"], "'zzzzzzzz' is no command (see --help)"),
    ):
        told = ctl(sidecar, *arguments, cwd=tmp_path)
        assert told.returncode == 2, told
        assert likely in told.stderr, told.stderr
        assert told.stderr.count("\n") == 1, told.stderr


def test_o7_versions_addresses_grammar_and_plain_help(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    told = ctl(sidecar, "--version", cwd=tmp_path)
    assert told.returncode == 0
    assert told.stdout.startswith("catzillactl ")
    path = sidecar.control.removeprefix("unix:")
    assert path.startswith("/")
    asked = subprocess.run(
        [str(program("catzillactl")), "--address", path, "status", "-o", "name"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr
    helped = ctl(sidecar, "--help", cwd=tmp_path).stdout
    assert "->" not in helped, helped
    assert "->" not in ctl(sidecar, "get", "config", "--help", cwd=tmp_path).stdout
    with RawConnection(sidecar.port) as raw:
        raw.get("/a.txt")
    stats = ctl(sidecar, "stats", cwd=tmp_path).stdout
    durations = re.search(r"p50 (\S+), p90 (\S+), p99 (\S+)", stats)
    assert durations is not None, stats
    for one in durations.groups():
        assert re.fullmatch(r"\d{1,3}us|\d{1,3}\.\dms|\d+\.\ds", one), stats


def test_o4_bytes_that_are_no_text_are_answered_in_words(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    for url in ("/%E9", b"/caf\xe9", "/%1b%5b31m"):
        explained = subprocess.run(
            [str(program("catzillactl")), "--address", sidecar.control, "explain", "GET", url],
            capture_output=True,
            timeout=60,
        )
        assert explained.returncode == 0, explained.stderr
        assert b"\xe9" not in explained.stdout and b"\x1b" not in explained.stdout
    assert b"%1B[31m" in explained.stdout
    (tmp_path / "latin.yaml").write_bytes(b"mounts:\n  - name: a\n    root: /caf\xe9\n")
    for command in ("validate", "apply", "diff"):
        told = ctl(sidecar, command, "-f", "latin.yaml", cwd=tmp_path)
        assert told.returncode == 6
        assert "line 3: not UTF-8" in told.stderr, told.stderr


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["cache", "purge", "--tag", b"caf\xe9"], "tag"),
        (["cache", "purge", "--host", b"caf\xe9"], "host"),
        (["cache", "purge", "--all", "--cache", b"caf\xe9"], "cache"),
        (["mount", "add", b"/caf\xe9", "/srv"], "mount.prefix"),
        (["mount", "add", "/a", b"/caf\xe9"], "mount.root"),
        (["mount", "add", "/a", "/srv", "--name", b"caf\xe9"], "mount.name"),
        (["mount", "add", "/a", "/srv", "--index-files", b"a,caf\xe9"], "mount.index_files[1]"),
        (["mount", "add", "/a", "/srv", "--header", b"X-A: caf\xe9"], "mount.headers.value"),
        (
            ["mount", "add", "/a", "/srv", "--header-for", b"*.js=X-A: caf\xe9"],
            "mount.file_rules[0].headers.value",
        ),
        (["mount", "rm", b"caf\xe9"], "name"),
        (["route", "ls", "--pool", b"caf\xe9"], "pool"),
        (["worker", "ls", "--pool", b"caf\xe9"], "pool"),
        (["explain", b"caf\xe9", "/"], "method"),
        (["explain", "GET", "/", "-H", b"X-A: caf\xe9"], "headers.value"),
        (["drain", "--reason", b"caf\xe9"], "reason"),
    ],
)
def test_o4_an_argument_that_is_no_text_is_named_and_not_sent(
    sidecar: Sidecar, arguments: list[str | bytes], field: str
) -> None:
    told = subprocess.run(
        [str(program("catzillactl")), "--address", sidecar.control, *arguments],
        capture_output=True,
        timeout=60,
    )
    assert told.returncode == 2, told.stderr
    assert f"catzillactl: {field} is not UTF-8: ".encode() in told.stderr, told.stderr
    assert b"caf%E9" in told.stderr, told.stderr
    assert b"\xe9" not in told.stderr
    assert told.stderr.count(b"\n") == 1, told.stderr
    assert told.stdout == b""


def test_explain_keeps_the_host_of_an_ipv6_url(sidecar: Sidecar, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "routes: [{name: six, host: '[::1]', path: /six, pool: app}]\n"
    )
    applied = ctl(sidecar, "apply", "-f", "mine.yaml", cwd=tmp_path)
    assert applied.returncode == 0, applied.stderr
    for url in ("http://[::1]/six", "http://[::1]:8080/six"):
        told = ctl(sidecar, "explain", "GET", url, cwd=tmp_path)
        assert "route six" in told.stdout, told.stdout


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("layer", ["effective", "file", "api"])
def test_o3_what_is_got_is_valid(
    sidecar: Sidecar, tmp_path: pathlib.Path, form: str, layer: str
) -> None:
    got = ctl(sidecar, "get", "config", "--layer", layer, "-o", form, cwd=tmp_path)
    assert got.returncode == 0, got.stderr
    checked = subprocess.run(
        [str(program("catzillactl")), "--address", sidecar.control, "validate", "-f", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        input=got.stdout,
    )
    assert checked.returncode == 0, checked.stderr + got.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")
def test_o13_a_socket_that_may_not_be_opened_is_denied(
    sidecar: Sidecar, tmp_path: pathlib.Path
) -> None:
    path = sidecar.control.removeprefix("unix:")
    asked = subprocess.run(
        [
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *(str(program("catzillactl").resolve()), "--address", path, "status"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert asked.returncode == 8, asked.stderr
    assert "control.socket_group" in asked.stderr
