"""WebSockets to upstream pools: what the server is asked, what the client gets, and how both ends come to one."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
from collections.abc import Callable

import pytest
from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, answer, config
from sidecar_process import Sidecar, free_port, metric
from waiting import eventually, pause
from websocket_peer import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocketPeer,
    frame,
)
from websocket_server import accept, access, echo, opened, plain, received

# The handshake...


def test_a_handshake_is_passed_on(tmp_path: pathlib.Path) -> None:
    def script(served: Served, request: Request) -> None:
        served.send(accept(request, "Sec-WebSocket-Protocol: chat", "X-Own: yes", "Set-Cookie: a"))

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target, upstream="forwarded: true")) as sidecar,
        WebSocketPeer(sidecar.port) as client,
    ):
        got = client.ask(
            "/a%20b?c=d",
            "Sec-WebSocket-Protocol: other, chat",
            "Sec-WebSocket-Extensions: permessage-deflate, x-webkit",
            "Cookie: session=1",
            "Origin: https://example.com",
        )
        assert got.status == 101
        assert got.header("sec-websocket-accept") == ACCEPT
        assert got.header("sec-websocket-protocol") == "chat"
        assert (got.header("x-own"), got.header("set-cookie")) == ("yes", "a")
        # The frames of the client are ours to compress, not the server's.
        assert "permessage-deflate" in (got.header("sec-websocket-extensions") or "")
        asked = upstream.requests[0]
        assert (asked.method, asked.target) == ("GET", "/a%20b?c=d")
        assert asked.header("host") == "test"
        assert asked.header("upgrade") == "websocket"
        assert asked.header("connection") == "Upgrade"
        assert asked.header("sec-websocket-version") == "13"
        assert asked.header("sec-websocket-protocol") == "other, chat"
        assert asked.header("sec-websocket-extensions") is None
        assert asked.header("cookie") == "session=1"
        assert asked.header("origin") == "https://example.com"
        assert asked.header("x-forwarded-for") == "127.0.0.1"
        assert asked.header("x-request-id") == got.header("x-request-id")


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("another key", ("Sec-WebSocket-Accept: c3BvaWxlZA==",), 502),
        ("an extension that nobody offered", ("Sec-WebSocket-Extensions: x",), 502),
        ("a subprotocol that nobody offered", ("Sec-WebSocket-Protocol: chat",), 502),
        ("a body", ("Content-Length: 2",), 502),
        ("sound", (), 101),
    ],
)
def test_a_101_is_checked(
    tmp_path: pathlib.Path, name: str, fields: tuple[str, ...], status: int
) -> None:
    def script(served: Served, request: Request) -> None:
        served.send(accept(request, *fields))

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        WebSocketPeer(sidecar.port) as client,
    ):
        assert client.ask("/").status == status, name


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Sure\r\n\r\n",
        b"HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Sure\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.0 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Sure\r\nUpgrade",
        b"",
    ],
)
def test_what_is_no_101_of_ours_is_502(tmp_path: pathlib.Path, head: bytes) -> None:
    def script(served: Served, request: Request) -> None:
        served.send(head)
        served.close()

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        WebSocketPeer(sidecar.port) as client,
    ):
        assert client.ask("/").status == 502


def test_a_101_that_nobody_asked_for_is_502(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(lambda served, request: served.send(accept(request))) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        assert client.get("/").status == 502
        assert upstream.requests[0].header("upgrade") is None


def test_the_server_may_answer_otherwise(tmp_path: pathlib.Path) -> None:
    denial = answer(b"not you", "403 Forbidden", "X-Why: tea")
    with (
        Upstream(denial) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
    ):
        for _ in range(2):
            with WebSocketPeer(sidecar.port) as client:
                got = client.ask("/")
                assert (got.status, got.body, got.header("x-why")) == (403, b"not you", "tea")
        assert metric(sidecar, 'catzilla_pool_websockets{pool="web"}') == 0


def test_bad_handshakes_do_not_reach_the_server(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(echo) as upstream,
        Sidecar(tmp_path, config(upstream.target, rest="websockets: {origins: [same]}")) as sidecar,
    ):
        for version, lines, status in (
            ("8", ("Origin: http://test",), 426),
            ("13", ("Origin: http://evil",), 403),
            ("13", ("Content-Length: 1", "Origin: http://test"), 400),
        ):
            with WebSocketPeer(sidecar.port) as client:
                assert client.ask("/", *lines, version=version).status == status
        assert not upstream.requests


def test_another_target_is_tried(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(echo) as upstream,
        Sidecar(tmp_path, config(f"127.0.0.1:{free_port()}", upstream.target)) as sidecar,
    ):
        for _ in range(4):
            with opened(sidecar) as client:
                client.send(frame(TEXT, "hi"))
                assert client.message() == b"hi"


def test_no_server_is_502_and_a_slow_one_504(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path, config(f"127.0.0.1:{free_port()}")) as sidecar:
        with WebSocketPeer(sidecar.port) as client:
            assert client.ask("/").status == 502
    release = threading.Event()
    with (
        Upstream(lambda served, request: release.wait(30)) as upstream,
        Sidecar(tmp_path, config(upstream.target, pool="request_timeout: 300ms,")) as sidecar,
        WebSocketPeer(sidecar.port) as client,
    ):
        assert client.ask("/").status == 504
        release.set()


def test_a_fallback_takes_sockets_and_files_take_none(tmp_path: pathlib.Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "there").write_text("file")
    with (
        Upstream(echo) as upstream,
        Sidecar(
            tmp_path, "{}\n", arguments=("--upstream", upstream.target, "--root", str(site))
        ) as sidecar,
    ):
        for path in ("/there", "/socket"):
            with opened(sidecar, path) as client:
                client.send(frame(TEXT, "hi"))
                assert client.message() == b"hi"
        with RawConnection(sidecar.port) as plain_client:
            assert plain_client.get("/there").body == b"file"
    with Sidecar(tmp_path, "{}\n", arguments=("--root", str(site))) as sidecar:
        with WebSocketPeer(sidecar.port) as client:
            assert client.ask("/there").body == b"file"


# Messages...


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000, 3_000_000])
def test_messages_of_every_size_come_back(tmp_path: pathlib.Path, size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    with (
        Upstream(echo) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        client.send(frame(BINARY, data))
        assert client.message() == data


def test_frames_of_the_server(tmp_path: pathlib.Path) -> None:
    pongs: list[bytes] = []

    def script(served: Served, request: Request) -> None:
        # The first comes with the head.
        served.send(accept(request) + plain(TEXT, "first"))
        served.send(plain(TEXT, b"gr\xc3", last=False) + plain(PING, "there?"))
        pongs.append(received(served)[1])
        served.send(plain(CONTINUATION, b"\xbcn") + plain(PONG, "unasked"))
        for byte in plain(BINARY, b"slowly"):
            served.send(bytes([byte]))
        served.send(plain(CLOSE, b"\x0f\xa1through"))
        assert received(served) == (0x80 | CLOSE, b"\x0f\xa1through")
        served.close()

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        assert [client.message() for _ in range(3)] == [b"first", "grün".encode(), b"slowly"]
        assert client.closing() == (4001, "through")
        client.send(frame(CLOSE, b"\x0f\xa1"))
        assert client.closed()
        assert pongs == [b"there?"]


def test_a_compressed_message_is_plain_for_the_server(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(echo) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar, "/", "Sec-WebSocket-Extensions: permessage-deflate") as client,
    ):
        client.send(frame(TEXT, "once more " * 100))
        first, data = client.receive()
        assert first == 0x80 | 0x40 | TEXT
        assert len(data) < 100


# Hostile servers...


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("masked", frame(TEXT, "x")),
        ("RSV1", frame(TEXT, "x", reserved=4, masked=False)),
        ("a reserved opcode", plain(3)),
        ("a continuation of nothing", plain(CONTINUATION, "x")),
        ("a long ping", plain(PING, b"x" * 126)),
        ("no UTF-8", plain(TEXT, b"\xff")),
        ("half a Close code", plain(CLOSE, b"\x03")),
        ("a reserved Close code", plain(CLOSE, b"\x03\xed")),
        ("a length with its top bit", b"\x82\x7f" + b"\xff" * 8),
        ("HTTP", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("its end", b""),
        ("half a frame and its end", plain(TEXT, "whole")[:3]),
    ],
)
def test_a_server_that_breaks_the_rules(tmp_path: pathlib.Path, name: str, data: bytes) -> None:
    told: list[tuple[int, bytes]] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request) + plain(TEXT, "before") + data)
        if "end" in name:
            return served.close()
        told.append(received(served))
        return served.close()

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        assert client.message() == b"before", name
        assert client.closing() == (1011, ""), name
        client.send(frame(CLOSE, b"\x03\xf3"))
        assert client.closed()
        if told:
            assert told[0][0] == 0x80 | CLOSE
            assert told[0][1][:2] in (b"\x03\xea", b"\x03\xef")  # 1002, 1007
        eventually(lambda: access(sidecar), 10)
        assert access(sidecar)[0]["close_code"] == 1011


def test_a_client_that_breaks_the_rules(tmp_path: pathlib.Path) -> None:
    told: list[tuple[int, bytes]] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request))
        told.append(received(served))
        served.close()

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        client.send(frame(TEXT, "x", masked=False))
        assert client.closing()[0] == 1002
        eventually(lambda: told, 10)
        assert told[0][1][:2] == b"\x03\xea"


def test_a_server_that_floods_is_held(tmp_path: pathlib.Path) -> None:
    sent = 0
    piece = plain(BINARY, b"f" * 65536)

    def script(served: Served, request: Request) -> None:
        nonlocal sent
        served.send(accept(request))
        while True:
            served.send(piece)
            sent += 1

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        held = steady(lambda: sent)
        assert held < 1000  # 64 MB: what two kernels' buffers and our windows hold.
        for _ in range(held + 50):
            assert len(client.message()) == 65536


def steady(count: Callable[[], int]) -> int:
    """What it is once it does not grow for half a second."""
    last = -1
    while last != (last := count()):
        pause(0.5)
    return last


def test_a_client_that_floods_is_held(tmp_path: pathlib.Path) -> None:
    release = threading.Event()
    taken = 0

    def script(served: Served, request: Request) -> None:
        nonlocal taken
        served.send(accept(request))
        release.wait(30)
        while True:
            taken += len(received(served)[1])

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        opened(sidecar) as client,
    ):
        before = sidecar.rss_kib()
        piece = frame(BINARY, b"f" * 65536)
        client.socket.settimeout(1.0)
        sent = 0
        with contextlib.suppress(socket.timeout):
            while sent < 2000:
                client.send(piece)
                sent += 1
        assert sent < 2000
        assert sidecar.rss_kib() - before < 20_000
        release.set()
        eventually(lambda: taken >= sent * 65536, 30)
