"""python-socketio, server and client: polling that becomes a WebSocket, rooms, acknowledgements, binary, ends."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import pytest
from serving import WAYS, Serve
from waiting import eventually

pytestmark = pytest.mark.usefixtures("installed")

EVENTS = """
import socketio
from catzilla import Catzilla

sio = socketio.AsyncServer(async_mode="asgi", ping_interval=1, ping_timeout=5)
seen = []


@sio.event
async def connect(sid, environ, auth):
    if auth == {"token": "wrong"}:
        raise socketio.exceptions.ConnectionRefusedError("not you")
    await sio.save_session(sid, {"query": environ["QUERY_STRING"]})


@sio.event
async def disconnect(sid, reason):
    seen.append(reason)


@sio.event
async def echo(sid, data):
    return data


@sio.event
async def enter(sid, room):
    await sio.enter_room(sid, room)
    return sio.rooms(sid)[-1]


@sio.event
async def say(sid, room, what):
    await sio.emit("said", what, room=room, skip_sid=sid)


@sio.event
async def leave(sid):
    await sio.disconnect(sid)


api = Catzilla()


@api.get("/seen")
def what_was_seen():
    return seen
"""
WRAPPED = EVENTS + "app = socketio.ASGIApp(sio, other_asgi_app=api)\n"
MOUNTED = EVENTS + 'app = api\napp.mount("/", socketio.ASGIApp(sio))\n'


class Client:
    """Socket.IO's own, with what it was told in a queue."""

    def __init__(self, port: int, *transports: str, auth: dict[str, str] | None = None) -> None:
        import socketio  # Of the stage's own packages: not there where tests are only collected.

        self.said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.io = socketio.Client(reconnection=False)
        self.io.on("said", self.said.put)
        url = f"http://127.0.0.1:{port}"
        self.io.connect(url, auth=auth, transports=transports or None, wait_timeout=30)

    def call(self, event: str, *data: Any) -> Any:
        return self.io.call(event, data if len(data) > 1 else data[0], timeout=30)

    @property
    def transport(self) -> str:
        told: str = self.io.eio.transport()
        return told


@pytest.mark.parametrize("source", [WRAPPED, MOUNTED], ids=["wrapped", "mounted"])
@pytest.mark.parametrize("serve", WAYS)
def test_a_conversation(tmp_path: Path, serve: Serve, source: str) -> None:
    with serve(tmp_path, source) as port:
        upgraded = Client(port)
        direct = Client(port, "websocket")
        polling = Client(port, "polling")
        clients = [upgraded, direct, polling]
        assert [client.transport for client in clients] == ["websocket", "websocket", "polling"]
        for client in clients:
            for data in ("text", {"a": [1, None, "ü"]}, b"\x00\xff" * 1000, "long " * 50_000):
                assert client.call("echo", data) == data
            assert client.call("enter", "room") == "room"
        for speaker in clients:
            speaker.io.emit("say", ("room", speaker.transport))
            for listener in clients:
                if listener is not speaker:
                    assert listener.said.get(timeout=30) == speaker.transport
        # Pings of a second go by, and nobody is lost.
        assert upgraded.call("echo", "still there") == "still there"
        for client in clients:
            client.io.disconnect()


@pytest.mark.parametrize("serve", WAYS)
def test_ends_and_refusals(tmp_path: Path, serve: Serve) -> None:
    import socketio

    with serve(tmp_path, WRAPPED) as port:
        with pytest.raises(socketio.exceptions.ConnectionError):
            Client(port, "websocket", auth={"token": "wrong"})
        client = Client(port, "websocket")
        client.io.emit("leave")
        eventually(lambda: not client.io.connected, 30)
