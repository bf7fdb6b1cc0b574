"""How sockets live and end: silence, limits, origins, drain, new code, lost workers."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import zlib

import pytest
from app_process import AppProcess
from sidecar_process import metric
from waiting import eventually, pause
from websocket_peer import BINARY, CLOSE, PING, PONG, TEXT, WebSocketPeer, close_frame, frame

APP = (pathlib.Path(__file__).parent / "websocket_app.py").read_text()


def opened(app: AppProcess, path: str = "/echo", *lines: str) -> WebSocketPeer:
    client = WebSocketPeer(app.port, seconds=30)
    assert client.ask(path, *lines).status == 101
    return client


def test_silence_limits_and_origins(tmp_path: pathlib.Path) -> None:
    config = (
        "websockets: {ping_interval: 300ms, ping_timeout: 500ms, close_timeout: 300ms,"
        " max_message: 1000B, origins: ['https://good.example', same, none], compression: false}\n"
        "pools: [{name: app, max_websockets: 3}]\n"
    )
    with AppProcess(tmp_path, APP, config=config) as app:
        # A client that answers pings lives, one that does not is closed.
        with opened(app) as lively, opened(app) as silent:
            for _ in range(4):
                first, payload = lively.receive()
                assert first == 0x80 | PING
                lively.send(frame(PONG, payload))
            assert silent.closing() == (1011, "keepalive ping timeout")
            assert silent.closed()
            lively.send(frame(TEXT, "x" * 1000))
            assert lively.message() == b"x" * 1000
            lively.send(frame(TEXT, "x" * 1001))
            assert lively.closing()[0] == 1009
        # One that does not answer our Close is cut off.
        with opened(app, "/return-late") as stubborn:
            assert stubborn.closing() == (1000, "")
            assert stubborn.closed()
        for origin, status in (
            ("https://good.example", 101),
            ("http://test", 101),
            ("https://evil.example", 403),
            ("null", 403),
        ):
            with WebSocketPeer(app.port, seconds=30) as client:
                assert client.ask("/echo", f"Origin: {origin}").status == status, origin
        with opened(app, "/echo", "Sec-WebSocket-Extensions: permessage-deflate") as plain:
            plain.send(frame(TEXT, "x" * 500))
            assert plain.receive() == (0x80 | TEXT, b"x" * 500)
        # The limit counts open sockets, and ordinary requests do not notice.
        clients = [WebSocketPeer(app.port, seconds=30) for _ in range(4)]

        def three_open() -> bool:
            for client in clients:
                client.close()
            clients[:] = [WebSocketPeer(app.port, seconds=30) for _ in range(4)]
            return [client.ask("/echo").status for client in clients] == [101, 101, 101, 503]

        eventually(three_open, 20)
        with app.connect() as asking:
            assert asking.get("/hello").status == 200
        assert "websockets 3" in app.ctl("worker", "ls")
        for client in clients:
            client.close()


def test_what_is_no_origin_is_refused(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP) as app:
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text("websockets: {origins: ['https://a.example/']}\n")
        with pytest.raises(AssertionError, match="CZ1120"):
            app.ctl("validate", "-f", str(wrong))


def test_compression_is_agreed_on_and_bounded(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, config="websockets: {max_message: 100KiB}\n") as app:
        client = WebSocketPeer(app.port, seconds=30)
        answer = client.ask(
            "/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        )
        agreed = answer.header("sec-websocket-extensions") or ""
        assert agreed.startswith("permessage-deflate;")
        assert "no_context_takeover" in agreed

        def deflated(data: bytes) -> bytes:
            squeeze = zlib.compressobj(wbits=-15)
            return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]

        text = b"again and " * 1000
        client.send(frame(TEXT, deflated(text), reserved=4))
        first, payload = client.receive()
        assert first == 0x80 | 0x40 | TEXT
        assert len(payload) < 1000
        assert zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff") == text
        client.send(frame(BINARY, deflated(bytes(50_000_000)), reserved=4))
        assert client.closing()[0] == 1009
        assert client.closed()
        client.close()


@pytest.mark.parametrize("busy", [False, True])
def test_a_drain_closes_sockets_in_time(tmp_path: pathlib.Path, busy: bool) -> None:
    with AppProcess(tmp_path, APP, config="drain: {timeout: 6s}\n") as app:
        with opened(app) as client:
            client.send(frame(TEXT, "before"))
            assert client.message() == b"before"
            assert app.process is not None
            app.process.send_signal(signal.SIGTERM)
            if busy:  # As long as messages come and go, they do.
                for _ in range(8):
                    client.send(frame(TEXT, "still"))
                    assert client.receive() == (0x80 | TEXT, b"still")
                    pause(0.1)
            assert client.closing() == (1001, "")
            client.send(close_frame(1001))
            assert client.closed()
        assert app.close(30) == 0


def test_new_code_closes_sockets_with_1012(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, config="drain: {timeout: 8s}\n") as app:
        with opened(app) as client:
            client.send(frame(TEXT, "old"))
            assert client.message() == b"old"
            assert app.process is not None
            app.process.send_signal(signal.SIGHUP)
            assert client.closing() == (1012, "")
            client.send(close_frame(1012))
            assert client.closed()
        with opened(app) as client:
            client.send(frame(TEXT, "new"))
            assert client.message() == b"new"


def test_a_lost_worker_closes_its_sockets(tmp_path: pathlib.Path) -> None:
    source = (
        APP + '\n\n@app.get("/pid")\ndef pid() -> int:\n    import os\n\n    return os.getpid()\n'
    )
    with AppProcess(tmp_path, source) as app:
        with opened(app) as client:
            with app.connect() as asking:
                worker = int(json.loads(asking.get("/pid").body))
            os.kill(worker, signal.SIGKILL)
            assert client.receive() == (0x80 | CLOSE, b"\x03\xf3")


def test_a_handler_may_work_on_behind_its_socket(tmp_path: pathlib.Path) -> None:
    config = "pools: [{name: app, request_timeout: 1s, hard_timeout: 1500ms}]\n"
    open_sockets = 'catzilla_pool_websockets{pool="app"}'
    with AppProcess(tmp_path, APP, config=config) as app:
        with opened(app, "/work-on") as client:
            client.send(close_frame(1000))
            assert client.closing() == (1000, "")
        pause(2.5)  # Past every deadline that a request has.
        assert metric(app, open_sockets) == 1
        with app.connect() as asking:
            asking.get("/release")
            eventually(lambda: metric(app, open_sockets) == 0, 10)
            assert {"worked": "on"} in json.loads(asking.get("/seen").body)
        assert "hard deadline" not in app.log()
