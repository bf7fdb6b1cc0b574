"""WebSockets from end to end: a real sidecar and worker, a client that writes frames itself."""

from __future__ import annotations

import json
import pathlib
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from app_process import AppProcess
from waiting import eventually
from websocket_peer import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocketPeer,
    close_frame,
    frame,
)

APP = (pathlib.Path(__file__).parent / "websocket_app.py").read_text()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("sockets"), APP) as process:
        yield process


def peer(app: AppProcess) -> WebSocketPeer:
    return WebSocketPeer(app.port, seconds=30)


def echoing(app: AppProcess) -> WebSocketPeer:
    client = peer(app)
    assert client.ask("/echo").status == 101
    return client


def seen(app: AppProcess) -> list[Any]:
    with app.connect() as client:
        told: list[Any] = json.loads(client.get("/seen").body)
        return told


def metric(app: AppProcess, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{app.ops_port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise AssertionError(f"no {name}")


# The handshake...


def test_a_handshake_is_answered_as_the_rfc_says(app: AppProcess) -> None:
    with peer(app) as client:
        answer = client.ask("/echo", "X-Request-Id: mine")
        assert answer.status == 101
        assert answer.header("sec-websocket-accept") == ACCEPT
        assert answer.header("upgrade") == "websocket"
        assert answer.header("connection") == "Upgrade"
        assert answer.header("x-request-id") == "mine"
        assert answer.header("sec-websocket-protocol") is None
        assert answer.header("content-length") is None


def test_parameters_subprotocol_and_fields_of_the_app(app: AppProcess) -> None:
    with peer(app) as client:
        answer = client.ask("/rooms/blue%20one/7?token=t", "Sec-WebSocket-Protocol: a, chat")
        assert answer.header("sec-websocket-protocol") == "chat"
        assert answer.header("x-room") == "blue one"
        assert json.loads(client.message()) == {"room": "blue one", "seat": 7, "token": "t"}
        assert client.closing() == (1000, "")


@pytest.mark.parametrize(
    ("version", "key", "lines", "status"),
    [
        ("8", "dGhlIHNhbXBsZSBub25jZQ==", (), 426),
        ("13", "short", (), 400),
        ("13", "", (), 400),
        ("13", "dGhlIHNhbXBsZSBub25jZQ==", ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",), 400),
        ("13", "dGhlIHNhbXBsZSBub25jZQ==", ("Content-Length: 2",), 400),
    ],
)
def test_a_bad_handshake_is_refused(
    app: AppProcess, version: str, key: str, lines: tuple[str, ...], status: int
) -> None:
    with peer(app) as client:
        answer = client.ask("/echo", *lines, version=version, key=key)
        assert answer.status == status
        if status == 426:
            assert answer.header("sec-websocket-version") == "13"


def test_http_routes_and_websocket_routes_do_not_meet(app: AppProcess) -> None:
    with app.connect() as client:
        assert json.loads(client.get("/both").body) == "http"
        assert client.get("/flood").status == 404
    with peer(app) as client:
        assert client.ask("/both").status == 101
        assert client.message() == b"socket"
        assert client.closing() == (4001, "done")
    for path in ("/hello", "/nothing", "/rooms/a/no-number"):
        with peer(app) as client:
            assert client.ask(path).status == 403, path


def test_an_upgrade_that_asks_for_no_websocket_is_ignored(app: AppProcess) -> None:
    with app.connect() as client:
        assert client.get("/hello", "Connection: Upgrade", "Upgrade: h2c").status == 200
        assert client.get("/hello", "Upgrade: websocket").status == 200
        answer = client.get(
            *("/echo", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"),
            method="POST",
        )
        assert answer.status == 200
        assert json.loads(answer.body) == "none"


def test_the_app_may_answer_otherwise(app: AppProcess) -> None:
    with peer(app) as client:
        assert client.ask("/refuse").status == 403
    with peer(app) as client:
        answer = client.ask("/deny")
        assert (answer.status, json.loads(answer.body)) == (418, {"no": "entry"})
        assert answer.header("x-why") == "tea"
    for path in ("/raise-early", "/return-early"):
        with peer(app) as client:
            assert client.ask(path).status == 500


# Messages...


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000, 3_000_000])
def test_messages_of_every_size_come_back(app: AppProcess, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    with echoing(app) as client:
        client.send(frame(BINARY, data[:size]))
        assert client.message() == data[:size]


def test_fragments_pings_and_text(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(frame(TEXT, b"gr\xc3", last=False) + frame(PING, "now"))
        assert client.receive() == (0x80 | PONG, b"now")
        client.send(frame(CONTINUATION, b"\xbc", last=False) + frame(CONTINUATION, "n"))
        assert client.receive() == (0x80 | TEXT, "grün".encode())


def test_a_message_byte_by_byte(app: AppProcess) -> None:
    with echoing(app) as client:
        for byte in frame(TEXT, "slowly"):
            client.send(bytes([byte]))
        assert client.message() == b"slowly"


def test_many_messages_keep_their_order(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(b"".join(frame(TEXT, str(i)) for i in range(2000)))
        assert [client.message() for _ in range(2000)] == [str(i).encode() for i in range(2000)]


# Closing...


def test_the_client_closes(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(close_frame(3456, "enough"))
        assert client.receive() == (0x80 | CLOSE, b"\x0d\x80enough")
        assert client.closed()
    eventually(lambda: {"code": 3456, "reason": "enough"} in seen(app), 10)


def test_a_close_without_a_code(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(close_frame(None))
        assert client.closing() == (None, "")
        assert client.closed()
    eventually(lambda: {"code": 1005, "reason": ""} in seen(app), 10)


def test_the_client_vanishes(app: AppProcess) -> None:
    before = sum(row == {"code": 1006} for row in seen(app))
    echoing(app).close()
    eventually(lambda: sum(row == {"code": 1006} for row in seen(app)) > before, 10)


def test_the_app_raises_or_returns(app: AppProcess) -> None:
    with peer(app) as client:
        client.ask("/raise-late")
        client.send(frame(TEXT, "go"))
        assert client.closing() == (1011, "")
    with peer(app) as client:
        client.ask("/return-late")
        assert client.closing() == (1000, "")
        client.send(close_frame(1000))
        assert client.closed()


def test_wrong_states_raise_as_under_uvicorn(app: AppProcess) -> None:
    with peer(app) as client:
        client.ask("/wrong-states")
        told = json.loads(client.message())
        assert client.closing() == (1000, "")
    assert told[0] == [
        "RuntimeError",
        "Expected ASGI message 'websocket.accept', 'websocket.close' "
        "or 'websocket.http.response.start' but got 'websocket.send'.",
    ]
    assert told[1] == ["sent", "websocket.accept"]
    assert told[2] == [
        "RuntimeError",
        "Expected ASGI message 'websocket.send' or 'websocket.close', but got 'websocket.accept'.",
    ]
    late = [
        ["sent", "websocket.close"],
        [
            "RuntimeError",
            "Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.",
        ],
    ]
    eventually(lambda: late in seen(app), 10)


# Hostile clients...


def test_what_a_client_said_before_it_broke_the_rules_is_answered(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(frame(TEXT, "before") + frame(TEXT, "x", reserved=1))
        assert client.receive() == (0x80 | TEXT, b"before")
        assert client.closing()[0] == 1002
        assert client.closed()


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("unmasked", frame(TEXT, "x", masked=False), 1002),
        ("RSV1 unasked", frame(TEXT, "x", reserved=4), 1002),
        ("RSV3", frame(TEXT, "x", reserved=1), 1002),
        ("a reserved opcode", frame(3), 1002),
        ("a fragmented ping", frame(PING, "x", last=False), 1002),
        ("a long ping", frame(PING, b"x" * 126), 1002),
        ("a continuation of nothing", frame(CONTINUATION, "x"), 1002),
        ("a message within a message", frame(TEXT, "x", last=False) + frame(TEXT, "y"), 1002),
        ("a close code that is none", close_frame(1005), 1002),
        ("half a close code", frame(CLOSE, b"\x03"), 1002),
        ("invalid UTF-8", frame(TEXT, b"\xff"), 1007),
        ("UTF-8 that ends early", frame(TEXT, b"\xe2\x82"), 1007),
        ("UTF-8 wrong in a fragment", frame(TEXT, b"\xed\xa0", last=False), 1007),
        ("a length past the limit", frame(BINARY, b"", length=1 << 62), 1009),
        (
            "fragments past the limit",
            frame(BINARY, bytes(9 << 20), last=False) + frame(CONTINUATION, bytes(9 << 20)),
            1009,
        ),
        (
            "empty fragments without end",
            frame(TEXT, "", last=False) + frame(CONTINUATION, "", last=False) * 1100,
            1008,
        ),
    ],
)
def test_who_breaks_the_rules_is_told_and_closed(
    app: AppProcess, name: str, data: bytes, code: int
) -> None:
    with echoing(app) as client:
        client.send(frame(TEXT, "first"))
        assert client.message() == b"first"
        client.send(data)
        said, reason = client.closing()
        assert said == code
        assert reason
        assert client.closed()
    eventually(
        lambda: any(row.get("code") == code for row in seen(app) if isinstance(row, dict)), 10
    )


def test_frames_before_the_handshake_is_accepted_are_kept(app: AppProcess) -> None:
    with peer(app) as client:
        client.send(
            b"GET /echo HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            + frame(TEXT, "early")
        )
        assert client.switched().status == 101
        assert client.message() == b"early"


def test_a_flood_of_pings_is_answered_and_bounded(app: AppProcess) -> None:
    with echoing(app) as client:
        client.send(frame(PING, b"p" * 125) * 500)
        for _ in range(500):
            assert client.receive() == (0x80 | PONG, b"p" * 125)


# Backpressure...


def test_a_slow_app_slows_its_client(app: AppProcess) -> None:
    with peer(app) as client:
        client.ask("/slow")
        client.socket.settimeout(2)
        message = frame(TEXT, "x" * 60_000)
        sent = 0

        def send_all() -> None:
            nonlocal sent
            while sent < 4000:  # 240 MB would mean that somebody keeps it.
                client.send(message)
                sent += 1

        with pytest.raises(TimeoutError):
            send_all()
        assert sent < 1000
    # A send that was cut short leaves half a frame: this client is done for. Others are not.
    with app.connect() as asking:
        assert asking.get("/release").status == 200
    with echoing(app) as client:
        client.send(frame(TEXT, "alive"))
        assert client.message() == b"alive"


def test_a_client_that_does_not_read_slows_the_app(app: AppProcess) -> None:
    def flooded() -> int:
        with app.connect() as asking:
            return int(asking.get("/flooded").body)

    with peer(app) as client:
        client.ask("/flood")
        counts = [-1]

        def stands() -> bool:
            counts.append(flooded())
            return counts[-1] == counts[-2]

        eventually(stands, 20)
        assert counts[-1] < 1000
        first, payload = client.receive()
        assert (first, len(payload)) == (0x80 | BINARY, 65536)
    eventually(lambda: {"flood": "WebSocketDisconnect"} in seen(app), 20)


# What operators see...


def test_counters_and_the_log(app: AppProcess) -> None:
    sent = metric(app, 'catzilla_websocket_messages_total{direction="sent"}')
    other = metric(app, 'catzilla_websockets_closed_total{code="other"}')
    with echoing(app) as client:
        eventually(lambda: metric(app, "catzilla_websockets_open") >= 1, 10)
        assert metric(app, 'catzilla_pool_websockets{pool="app"}') >= 1
        client.send(frame(TEXT, "counted"))
        client.message()
        client.send(close_frame(3999))
        client.closing()
    eventually(
        lambda: metric(app, 'catzilla_websockets_closed_total{code="other"}') == other + 1, 10
    )
    assert metric(app, 'catzilla_websocket_messages_total{direction="sent"}') == sent + 1

    def logged() -> bool:
        for line in app.log().splitlines():
            if '"close_code":3999' in line:
                row = json.loads(line)
                return bool(
                    row["status"] == 101
                    and row["messages_received"] == row["messages_sent"] == 1
                    and row["bytes"] == row["bytes_received"] == 7
                )
        return False

    eventually(logged, 10)
