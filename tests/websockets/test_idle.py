"""Ten thousand idle sockets of an app: what each takes of the sidecar's memory."""

from __future__ import annotations

import pathlib
import re
import resource
import socket

import pytest
from app_process import AppProcess
from websocket_peer import KEY, TEXT, frame

SOCKETS = 10_000
EACH_KIB = 6.0
APP = (pathlib.Path(__file__).parents[1] / "integration" / "websocket_app.py").read_text()
CONFIG = """
limits: {max_connections: 20000, max_connections_per_client: 20000}
websockets: {ping_interval: 10m}
"""
ASK = (
    "GET /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()


@pytest.fixture
def descriptors() -> None:
    """As many as may be; the sidecar raises its own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SOCKETS + 1000:
        pytest.skip(f"RLIMIT_NOFILE allows {hard} descriptors, {SOCKETS + 1000} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def rss_kib(app: AppProcess) -> int:
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        text = status.read_text()
        assert app.process is not None
        if "Name:\tcatzilla-sideca" in text and f"PPid:\t{app.process.pid}\n" in text:
            found = re.search(r"VmRSS:\s+(\d+) kB", text)
            assert found is not None
            return int(found.group(1))
    raise AssertionError("the app has no sidecar")


def opened(port: int, count: int) -> list[socket.socket]:
    """Each has been accepted, and has got one message back."""
    held = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), 30)
        one.sendall(ASK)
        held.append(one)
    echo = frame(TEXT, "hi", masked=False)
    for one in held:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += one.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 "), head
        one.sendall(frame(TEXT, "hi"))
    for one in held:
        assert one.recv(len(echo), socket.MSG_WAITALL) == echo
    return held


@pytest.mark.usefixtures("descriptors")
def test_an_idle_socket_is_small(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, config=CONFIG) as app:
        for one in opened(app.port, 100):
            one.close()
        before = rss_kib(app)
        held: list[socket.socket] = []
        while len(held) < SOCKETS:
            held += opened(app.port, 500)
        each = (rss_kib(app) - before) / len(held)
        for one in held:
            one.close()
        assert each <= EACH_KIB, f"{each:.2f} KiB"
