"""One lane without I/O: every row of the worker's state table, windows, credits, GOAWAY."""

from __future__ import annotations

import time
from typing import Any

import pytest

from catzilla._exceptions import LinkError
from catzilla._worker import _frames as f
from catzilla._worker._protocol import STREAM_WINDOW, LaneProtocol, Phase, Stream


def hello() -> f.Hello:
    return f.Hello(
        purpose=f.PURPOSE_LANE, lane_kind=f.LANE_EVENT_LOOP, loop_index=0, token=bytes(16), epoch=1, generation=1,
        table_hash=bytes(32), pid=1, worker_index=0, start_time_us=1, in_flight_max=8, stream_window=STREAM_WINDOW,
        connection_window=8 * STREAM_WINDOW, monotonic_us=0, wall_us=0, rss_bytes=0, pool="app", sdk="0", python="3",
        framework="x", head_bytes_max=1 << 20,
    )  # fmt: skip


def ack(**more: Any) -> bytes:
    fields: dict[str, Any] = {
        "version": 1, "loop_count": 1, "capabilities": 0, "credits": 8, "stream_window": 1000,
        "connection_window": 1500, "head_bytes_max": 49152, "data_bytes_max": 4096, "ping_interval_ms": 1000,
        "monotonic_us": 0, "wall_us": 0, "worker_id": 1, "lane_id": 1, "loop_index": 0, "sidecar": "x",
    }  # fmt: skip
    return f.encode_frame(f.HELLO_ACK, payload=f.HelloAck(**(fields | more)).encode())


class Peer:
    """A protocol and what it has written, as frames."""

    def __init__(self, **more: Any) -> None:
        self.lane = LaneProtocol(hello())
        self.reader = f.FrameReader(f.Limits(1 << 20, 65536))
        self.events: list[Any] = []
        assert self.sent()[0][0] == f.HELLO
        self.feed(ack(**more))
        self.events.clear()

    def feed(self, data: bytes) -> list[Any]:
        events = self.lane.feed(data)
        self.events += events
        return events

    def frame(self, kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0, aux: int = 0) -> list[Any]:
        return self.feed(f.encode_frame(kind, stream, payload, flags, aux))

    def open(self, stream: int = 1, *, end: bool = True, **request: Any) -> Stream:
        if not end:
            request |= {"body_mode": f.BODY_STREAMING, "body_length": None}
        events = self.frame(f.REQUEST, stream, f.encode_request(**request), f.FLAG_END if end else 0)
        assert events[0][0] == "opened"
        opened: Stream = events[0][1]
        return opened

    def sent(self) -> list[tuple[str, int, int, int, bytes]]:
        return [tuple(frame) for frame in self.reader.feed(self.lane.take())]  # type: ignore[misc]

    def kinds(self) -> list[tuple[int, int, int]]:
        """(type, stream, aux or END flag)."""
        return [(kind, stream, aux or flags & 1) for kind, flags, stream, aux, _ in self.sent()]  # type: ignore[misc]


def test_it_says_hello_first_and_serves_after_the_answer() -> None:
    lane = LaneProtocol(hello())
    assert lane.phase is Phase.GREETING
    assert f.Hello.decode(lane.take()[16:]).pool == "app"
    events = lane.feed(ack())
    assert [e[0] for e in events] == ["attached"]
    assert repr(lane) == "<LaneProtocol SERVING open=0>"


@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_a_request_split_anywhere_is_the_same(size: int) -> None:
    peer = Peer()
    data = f.encode_frame(f.REQUEST, 1, f.encode_request(target=b"/a?b=1", fields=[(b"x", b"y")]), f.FLAG_END)
    for at in range(0, len(data), size):
        peer.feed(data[at : at + size])
    assert [e[0] for e in peer.events] == ["opened"]
    assert peer.events[0][1].request.target == b"/a?b=1"


def test_a_whole_answer_is_one_frame_and_closes_the_stream() -> None:
    peer = Peer()
    stream = peer.open()
    peer.lane.respond(stream, 200, [(b"a", b"b")], b"body", end=True)
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.RESPONSE, 1, 1)]
    assert peer.lane.streams == {}


def test_an_answer_before_the_handler_has_returned_is_detached_and_credited_later() -> None:
    peer = Peer()
    stream = peer.open()
    peer.lane.respond(stream, 200, [], b"body", end=True)
    assert peer.kinds() == [(f.DETACHED, 1, 0), (f.RESPONSE, 1, 1)]
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.CREDIT, 1, 1)]


def test_answers_of_one_turn_leave_together() -> None:
    peer = Peer()
    for stream in [peer.open(n) for n in (1, 2, 3)]:
        peer.lane.respond(stream, 200, [], b"", end=True)
        peer.lane.settle(stream)
    assert [k[:2] for k in peer.kinds()] == [(f.RESPONSE, 1), (f.RESPONSE, 2), (f.RESPONSE, 3)]


def test_a_body_waits_for_windows() -> None:
    peer = Peer(stream_window=1000, connection_window=1500)
    one, two = peer.open(1), peer.open(2)
    for stream in (one, two):
        peer.lane.respond(stream, 200, [], b"", end=False)
    assert peer.lane.data(one, b"x" * 2000) == 1000  # Its own window...
    assert peer.lane.data(two, b"x" * 2000) == 500  # ...and the connection's.
    assert peer.lane.data(two, b"x") == 0
    assert peer.frame(f.WINDOW, 2, aux=100) == [("room", two, None)]
    assert peer.lane.data(two, b"x" * 2000) == 100
    peer.frame(f.WINDOW, 0, aux=5000)
    assert peer.lane.data(two, b"x" * 2000) == 500
    assert peer.lane.data(one, b"x") == 0


def test_what_is_given_back_on_a_stream_that_has_ended_is_the_connections() -> None:
    """Its client has read the last bytes only now: the lane must not lose them (frames.md, section 3.2)."""
    peer = Peer(stream_window=1000, connection_window=1000)
    for number in (1, 2, 3):
        stream = peer.open(number)
        peer.lane.respond(stream, 200, [], b"", end=False)
        assert peer.lane.data(stream, b"x" * 1000, end=True) == 1000
        peer.lane.settle(stream)
        peer.sent()
        assert peer.lane.streams == {}
        assert peer.frame(f.WINDOW, number, aux=600) == [("room", None, None)]
        peer.frame(f.WINDOW, 0, aux=400)
    assert peer.lane.room == 1000


def test_a_large_body_is_cut_at_the_data_limit_and_its_last_piece_ends() -> None:
    peer = Peer(stream_window=1 << 20, connection_window=1 << 20, data_bytes_max=4096)
    stream = peer.open()
    peer.lane.respond(stream, 200, [], b"", end=False)
    assert peer.lane.data(stream, b"x" * 8192, end=True) == 8192
    peer.lane.settle(stream)
    frames = peer.sent()
    assert [(kind, flags, len(data)) for kind, flags, _, _, data in frames[1:]] == [
        (f.RESPONSE_DATA, 0, 4096),
        (f.RESPONSE_DATA, 1, 4096),
    ]


@pytest.mark.parametrize("sizes", [[1], [4096], [4097], [10000], [4096, 4096]])
def test_no_byte_of_a_body_is_lost(sizes: list[int]) -> None:
    peer = Peer(stream_window=1 << 20, connection_window=1 << 20, data_bytes_max=4096)
    stream = peer.open()
    peer.lane.respond(stream, 200, [], b"", end=False)
    for index, size in enumerate(sizes):
        assert peer.lane.data(stream, bytes([index]) * size, end=index == len(sizes) - 1) == size
    peer.lane.settle(stream)
    frames = peer.sent()[1:]
    assert b"".join(data for _, _, _, _, data in frames) == b"".join(bytes([i]) * s for i, s in enumerate(sizes))
    assert [bool(flags & 1) for _, flags, _, _, _ in frames] == [False] * (len(frames) - 1) + [True]


def test_an_empty_last_piece_only_ends() -> None:
    peer = Peer()
    stream = peer.open()
    peer.lane.respond(stream, 200, [], b"x", end=False)
    peer.lane.data(stream, b"", end=True)
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.RESPONSE, 1, 0), (f.RESPONSE_DATA, 1, 1)]


def test_a_body_arrives_in_pieces_and_its_window_goes_back_at_half() -> None:
    peer = Peer()
    stream = peer.open(end=False)
    assert peer.frame(f.REQUEST_DATA, 1, b"abc") == [("body", stream, b"abc")]
    peer.lane.consumed(stream, 3)
    assert peer.kinds() == []
    peer.lane.consumed(stream, STREAM_WINDOW // 2)
    assert peer.kinds() == [(f.WINDOW, 1, STREAM_WINDOW // 2 + 3)]
    assert peer.frame(f.REQUEST_DATA, 1, b"d", f.FLAG_END) == [("body", stream, b"d"), ("body_end", stream, None)]


def test_a_body_that_arrives_after_the_answer_is_dropped_and_its_window_returned() -> None:
    peer = Peer()
    stream = peer.open(end=False)
    peer.lane.respond(stream, 200, [], b"", end=True)
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.RESPONSE, 1, 1)]
    half = STREAM_WINDOW // 2
    for _ in range(half // 4096):
        assert peer.frame(f.REQUEST_DATA, 1, b"x" * 4096) == []
    assert peer.kinds() == [(f.WINDOW, 0, half)]
    peer.frame(f.END, 1, aux=f.END_STOPPED)
    assert peer.lane.streams == {}


def test_expect_100_opens_the_window_when_the_app_reads() -> None:
    peer = Peer()
    stream = peer.open(end=False, flags=f.REQUEST_EXPECT_CONTINUE)
    peer.lane.open_window(stream)
    assert peer.kinds() == [(f.WINDOW, 1, STREAM_WINDOW)]


# CANCEL...


def test_cancel_is_answered_when_the_handler_has_let_go() -> None:
    peer = Peer()
    stream = peer.open()
    assert peer.frame(f.CANCEL, 1, aux=f.CANCEL_CLIENT_GONE) == [("cancelled", stream, f.CANCEL_CLIENT_GONE)]
    peer.lane.respond(stream, 200, [], b"too late", end=True)
    assert peer.lane.data(stream, b"too late", end=True) == 8
    assert peer.kinds() == []
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.END, 1, f.END_CANCELLED)]
    assert peer.lane.streams == {}


def test_cancel_that_crosses_our_end_is_ignored() -> None:
    peer = Peer()
    stream = peer.open()
    peer.lane.respond(stream, 200, [], b"", end=True)
    peer.lane.settle(stream)
    assert peer.frame(f.CANCEL, 1, aux=1) == []
    assert peer.kinds() == [(f.RESPONSE, 1, 1)]


def test_cancel_of_a_detached_stream_still_gives_the_credit_back() -> None:
    peer = Peer()
    stream = peer.open(end=False)
    peer.lane.respond(stream, 200, [], b"", end=True)
    assert peer.kinds() == [(f.DETACHED, 1, 0), (f.RESPONSE, 1, 1)]
    assert peer.frame(f.CANCEL, 1, aux=1) == []
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.CREDIT, 1, 1)]


def test_a_failed_handler_ends_the_stream_with_a_sentence() -> None:
    peer = Peer()
    stream = peer.open()
    peer.lane.settle(stream, f.END_FAILED, "ValueError: no")
    assert [(k, a, p) for k, _, _, a, p in peer.sent()] == [(f.END, f.END_FAILED, b"ValueError: no")]


@pytest.mark.parametrize("field", [(b"a", b"x\r\ny"), (b"a", b"\0"), (b"a\n", b"x")])
def test_a_field_that_cannot_be_sent_is_the_apps_error_and_nothing_leaves(field: tuple[bytes, bytes]) -> None:
    peer = Peer()
    stream = peer.open()
    with pytest.raises(ValueError, match="header field"):
        peer.lane.respond(stream, 200, [field], b"", end=True)
    assert peer.sent() == []
    assert not stream.ended


# GOAWAY and PING...


@pytest.mark.parametrize("code", [f.GOAWAY_DRAINING, f.GOAWAY_SUPERSEDED, f.GOAWAY_RECYCLE])
def test_a_gentle_goaway_lets_streams_finish(code: int) -> None:
    peer = Peer()
    stream = peer.open()
    assert peer.frame(f.GOAWAY, aux=code) == [("goaway", None, code)]
    assert peer.lane.phase is Phase.DRAINING
    peer.lane.respond(stream, 200, [], b"", end=True)
    peer.lane.settle(stream)
    assert peer.kinds() == [(f.RESPONSE, 1, 1)]


def test_a_refusal_is_an_error_with_its_sentence() -> None:
    lane = LaneProtocol(hello())
    with pytest.raises(LinkError, match="upgrade the sidecar") as caught:
        lane.feed(f.encode_frame(f.GOAWAY, payload=b"upgrade the sidecar", aux=f.GOAWAY_VERSION))
    assert caught.value.code == f.GOAWAY_VERSION
    assert lane.phase is Phase.CLOSED


def test_after_our_goaway_later_requests_are_not_ours() -> None:
    peer = Peer()
    peer.open(5)
    peer.lane.goaway(f.GOAWAY_RECYCLE, "max_requests")
    assert peer.sent()[0][:4] == (f.GOAWAY, 0, 5, f.GOAWAY_RECYCLE)
    assert peer.frame(f.REQUEST, 6, f.encode_request(), f.FLAG_END) == []
    assert peer.frame(f.CANCEL, 6, aux=1) == []
    assert peer.frame(f.REQUEST_DATA, 6, b"x") == []
    assert list(peer.lane.streams) == [5]


def test_ping_is_answered_with_its_bytes() -> None:
    peer = Peer()
    peer.frame(f.PING, payload=b"12345678")
    assert peer.sent() == [(f.PONG, 0, 0, 0, b"12345678")]


# What the sidecar must not do...

BROKEN: list[tuple[str, list[bytes]]] = [
    ("anything before HELLO_ACK", []),
    ("a request on stream 0", [f.encode_frame(f.REQUEST, 0, f.encode_request(), f.FLAG_END)]),
    ("an open id again", [f.encode_frame(f.REQUEST, 1, f.encode_request(), f.FLAG_END)]),
    ("a request that is no request", [f.encode_frame(f.REQUEST, 2, b"short", f.FLAG_END)]),
    ("data on an unknown stream", [f.encode_frame(f.REQUEST_DATA, 9, b"x")]),
    ("data after the end", [f.encode_frame(f.REQUEST_DATA, 1, b"x")]),
    ("END on an unknown stream", [f.encode_frame(f.END, 9)]),
    ("a second END", [f.encode_frame(f.END, 1)]),
    ("a second CANCEL", [f.encode_frame(f.CANCEL, 1, aux=1)] * 2),
    ("a window beyond all bounds", [f.encode_frame(f.WINDOW, 0, aux=f.WINDOW_MAX)]),
    ("an empty window", [f.encode_frame(f.WINDOW, 1, aux=0)]),
    ("a frame of ours", [f.encode_frame(f.RESPONSE_DATA, 1, b"x")]),
    ("a second HELLO_ACK", [ack()]),
    ("an unknown type", [f.encode_frame(0x7F)]),
]


@pytest.mark.parametrize(("what", "data"), BROKEN, ids=[what for what, _ in BROKEN])
def test_a_broken_rule_closes_the_lane_with_goaway(what: str, data: list[bytes]) -> None:
    if not data:
        lane, data = LaneProtocol(hello()), [f.encode_frame(f.WINDOW, 0, aux=1)]
        lane.take()
        reader = f.FrameReader()
    else:
        peer = Peer()
        peer.open(1)
        lane, reader = peer.lane, peer.reader
    with pytest.raises(LinkError):
        [lane.feed(piece) for piece in data]
    assert lane.phase is Phase.CLOSED
    kind, _, _, code, sentence = reader.feed(lane.take())[-1]
    assert kind == f.GOAWAY
    assert code in (f.GOAWAY_PROTOCOL, f.GOAWAY_UNKNOWN_TYPE)
    assert sentence


def test_an_ignorable_frame_of_a_later_version_is_ignored() -> None:
    peer = Peer()
    assert peer.frame(0x7F, flags=f.FLAG_IGNORABLE) == []


@pytest.mark.parametrize(("kind", "aux"), [(f.CANCEL, 1), (f.WINDOW, 10)], ids=["CANCEL", "WINDOW"])
def test_late_frames_of_closed_streams_are_ignored(kind: int, aux: int) -> None:
    peer = Peer()
    peer.frame(kind, 77, aux=aux)
    assert peer.lane.phase is Phase.SERVING


def test_ten_thousand_requests_leave_nothing_behind() -> None:
    peer = Peer()
    began = time.monotonic()
    for number in range(1, 10_001):
        stream = peer.open(number)
        peer.lane.respond(stream, 200, [], b"", end=True)
        peer.lane.settle(stream)
        peer.lane.take()
    assert peer.lane.streams == {}
    assert time.monotonic() - began < 20
