"""The worker's side of one lane, without I/O: frames in, events out; answers in, bytes out.

    GREETING --HELLO_ACK--> SERVING --GOAWAY, either side--> DRAINING --no stream left--> CLOSED
        \\________________________ a broken rule, a refusal ______________________________/

The contract is proto/catzilla/worker/v1/frames.md; section numbers are that page's. One object per
connection, one task at a time. Raises LinkError when the sidecar breaks the contract or refuses us: the phase is
then CLOSED for good, and what is left in take() (a GOAWAY) should still be written.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from io import FileIO
from typing import Any, Final, Literal, TypeAlias

from catzilla._exceptions import LinkError
from catzilla._text import utf8
from catzilla._worker import _frames as frames
from catzilla._worker._files import FileFrame, Part, close_all
from catzilla._worker._frames import FLAG_END, Fields, FrameError, FrameReader, HelloAck
from catzilla._worker._stream import Stream as Stream

Phase = enum.Enum("Phase", ["GREETING", "SERVING", "DRAINING", "CLOSED"])

# Events: (kind, stream, value).
EventKind: TypeAlias = Literal[
    "attached", "opened", "body", "body_end", "cancelled", "room", "goaway", "message", "closed"
]
Event: TypeAlias = "tuple[EventKind, Stream | None, Any]"

STREAM_WINDOW: Final = 256 * 1024
_HALF_WINDOW: Final = STREAM_WINDOW // 2
# Asked for with each frame.
_REQUEST: Final = frames.REQUEST
_MESSAGE: Final = frames.WS_MESSAGE
_WHOLE: Final = frozenset({frames.MESSAGE_TEXT, frames.MESSAGE_BINARY})
_OVERHEAD: Final = frames.PIECE_OVERHEAD
_REQUEST_BYTES_MIN: Final = frames.REQUEST_BYTES_MIN
_SERVING: Final = Phase.SERVING
_SENDFILE: Final = struct.Struct("<QQ")  # Offset, length.
# The sidecar tells how long heads may be; we take any it may be configured for.
HEAD_BYTES_MAX: Final = 1 << 20


class LaneProtocol:
    """Feed it bytes and get events; give it answers and take() the bytes to write."""

    def __init__(self, hello: frames.Hello) -> None:
        self.phase = Phase.GREETING
        self.ack: HelloAck | None = None
        self.streams: dict[int, Stream] = {}
        self.room = 0  # Answer bytes the sidecar takes over all streams.
        self.data_bytes_max = frames.DATA_BYTES_MAX
        self.head_bytes_max = hello.head_bytes_max
        self._last = 0  # The newest stream id.
        self._window = 0  # Of a new stream's answer.
        self._refuse_after: int | None = None  # Set by our GOAWAY: later ids are not for us.
        self._unreturned = 0
        self._reader = FrameReader(frames.Limits(hello.head_bytes_max, hello.data_bytes_max))
        self.takes_files = False
        self.files = 0  # Frames in _out and _held that carry descriptors.
        self._held: list[tuple[Stream, bytes]] = []  # Last frames of answers, until take().
        self._out: list[bytes] = [frames.encode_frame(frames.HELLO, payload=hello.encode())]

    # What the sidecar says...

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes say. Raises LinkError for what breaks the contract."""
        events: list[Event] = []
        try:
            for kind, flags, stream_id, aux, payload in self._reader.feed(data):
                if kind == _REQUEST and self.phase is _SERVING:
                    if self._refuse_after is None:
                        events.append(("opened", self._open(flags, stream_id, payload), None))
                    continue
                if kind == _MESSAGE and aux in _WHOLE:
                    stream = self.streams.get(stream_id)
                    if stream is not None and stream.accepted and not (stream.peer_ended or stream.ended):
                        events.append(("message", stream, (aux, payload)))
                        continue
                handle = _HANDLERS.get(kind)
                if handle is None:
                    raise FrameError(f"the sidecar sent a frame of type 0x{kind:02x} on a lane")
                if self.phase is Phase.GREETING and kind not in _IN_GREETING:
                    raise FrameError("the sidecar sent something before HELLO_ACK")
                frames.check_frame((kind, flags, stream_id, aux, payload))
                handle(self, events, flags, stream_id, aux, payload)
        except FrameError as error:
            raise self.broken(error) from None
        return events

    def broken(self, error: FrameError) -> LinkError:
        """The sidecar has broken the contract: says so to it, and is what is to be raised."""
        self.goaway(error.code, str(error))
        self.phase = Phase.CLOSED
        return LinkError(f"the sidecar broke the link's rules: {error}", error.code)

    def _open(self, flags: int, stream_id: int, payload: bytes) -> Stream:
        if stream_id in self.streams or not stream_id:
            raise FrameError(f"REQUEST on stream {stream_id}, which is open")
        if len(payload) < _REQUEST_BYTES_MIN:
            raise FrameError("REQUEST is shorter than its fixed part")
        self.streams[stream_id] = stream = Stream(stream_id, payload, flags, self._window)
        self._last = stream_id
        return stream

    def _find(self, stream_id: int, what: str) -> Stream | None:
        """The stream, or None if we have said that we will not answer it."""
        stream = self.streams.get(stream_id)
        if stream is None and (self._refuse_after is None or stream_id <= self._refuse_after):
            raise FrameError(f"{what} on stream {stream_id}, which is closed or was never opened")
        return stream

    def _on_upgrade(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        if self._refuse_after is None:
            stream = self._open(flags, stream_id, payload)
            stream.upgrade = True
            events.append(("opened", stream, None))

    def _on_message(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self._find(stream_id, "WS_MESSAGE")
        if stream is None:
            return
        if not stream.accepted or stream.peer_ended:
            raise FrameError("WS_MESSAGE before WS_ACCEPT or behind WS_CLOSE")
        if stream.ended:
            self._return_window(len(payload) + frames.PIECE_OVERHEAD)
        else:
            events.append(("message", stream, (aux, payload)))

    def _on_close(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self._find(stream_id, "WS_CLOSE")
        if stream is None:
            return
        if not stream.accepted or stream.peer_ended or not flags & FLAG_END:
            raise FrameError("WS_CLOSE before WS_ACCEPT, twice, or without END")
        stream.peer_ended = True
        if stream.ended:
            del self.streams[stream_id]
        else:
            events.append(("closed", stream, (aux, payload)))

    def _on_request(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        if self._refuse_after is None:  # After its own GOAWAY the sidecar opens nothing.
            raise FrameError("REQUEST after GOAWAY")

    def _on_ack(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        if self.phase is not Phase.GREETING:
            raise FrameError("a second HELLO_ACK")
        self.ack = ack = HelloAck.decode(payload)
        self.room = ack.connection_window
        self._window = ack.stream_window
        self.data_bytes_max = ack.data_bytes_max
        self.takes_files = bool(ack.capabilities & frames.CAPABILITY_SENDFILE)
        self.head_bytes_max = ack.head_bytes_max
        self._reader.limits = frames.Limits(ack.head_bytes_max, ack.data_bytes_max)
        self.phase = Phase.SERVING
        events.append(("attached", None, ack))

    def _on_data(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self._find(stream_id, "REQUEST_DATA")
        if stream is None:
            return
        if stream.peer_ended or stream.upgrade:
            raise FrameError("REQUEST_DATA after the end of the body")
        if stream.ended:  # What was on its way when we answered. Its window goes back.
            self._return_window(len(payload))
        elif payload:
            events.append(("body", stream, payload))
        if flags & FLAG_END:
            self._on_end(events, flags, stream_id, 0, b"")

    def _on_end(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self._find(stream_id, "END")
        if stream is None:
            return
        if stream.peer_ended:
            raise FrameError(f"a second END on stream {stream_id}")
        stream.peer_ended = True
        if stream.ended:
            del self.streams[stream_id]
        else:
            events.append(("body_end", stream, None))

    def _on_cancel(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:  # Our END was on its way.
            return
        if stream.cancelled:
            raise FrameError(f"a second CANCEL on stream {stream_id}")
        stream.peer_ended = stream.cancelled = True
        if stream.ended:
            del self.streams[stream_id]
        else:
            events.append(("cancelled", stream, aux))

    def _on_window(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        stream = self.streams.get(stream_id)
        self.room += aux  # Also when the stream has ended meanwhile: these bytes are given back in no other way.
        if stream is not None:
            stream.room += aux
        if max(self.room, stream.room if stream else 0) > frames.WINDOW_MAX:
            raise FrameError("a window beyond 2^31-1")
        events.append(("room", stream, None))

    def _on_goaway(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        sentence = payload.decode("utf-8", "replace")
        if aux not in _GENTLE:
            self.phase = Phase.CLOSED
            raise LinkError(sentence or f"the sidecar has refused the link (code {aux})", aux)
        self.phase = Phase.DRAINING
        events.append(("goaway", None, aux))

    def _on_ping(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        self._out.append(frames.encode_frame(frames.PONG, payload=payload))

    def _on_pong(self, events: list[Event], flags: int, stream_id: int, aux: int, payload: bytes) -> None:
        return

    # What we say...

    def respond(
        self,
        stream: Stream,
        status: int,
        fields: Fields,
        body: bytes,
        *,
        end: bool,
        flags: int = 0,
        us: int = 0,
        lane: int = frames.LANE_SLOW,
        fallback: int = frames.FALLBACK_NONE,
    ) -> None:
        """The head, and as much of the body as goes with it. REQUIRES: len(body) ≤ data_bytes_max.

        Raises ValueError if a field cannot go on the wire; nothing has been sent then.
        """
        if stream.cancelled:
            return
        count, head = frames.encode_fields(fields)
        frame = frames.encode_head(stream.id, status, count, head, body, us, lane, end, fallback, flags)
        self._check_head(len(frame) - len(body))
        if end:
            self._held.append((stream, frame))
            self._ended(stream)
        else:
            self._out.append(frame)

    def complete(self, stream: Stream, frame: bytes, settled: bool) -> None:
        """A whole answer in one RESPONSE frame with END. `settled`: its handler has returned."""
        if stream.cancelled:
            if settled:
                self.settle(stream)
        elif settled:
            stream.settled = True
            self._out.append(frame)
            if stream.peer_ended and not stream.unreturned:
                stream.ended = True
                del self.streams[stream.id]
            else:
                self._ended(stream)
        else:
            self._held.append((stream, frame))
            self._ended(stream)

    def data(self, stream: Stream, body: bytes | memoryview, *, end: bool = False) -> int:
        """Sends as much of `body` as the windows take, and says how much. `end` holds if all of it went."""
        size = len(body)
        if stream.cancelled:
            return size
        sent = min(size, stream.room, self.room)
        stream.room -= sent
        self.room -= sent
        most = self.data_bytes_max
        for at in range(0, sent, most):
            until = min(at + most, sent)
            if end and until == size:
                break  # The last one, below.
            self._out.append(frames.encode_frame(frames.RESPONSE_DATA, stream.id, body[at:until]))
        if end and sent == size:
            last = body[(size - 1) // most * most :] if size else b""
            self._held.append((stream, frames.encode_frame(frames.RESPONSE_DATA, stream.id, last, FLAG_END)))
            self._ended(stream)
        return sent

    def sendfile(self, stream: Stream, file: FileIO, size: int) -> None:
        """The rest of the body is this file, which is ours now. REQUIRES: takes_files."""
        if stream.cancelled:
            file.close()
            return
        frame = FileFrame(frames.encode_frame(frames.SENDFILE, stream.id, _SENDFILE.pack(0, size), FLAG_END))
        frame.file = file
        self.files += 1
        self._held.append((stream, frame))
        self._ended(stream)

    def trailers(self, stream: Stream, fields: Fields) -> None:
        """Raises ValueError if a field cannot go on the wire; nothing has been sent then."""
        if stream.cancelled:
            return
        frame = frames.encode_trailers(stream.id, fields)
        self._check_head(len(frame))
        self._held.append((stream, frame))
        self._ended(stream)

    def accept(self, stream: Stream, fields: Fields) -> None:
        """Raises ValueError if a field cannot go on the wire; nothing has been sent then."""
        if stream.cancelled:
            return
        frame = frames.encode_accept(stream.id, fields)
        self._check_head(len(frame))
        self._out.append(frame)
        stream.accepted = True

    def whole_message(self, stream: Stream, kind: int, body: bytes) -> bool:
        """Sends a message in one frame. False: it is not the time for that, and nothing was sent."""
        size = len(body)
        taken = size + _OVERHEAD
        if taken > stream.room or taken > self.room or size > self.data_bytes_max or stream.peer_ended:
            return False
        stream.room -= taken
        self.room -= taken
        self._out.append(frames.encode_frame(_MESSAGE, stream.id, body, 0, kind))
        return True

    def message(self, stream: Stream, kind: int, body: memoryview) -> int:
        """Sends one piece of a message, as large as the windows take, and says how large; -1: not even an empty one."""
        size = len(body)
        if stream.peer_ended:
            return size
        room = min(stream.room, self.room) - frames.PIECE_OVERHEAD
        if room < 0 or (room == 0 and size):
            return -1
        sent = min(size, room, self.data_bytes_max)
        stream.room -= sent + frames.PIECE_OVERHEAD
        self.room -= sent + frames.PIECE_OVERHEAD
        more = frames.MESSAGE_MORE if sent < size else 0
        self._out.append(frames.encode_frame(frames.WS_MESSAGE, stream.id, body[:sent], aux=kind | more))
        return sent

    def close(self, stream: Stream, code: int, reason: bytes) -> None:
        """No message follows; our END still does, when the handler returns."""
        if not stream.peer_ended:
            self._out.append(frames.encode_frame(frames.WS_CLOSE, stream.id, reason, aux=code))

    def informational(self, stream: Stream, status: int, fields: Fields) -> None:
        if not stream.cancelled:
            frame = frames.encode_informational(stream.id, status, fields)
            self._check_head(len(frame))
            self._out.append(frame)

    def _check_head(self, size: int) -> None:
        """What is larger than agreed would cost all streams of the lane: it fails on its own, before it is sent."""
        if size > self.head_bytes_max + frames.HEADER_BYTES:
            raise ValueError(f"the head of the answer takes {size} bytes, the link takes {self.head_bytes_max}")

    def settle(self, stream: Stream, code: int = frames.END_COMPLETE, sentence: str = "") -> None:
        """The handler has returned: its place is free. `code` is for a stream that has not ended yet."""
        stream.settled = True
        if stream.detached:
            self._out.append(frames.encode_frame(frames.CREDIT, stream.id, aux=1))
        elif not stream.ended:
            code = frames.END_CANCELLED if stream.cancelled else code
            text = utf8(sentence, frames.SENTENCE_BYTES_MAX)
            self._out.append(frames.encode_frame(frames.END, stream.id, text, 0, code))
            self._ended(stream)

    def open_window(self, stream: Stream) -> None:
        """For `Expect: 100-continue`: the first WINDOW asks for the body."""
        self._out.append(frames.encode_frame(frames.WINDOW, stream.id, aux=STREAM_WINDOW))

    def consumed(self, stream: Stream, size: int) -> None:
        """So many bytes of the body have left our hands."""
        if stream.peer_ended or stream.ended:
            self._return_window(size + stream.unreturned)
            stream.unreturned = 0
            return
        stream.unreturned += size
        if stream.unreturned >= _HALF_WINDOW:
            self._out.append(frames.encode_frame(frames.WINDOW, stream.id, aux=stream.unreturned))
            stream.unreturned = 0

    def set_ceiling(self, credits: int) -> None:
        """How many requests the process takes at most from now on, over all its lanes; what waits, waits there."""
        self._out.append(frames.encode_frame(frames.CREDIT, aux=credits))

    def goaway(self, code: int, sentence: str = "") -> None:
        """We take nothing new; with an error code the connection is over."""
        text = utf8(sentence, frames.SENTENCE_BYTES_MAX)
        self._out.append(frames.encode_frame(frames.GOAWAY, self._last, text, 0, code))
        self._refuse_after = self._last
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.DRAINING if code in _GENTLE else Phase.CLOSED

    def take_parts(self) -> list[Part]:
        """As take(), where there are files."""
        self._announce_detached()
        parts: list[Part] = []
        run: list[bytes] = []
        for frame in self._out:
            run.append(frame)
            if isinstance(frame, FileFrame):
                parts.append((b"".join(run), frame.file))
                run = []
        if run:
            parts.append((b"".join(run), None))
        self._out.clear()
        self.files = 0
        return parts

    def drop_files(self) -> None:
        """The link is lost."""
        if self.files:
            close_all(self.take_parts())

    def take(self) -> bytes:
        """The bytes to write, in order. They will not be given again.

        An answer whose handler has not returned by now is announced as DETACHED: its client gets it at once,
        its place stays taken until settle(). REQUIRES: files is 0.
        """
        out = self._out
        if self._held:
            self._announce_detached()
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def _announce_detached(self) -> None:
        for stream, frame in self._held:
            if not stream.settled:
                stream.detached = True
                self._out.append(frames.encode_frame(frames.DETACHED, stream.id))
            self._out.append(frame)
        self._held.clear()

    def _return_window(self, size: int) -> None:
        self._unreturned += size
        if self._unreturned >= _HALF_WINDOW:
            self._out.append(frames.encode_frame(frames.WINDOW, aux=self._unreturned))
            self._unreturned = 0

    def _ended(self, stream: Stream) -> None:
        stream.ended = True
        if stream.peer_ended:
            del self.streams[stream.id]
        if stream.unreturned:
            self._return_window(stream.unreturned)
            stream.unreturned = 0

    def __repr__(self) -> str:
        return f"<LaneProtocol {self.phase.name} open={len(self.streams)}>"


_GENTLE: Final = frozenset({frames.GOAWAY_DRAINING, frames.GOAWAY_SUPERSEDED, frames.GOAWAY_RECYCLE})
_IN_GREETING: Final = frozenset({frames.HELLO_ACK, frames.GOAWAY})
_HANDLERS: Final[dict[int, Callable[[LaneProtocol, list[Event], int, int, int, bytes], None]]] = {
    frames.REQUEST: LaneProtocol._on_request,
    frames.UPGRADE: LaneProtocol._on_upgrade,
    frames.WS_MESSAGE: LaneProtocol._on_message,
    frames.WS_CLOSE: LaneProtocol._on_close,
    frames.HELLO_ACK: LaneProtocol._on_ack,
    frames.REQUEST_DATA: LaneProtocol._on_data,
    frames.END: LaneProtocol._on_end,
    frames.CANCEL: LaneProtocol._on_cancel,
    frames.WINDOW: LaneProtocol._on_window,
    frames.GOAWAY: LaneProtocol._on_goaway,
    frames.PING: LaneProtocol._on_ping,
    frames.PONG: LaneProtocol._on_pong,
}
