"""WebSockets on one lane without I/O: every row of section 3.6, windows, and streams of any frames."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_protocol import Peer

from catzilla._exceptions import LinkError
from catzilla._worker import _frames as f
from catzilla._worker._protocol import Stream
from catzilla._worker._socket import Socket


def asked(peer: Peer, stream: int = 1) -> Stream:
    events = peer.frame(f.UPGRADE, stream, f.encode_request(target=b"/chat"))
    assert [event[0] for event in events] == ["opened"]
    opened: Stream = events[0][1]
    assert opened.upgrade
    return opened


def opened(peer: Peer, stream: int = 1) -> Stream:
    socket = asked(peer, stream)
    peer.lane.accept(socket, [(b"sec-websocket-protocol", b"chat")])
    assert peer.kinds() == [(f.WS_ACCEPT, stream, 0)]
    return socket


def test_messages_in_both_directions_and_a_close() -> None:
    peer = Peer()
    socket = opened(peer)
    assert peer.frame(f.WS_MESSAGE, 1, b"hi", aux=1) == [("message", socket, (1, b"hi"))]
    assert peer.lane.message(socket, f.MESSAGE_TEXT, memoryview(b"ho")) == 2
    assert peer.sent() == [(f.WS_MESSAGE, 0, 1, 1, b"ho")]
    peer.lane.close(socket, 1000, b"bye")
    peer.lane.settle(socket)
    assert peer.kinds() == [(f.WS_CLOSE, 1, 1000), (f.END, 1, 0)]
    assert peer.frame(f.WS_CLOSE, 1, flags=f.FLAG_END, aux=1005) == []
    assert peer.lane.streams == {}


def test_the_client_closes_first() -> None:
    peer = Peer()
    socket = opened(peer)
    assert peer.frame(f.WS_CLOSE, 1, b"done", f.FLAG_END, 4000) == [("closed", socket, (4000, b"done"))]
    peer.lane.close(socket, 1000, b"")  # Too late: nobody is left to be told.
    peer.lane.settle(socket)
    assert peer.kinds() == [(f.END, 1, 0)]
    assert peer.lane.streams == {}


def test_a_message_takes_64_bytes_more_than_it_has() -> None:
    peer = Peer(stream_window=200, connection_window=1000)
    socket = opened(peer)
    assert peer.lane.message(socket, f.MESSAGE_BINARY, memoryview(b"x" * 100)) == 100
    assert peer.lane.message(socket, f.MESSAGE_BINARY, memoryview(b"")) == -1  # 36 are left.
    peer.frame(f.WINDOW, 1, aux=28)
    assert peer.lane.message(socket, f.MESSAGE_BINARY, memoryview(b"y")) == -1
    assert peer.lane.message(socket, f.MESSAGE_BINARY, memoryview(b"")) == 0
    assert peer.lane.message(socket, f.MESSAGE_BINARY, memoryview(b"")) == -1


def test_a_whole_message_leaves_at_once_or_not_at_all() -> None:
    peer = Peer(stream_window=200, connection_window=1000)
    socket = opened(peer)
    assert not peer.lane.whole_message(socket, f.MESSAGE_TEXT, b"x" * 137)  # 201 with the overhead.
    assert peer.lane.whole_message(socket, f.MESSAGE_TEXT, b"x" * 136)
    assert peer.sent() == [(f.WS_MESSAGE, 0, 1, f.MESSAGE_TEXT, b"x" * 136)]
    assert not peer.lane.whole_message(socket, f.MESSAGE_TEXT, b"")
    peer.frame(f.WINDOW, 1, aux=64)
    assert peer.lane.whole_message(socket, f.MESSAGE_BINARY, b"")
    peer.frame(f.WINDOW, 1, aux=64)
    peer.frame(f.WS_CLOSE, 1, b"", f.FLAG_END, 1000)
    assert not peer.lane.whole_message(socket, f.MESSAGE_BINARY, b"")


def test_a_long_message_leaves_in_pieces() -> None:
    peer = Peer(stream_window=100_000, connection_window=100_000, data_bytes_max=4096)
    socket = opened(peer)
    rest = memoryview(b"x" * 5000)
    rest = rest[peer.lane.message(socket, f.MESSAGE_TEXT, rest) :]
    assert peer.lane.message(socket, f.MESSAGE_TEXT, rest) == 904
    assert [(kind[2], len(sent[4])) for kind, sent in [((0, 0, s[3]), s) for s in peer.sent()]] == [
        (f.MESSAGE_TEXT | f.MESSAGE_MORE, 4096),
        (f.MESSAGE_TEXT, 904),
    ]


def test_what_comes_after_our_end_gives_its_window_back() -> None:
    peer = Peer(data_bytes_max=65536)
    socket = opened(peer)
    peer.lane.settle(socket)
    peer.sent()
    for _ in range(4):
        assert peer.frame(f.WS_MESSAGE, 1, b"x" * 40_000, aux=2) == []
    assert peer.kinds() == [(f.WINDOW, 0, 4 * (40_000 + f.PIECE_OVERHEAD))]
    peer.frame(f.END, 1, aux=f.END_STOPPED)
    assert peer.lane.streams == {}


@pytest.mark.parametrize(
    "frames",
    [
        [(f.UPGRADE, 0, b"", 0)],
        [(f.WS_MESSAGE, 0, b"x", 1)],
        [(f.WS_CLOSE, f.FLAG_END, b"", 1000)],
        ["accept", (f.WS_CLOSE, 0, b"", 1000)],
        ["accept", (f.WS_CLOSE, f.FLAG_END, b"", 1000), (f.WS_MESSAGE, 0, b"x", 1)],
        ["accept", (f.WS_CLOSE, f.FLAG_END, b"", 1000), (f.WS_CLOSE, f.FLAG_END, b"", 1000)],
        ["accept", (f.REQUEST_DATA, 0, b"x", 0)],
        [(f.WS_MESSAGE, 0, b"x", 7)],
        [(f.WS_ACCEPT, 0, bytes(8), 0)],
    ],
)
def test_what_the_sidecar_may_not_send_ends_the_lane(frames: list[Any]) -> None:
    peer = Peer()
    socket = asked(peer)
    with pytest.raises(LinkError):  # noqa: PT012
        for step in frames:
            if step == "accept":
                peer.lane.accept(socket, [])
            else:
                kind, flags, payload, aux = step
                peer.frame(kind, 1, payload, flags, aux)


steps = st.tuples(
    st.sampled_from([f.UPGRADE, f.WS_MESSAGE, f.WS_CLOSE, f.CANCEL, f.END, f.WINDOW, f.REQUEST_DATA]),
    st.sampled_from([0, f.FLAG_END]),
    st.integers(1, 3),
    st.sampled_from([0, 1, 2, 4, 0x101, 1000]),
    st.binary(max_size=3),
)


@given(st.lists(steps, max_size=12))
def test_any_frames_end_in_events_or_in_a_link_error(script: list[tuple[int, int, int, int, bytes]]) -> None:
    peer = Peer()
    try:
        for kind, flags, stream, aux, payload in script:
            data = f.encode_request() if kind == f.UPGRADE else payload
            for name, found, _ in peer.frame(kind, stream, data, flags if kind == f.WS_CLOSE else 0, aux):
                if name == "opened":
                    peer.lane.accept(found, [])
                elif name in ("closed", "cancelled", "body_end"):
                    peer.lane.settle(found)
    except LinkError:
        assert peer.lane.phase.name == "CLOSED"
    for stream in peer.lane.streams.values():
        assert not (stream.ended and stream.peer_ended)


class Carrier:
    """A lane, as far as one socket uses it."""

    def __init__(self, peer: Peer) -> None:
        self.protocol = peer.lane
        self.blocked: list[Any] = []
        self.worker: Any = type("Worker", (), {"state": {}})

    def schedule(self) -> None:
        """Whoever asks takes what there is."""

    def more_room(self, peer: Peer) -> None:
        peer.frame(f.WINDOW, 1, aux=100)
        blocked, self.blocked = self.blocked, []
        for socket in blocked:
            socket.wake()


async def accepted(peer: Peer) -> tuple[Carrier, Socket]:
    carrier: Any = Carrier(peer)
    socket = Socket(carrier, asked(peer))
    await socket.send({"type": "websocket.accept"})
    peer.kinds()
    return carrier, socket


async def settled(peer: Peer, carrier: Carrier, tasks: list[asyncio.Task[None]]) -> list[tuple[int, bytes]]:
    """What leaves until all have returned: pieces with their aux, in their order."""
    pieces: list[tuple[int, bytes]] = []
    for _ in range(100):
        await asyncio.sleep(0)
        pieces += [(aux, body) for kind, _, _, aux, body in peer.sent() if kind in (f.WS_MESSAGE, f.WS_CLOSE)]
        carrier.more_room(peer)
        if all(task.done() for task in tasks):
            break
    return pieces


def test_messages_of_several_tasks_do_not_mix() -> None:
    async def main() -> None:
        peer = Peer(stream_window=200, connection_window=100_000)
        carrier, socket = await accepted(peer)
        tasks = [asyncio.ensure_future(socket.send({"type": "websocket.send", "bytes": b"a" * 500}))]
        await asyncio.sleep(0)
        # These come when there is room again, and before the first one has heard of it.
        for letter in (b"b", b"c"):
            tasks.append(asyncio.ensure_future(socket.send({"type": "websocket.send", "bytes": letter * 500})))
        carrier.more_room(peer)
        pieces = await settled(peer, carrier, tasks)
        assert b"".join(body for _, body in pieces) == b"a" * 500 + b"b" * 500 + b"c" * 500
        ends = [body[-1:] for aux, body in pieces if not aux & f.MESSAGE_MORE]
        assert ends == [b"a", b"b", b"c"]

    asyncio.run(main())


def test_nothing_follows_the_half_of_a_message() -> None:
    async def main() -> None:
        peer = Peer(stream_window=200, connection_window=100_000)
        carrier, socket = await accepted(peer)
        task = asyncio.ensure_future(socket.send({"type": "websocket.send", "bytes": b"a" * 500}))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert [aux for aux, _ in await settled(peer, carrier, [])] == [f.MESSAGE_BINARY | f.MESSAGE_MORE, 1011]
        with pytest.raises(RuntimeError, match="after sending"):
            await socket.send({"type": "websocket.send", "bytes": b"b"})
        assert (await socket.receive())["type"] == "websocket.connect"
        assert (await socket.receive())["code"] == 1011

    asyncio.run(main())


def test_who_stops_waiting_leaves_nothing_behind() -> None:
    async def main() -> None:
        _, socket = await accepted(Peer())
        assert (await socket.receive())["type"] == "websocket.connect"
        first, second = (asyncio.ensure_future(socket.receive()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(socket.waiters) == 1
        socket.on_message(f.MESSAGE_TEXT, b"for the second")
        assert (await second)["text"] == "for the second"
        assert socket.waiters == []

    asyncio.run(main())
