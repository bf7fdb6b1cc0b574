"""Start, reload, drain and stop; and what is said when something is wrong."""

from __future__ import annotations

import json
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, free_port, program
from waiting import eventually


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program("catzilla-sidecar")), *arguments], capture_output=True, text=True, timeout=60
    )


def probe(sidecar: Sidecar, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.ops_port}{path}") as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_help_and_version() -> None:
    assert run("--version").stdout.startswith("catzilla-sidecar 0.")
    assert "--runtime-dir" in run("--help").stdout
    assert run("--nonsense").returncode == 2


def test_check_says_everything_that_is_wrong(tmp_path: pathlib.Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(
        "limits: {idle_timeout: 5}\nmounts:\n  - {name: a, prefix: /a, root: /nowhere, rooot: x}\n"
    )
    result = run("--check", "--config", str(config))
    assert result.returncode == 1
    for text in ("idle_timeout", "rooot", "bad.yaml:3", "CZ"):
        assert text in result.stderr, result.stderr
    config.write_text(f"mounts: [{{name: a, prefix: /a, root: {tmp_path}}}]\n")
    assert run("--check", "--config", str(config)).returncode == 0


def test_a_taken_port_is_an_error_with_a_remedy(tmp_path: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run(
            *("--root", str(tmp_path), "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", str(free_port()), "--runtime-dir", str(tmp_path / "run")),
        )
    assert result.returncode == 1
    assert "another process has it" in result.stderr


def test_a_second_daemon_on_the_same_sockets_is_refused(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path) as first:
        result = run(
            *("--port", str(free_port()), "--ops-port", str(free_port())),
            *("--runtime-dir", str(first.runtime)),
        )
        assert result.returncode == 1
        assert f"in use by process {first.pid} (" in result.stderr
        assert probe(first, "/livez") == 200


def test_a_stale_socket_is_replaced(tmp_path: pathlib.Path) -> None:
    sidecar = Sidecar(tmp_path).start()
    assert sidecar.process is not None
    sidecar.process.kill()
    sidecar.process.wait()
    assert (sidecar.runtime / "worker.sock").exists()
    sidecar.start()
    assert sidecar.stop() == 0


def test_sigterm_lets_answers_finish_and_ends_with_0(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    config = f"drain: {{delay: 1s, timeout: 20s}}\nmounts: [{{name: s, prefix: /, root: {site}}}]\n"
    sidecar = Sidecar(tmp_path, config).start()
    assert sidecar.process is not None
    with RawConnection(sidecar.port) as slow, RawConnection(sidecar.port) as idle:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        assert idle.get("/a.txt").status == 200
        slow.send(b"GET /large.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        assert slow.socket.recv(1)
        sidecar.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while probe(sidecar, "/readyz") != 503:
            assert time.monotonic() < deadline
        assert probe(sidecar, "/livez") == 200
        assert probe(sidecar, "/metrics") == 200
        with RawConnection(sidecar.port) as late:  # Still accepted during the delay.
            assert late.get("/a.txt").status == 200
        answer = slow.rest()
        assert len(answer) > 3 * 1024 * 1024
    assert sidecar.process.wait(20) == 0, sidecar.log()


def test_an_answer_on_its_way_outlives_the_drain(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    size = 64 * 1024 * 1024  # More than any socket buffer takes.
    with (site / "huge.bin").open("wb") as huge:
        huge.truncate(size)
    sidecar = Sidecar(tmp_path, f"mounts: [{{name: s, prefix: /, root: {site}}}]\n").start()
    assert sidecar.process is not None
    with RawConnection(sidecar.port) as slow:
        slow.send(b"GET /huge.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        assert slow.socket.recv(1)
        sidecar.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while probe(sidecar, "/readyz") != 503:
            assert time.monotonic() < deadline
        assert len(slow.rest()) > size
    assert sidecar.process.wait(20) == 0, sidecar.log()


def test_who_connects_during_the_drain_and_says_nothing_does_not_hold_it_up(
    tmp_path: pathlib.Path,
) -> None:
    site = make_site(tmp_path)
    with (site / "huge.bin").open("wb") as huge:
        huge.truncate(64 * 1024 * 1024)
    config = f"mounts: [{{name: site, prefix: /, root: {site}}}]\ndrain: {{timeout: 20s}}\n"
    with Sidecar(tmp_path, config, arguments=("--loops", "1")) as sidecar:
        assert sidecar.process is not None
        slow, idle = RawConnection(sidecar.port), RawConnection(sidecar.port)
        slow.send(b"GET /huge.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        slow.socket.recv(1)
        assert idle.get("/a.txt").status == 200
        sidecar.process.send_signal(signal.SIGTERM)
        assert idle.closed()  # So the loop drains.
        with RawConnection(sidecar.port):
            slow.close()
            assert sidecar.process.wait(10) == 0


def test_a_file_rewritten_in_place_never_mixes(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    size = 64 * 1024 * 1024
    (site / "huge.bin").write_bytes(b"a" * size)
    with (
        Sidecar(tmp_path, f"mounts: [{{name: s, prefix: /, root: {site}}}]\n") as sidecar,
        RawConnection(sidecar.port) as slow,
    ):
        slow.send(b"GET /huge.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        assert slow.socket.recv(1)
        with (site / "huge.bin").open("r+b") as huge:
            huge.seek(size // 2)
            huge.write(b"b" * (size // 2))
        answer = slow.rest()
        assert len(answer) < size
        # What was in the kernel's buffers when the file changed may be seen, nothing after it.
        assert answer.count(b"b") < 16 * 1024 * 1024


def test_a_changed_file_is_served_a_wrong_one_is_not(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    with Sidecar(tmp_path, f"mounts: [{{name: s, prefix: /one, root: {site}}}]\n") as sidecar:
        with RawConnection(sidecar.port) as raw:
            assert raw.get("/one/a.txt").status == 200
            sidecar.config.write_text("mounts: [{name: s, prefix: /two, root: /nowhere}]\n")
            assert sidecar.process is not None
            sidecar.process.send_signal(signal.SIGHUP)
            eventually(lambda: "refused" in sidecar.log())
            assert raw.get("/one/a.txt").status == 200
            sidecar.config.write_text(f"mounts: [{{name: s, prefix: /two, root: {site}}}]\n")
            eventually(lambda: raw.get("/two/a.txt").status == 200)
            assert raw.get("/one/a.txt").status == 404


def test_every_request_is_in_the_access_log(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    config = f"mounts: [{{name: s, prefix: /, root: {site}}}]\n"
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as raw:
        for _ in range(50):
            raw.get("/a.txt")
        raw.get("/missing%22", 'User-Agent: a"b\\c')
        raw.send(b"GET / HTTP/1.1\r\n\r\n")
        raw.read()
    lines = [json.loads(line) for line in sidecar.stdout.read_text().splitlines()]
    assert [line["status"] for line in lines] == [200] * 50 + [404, 400]
    assert lines[0]["target"] == "/a.txt"
    assert lines[0]["served_by"] == "file"


@pytest.mark.parametrize("version", [1, 2])
def test_the_proxy_protocol_names_the_client(tmp_path: pathlib.Path, version: int) -> None:
    site = make_site(tmp_path)
    config = f"""
listeners: [{{name: http, proxy_protocol: true}}]
mounts: [{{name: s, prefix: /, root: {site}}}]
"""
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 80\r\n"
    if version == 2:
        header = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1])
        header += (4000).to_bytes(2, "big") + (80).to_bytes(2, "big")
    with Sidecar(tmp_path, config) as sidecar:
        with RawConnection(sidecar.port) as raw:
            raw.send(header)
            assert raw.get("/a.txt").status == 200
        with RawConnection(sidecar.port) as raw:
            raw.send(b"GET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n")
            assert raw.closed()
    lines = [json.loads(line) for line in sidecar.stdout.read_text().splitlines()]
    assert [line["client"] for line in lines] == ["192.0.2.7"]


def test_too_many_connections_are_told(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path, "limits: {max_connections: 3}\n") as sidecar:
        kept: list[RawConnection] = []
        deadline = time.monotonic() + 10
        while len(kept) < 3:  # Whoever asked whether we listen may not have been seen leaving yet.
            assert time.monotonic() < deadline
            raw = RawConnection(sidecar.port)
            if raw.get("/").status == 404:
                kept.append(raw)
        with RawConnection(sidecar.port) as one_more:
            answer = one_more.read()
            assert (answer.status, answer.header("retry-after")) == (503, "1")
        for raw in kept:
            raw.close()
