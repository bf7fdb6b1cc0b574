"""Logs that nobody reads, disks that are full, descriptors that run out: serving, health and leaving go on.

S12, S16, S17, O5, O6, O12: each test names the fault it keeps away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import resource
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from app_process import eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, program

F_SETPIPE_SZ = 1031


class Deaf(Sidecar):
    """A sidecar whose standard output and error are pipes that nobody reads."""

    def start(self) -> Deaf:
        self.reading, writing = os.pipe()
        fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(self.command(), stdout=writing, stderr=writing)
        os.close(writing)
        self.wait_until_it_listens()
        return self

    def read_all(self) -> bytes:
        os.set_blocking(self.reading, False)
        pieces = []
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.reading, 65536):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture
def deaf(tmp_path: pathlib.Path) -> Iterator[Deaf]:
    config = f"""
telemetry: {{access_log: true, access_log_buffer: 64KiB, log_level: debug}}
mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]
"""
    sidecar = Deaf(tmp_path, config)
    try:
        yield sidecar.start()
    finally:
        if sidecar.process is not None and sidecar.process.poll() is None:
            sidecar.process.kill()
            sidecar.process.wait()
        os.close(sidecar.reading)


def test_s12_a_log_that_nobody_reads_stops_nobody(deaf: Deaf) -> None:
    with RawConnection(deaf.port) as raw:
        for number in range(1500):
            assert raw.get(f"/missing/{number}/{'x' * 100}").status == 404
    for version in range(50):  # Lines of the process's own log.
        deaf.config.write_text(deaf.config.read_text() + f"# {version}\n")
        os.kill(deaf.pid, signal.SIGHUP)
    with RawConnection(deaf.port) as raw:
        assert raw.get("/a.txt").body == b"0123456789"
    eventually(lambda: metric(deaf, "catzilla_access_log_dropped_total") > 0)
    seen = bytearray()

    def told() -> bool:
        """Somebody reads again: it goes on, and says so, once its buffer has room."""
        seen.extend(deaf.read_all())
        with RawConnection(deaf.port) as raw:
            assert raw.get("/found/again").status == 404
        return b"/found/again" in seen

    eventually(told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_s17_leaving_waits_for_no_reader(deaf: Deaf, number: signal.Signals) -> None:
    with RawConnection(deaf.port) as raw:
        for index in range(300):
            assert raw.get(f"/missing/{index}/{'x' * 100}").status == 404
    assert deaf.process is not None
    deaf.process.send_signal(number)
    assert deaf.process.wait(20) == 0


def test_s12_a_full_disk_is_counted(tmp_path: pathlib.Path) -> None:
    config = f"""
telemetry: {{access_log: true, access_log_path: /dev/full}}
mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]
"""
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as raw:
        for _ in range(20):
            assert raw.get("/a.txt").status == 200
        eventually(lambda: metric(sidecar, "catzilla_access_log_dropped_total") == 20)


def test_o6_signals_as_nginx_has_them(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "access.log"
    config = f"""
telemetry: {{access_log: true, access_log_path: {log}}}
mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]
"""
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as raw:
        assert raw.get("/a.txt").status == 200
        eventually(lambda: log.exists() and "/a.txt" in log.read_text())
        log.rename(tmp_path / "rotated.log")
        os.kill(sidecar.pid, signal.SIGUSR1)
        os.kill(sidecar.pid, signal.SIGUSR2)
        eventually(log.exists)
        assert raw.get("/sub/index.html").status == 200
        eventually(lambda: "/sub/index.html" in log.read_text())
        assert "/a.txt" not in log.read_text()


def test_o12_a_line_of_the_log_is_one_line(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path) as sidecar:
        sidecar.config.write_text(
            'mounts: [{name: s, prefix: /, root: "/none\\nforged: \\e[31m"}]\n'
        )
        os.kill(sidecar.pid, signal.SIGHUP)
        eventually(lambda: "forged" in sidecar.log())
        assert "\x1b" not in sidecar.log()
        assert not any(line.startswith("forged") for line in sidecar.log().splitlines())


def test_s16_clients_that_take_all_descriptors_hide_nothing(tmp_path: pathlib.Path) -> None:
    config = f"mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]\n"
    sidecar = Sidecar(tmp_path, config)
    wanted = 1200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))

    with sidecar.stdout.open("ab") as out, sidecar.stderr.open("ab") as err:
        sidecar.process = subprocess.Popen(
            sidecar.command(), stdout=out, stderr=err, preexec_fn=few
        )
    idle: list[socket.socket] = []
    try:
        sidecar.wait_until_it_listens()
        eventually(lambda: "connections at most" in sidecar.log())
        refused = 0
        for _ in range(wanted):
            idle.append(socket.create_connection(("127.0.0.1", sidecar.port), 10))
        for client in idle[-100:]:
            client.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                refused += client.recv(12) == b"HTTP/1.1 503"
        assert refused > 50
        for path in ("livez", "readyz", "metrics"):
            url = f"http://127.0.0.1:{sidecar.ops_port}/{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200
        status = subprocess.run(
            [str(program("catzillactl")), "--address", sidecar.control, "status"],
            capture_output=True,
            timeout=30,
        )
        assert status.returncode == 0, status.stderr
        idle[0].sendall(b"GET /large.bin HTTP/1.1\r\nHost: t\r\n\r\n")  # Files have theirs, too.
        assert idle[0].recv(12) == b"HTTP/1.1 200"
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sidecar.stop() == 0
