"""catzillactl against a real sidecar: what it sends of a file, and what it says of findings."""

from __future__ import annotations

import pathlib
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
