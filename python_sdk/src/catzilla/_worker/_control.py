"""The control connection of a worker process, on a thread of its own: it answers while the loop is busy.

Knows no asyncio and no app: what matters to the worker is handed over as a call.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from catzilla._exceptions import LinkError
from catzilla._text import utf8
from catzilla._worker import _frames as frames
from catzilla._worker._inherit import forget, keep_from_children

_TICK: Final = 1.0
_HELLO_TIMEOUT: Final = 10.0
_LINES_MAX: Final = 20


class ControlEvents(Protocol):
    """What the control connection tells. Called on its thread."""

    def control_goaway(self, code: int, sentence: str) -> None: ...
    def control_cancel(self, lane_id: int, stream_id: int) -> None: ...
    def control_lost(self, reason: str) -> None: ...
    def control_tick(self) -> frames.Stats: ...
    def control_dump(self) -> str: ...


class ControlConnection:
    """connect() says HELLO and waits for its answer; start() then serves until close() or loss."""

    def __init__(self, path: str, hello: Callable[[], frames.Hello], events: ControlEvents) -> None:
        self._path = path
        self._hello = hello
        self._events = events
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._socket, self._wake_in, self._wake_out):
            keep_from_children(end.fileno())
        self._reader = frames.FrameReader()
        self._lock = threading.Lock()  # Guards sending, and _closed.
        self._closed = False
        self._next_tick = 0.0
        self._lines: list[bytes] = []
        self._thread: threading.Thread | None = None

    def connect(self) -> frames.HelloAck:
        """Blocks, for ten seconds at most. Raises LinkError with what the sidecar said."""
        self._socket.settimeout(_HELLO_TIMEOUT)
        try:
            self._socket.connect(self._path)
            hello = self._hello()
            self._socket.sendall(frames.encode_frame(frames.HELLO, payload=hello.encode()))
            while True:
                data = self._socket.recv(65536)
                if not data:
                    raise LinkError("the sidecar has closed the connection without a word")
                for kind, _, _, aux, payload in self._reader.feed(data):
                    if kind == frames.GOAWAY:
                        raise LinkError(payload.decode("utf-8", "replace") or f"refused with code {aux}", aux)
                    if kind != frames.HELLO_ACK:
                        raise LinkError(f"the sidecar sent type 0x{kind:02x} before HELLO_ACK", frames.GOAWAY_PROTOCOL)
                    ack = frames.HelloAck.decode(payload)
                    self._reader.limits.data_bytes_max = ack.data_bytes_max
                    return ack
        except (OSError, frames.FrameError) as error:
            self.close()
            raise LinkError(f"{self._path}: {error}") from None
        except LinkError:
            self.close()
            raise

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="catzilla-control", daemon=True)
        self._thread.start()

    def log(self, level: int, text: str) -> None:
        """A line for the sidecar's log, with the next tick. Never blocks: beyond _LINES_MAX per tick it is dropped."""
        if len(self._lines) < _LINES_MAX:
            data = utf8(text, frames.CONTROL_BYTES_MAX)
            self._lines.append(frames.encode_frame(frames.LOG, payload=data, aux=level))

    def goaway(self, code: int, sentence: str = "") -> None:
        text = utf8(sentence, frames.SENTENCE_BYTES_MAX)
        self._send(frames.encode_frame(frames.GOAWAY, payload=text, aux=code))

    def close(self) -> None:
        """From any thread; idempotent. control_lost() is not called for it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError):
            self._wake_out.send(b"x")
        if self._thread is None:
            self._release()

    def _send(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if not self._closed:
                self._socket.sendall(data)

    def _run(self) -> None:
        reason = "the sidecar has closed the control connection"
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.register(self._wake_in, select.POLLIN)
            while not self._closed:
                ready = {fd for fd, _ in poll.poll(max(0.0, self._until_tick()) * 1000)}
                if self._wake_in.fileno() in ready:
                    break
                if ready:
                    data = self._socket.recv(65536)
                    if not data:
                        break
                    for frame in self._reader.feed(data):
                        self._on_frame(frame)
        except (OSError, frames.FrameError) as error:
            reason = str(error)
        lost = not self._closed
        self._closed = True
        self._release()
        if lost:
            self._events.control_lost(reason)

    def _until_tick(self) -> float:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK
            lines, self._lines = self._lines, []
            self._send(b"".join(lines))
            self._send(frames.encode_frame(frames.STATS, payload=self._events.control_tick().encode()))
        return self._next_tick - now

    def _on_frame(self, frame: frames.Frame) -> None:
        frames.check_frame(frame)
        kind, _, stream_id, aux, payload = frame
        if kind == frames.PING:
            self._send(frames.encode_frame(frames.PONG, payload=payload))
        elif kind == frames.GOAWAY:
            self._events.control_goaway(aux, payload.decode("utf-8", "replace"))
        elif kind == frames.CANCEL and len(payload) == 4:
            self._events.control_cancel(int.from_bytes(payload, "little"), stream_id)
        elif kind == frames.DUMP:
            stacks = utf8(self._events.control_dump(), self._reader.limits.data_bytes_max)
            self._send(frames.encode_frame(frames.DUMP, payload=stacks, aux=aux))
        elif kind not in (frames.PONG, frames.CANCEL):
            raise frames.FrameError(f"type 0x{kind:02x} on a control connection")

    def _release(self) -> None:
        for end in (self._socket, self._wake_in, self._wake_out):
            forget(end.fileno())
            end.close()
