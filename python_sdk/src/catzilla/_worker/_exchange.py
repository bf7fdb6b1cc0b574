"""One request and the genuine ASGI app that answers it.

waiting --first step--> running --last body--> answered --the app returns--> settled
   |                       |  \\--client gone: receive() says http.disconnect, send() is dropped
   \\--client gone: dropped \\--the app raises: END(failed), which is 500 if nothing was sent
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from io import FileIO
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from catzilla._text import describe, log_exception, one_line
from catzilla._worker import _frames as frames
from catzilla._worker._files import PIECE_BYTES, open_file
from catzilla._worker._protocol import LaneProtocol, Stream

if TYPE_CHECKING:
    from catzilla._worker._socket import Socket

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

log = logging.getLogger("catzilla.error")

# As uvicorn says it: from 2.4 on Starlette drops its disconnect watcher.
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
# An endless generator that never waits is cancelled after so many pieces; it kept the loop for ever. One that waits is
# cancelled where it does, as under uvicorn.
_DROPPED_IN_A_ROW: Final = 64
_NO_BODY: Final = frozenset({204, 304})
_DISCONNECT: Final = "http.disconnect"
_INLINE: Final = frames.BODY_INLINE
_LOWER: Final = frames.LOWER


class Host(Protocol):
    """What an exchange knows of its worker."""

    state: dict[str, Any]  # The lifespan's: each request gets a copy.
    vary: dict[int, bytes]  # By route.
    extensions: dict[str, dict[str, Any]]  # What apps are offered.

    def failed(self, what: str, error: BaseException) -> None: ...


class Carrier(Protocol):
    """What an exchange knows of the lane by which its request has come and its answer leaves."""

    protocol: LaneProtocol
    blocked: list[Exchange | Socket]  # Wait in send() for a window.

    @property
    def worker(self) -> Host: ...
    def schedule(self) -> None: ...
    def head_waits(self, exchange: Exchange) -> None: ...
    def settled(self, exchange: Exchange | Socket, code: int, sentence: str) -> None: ...


class Exchange:
    """Scope, receive and send of one request, on one Task of its own."""

    task: asyncio.Task[None] | None = None  # Once it has begun.
    begun = False
    request: Any = None  # The Starlette Request of an endpoint in the fast lane, if it took one.
    # The answer.
    lane_kind = frames.LANE_SLOW
    status = 0
    fields: Any = ()
    head_sent = False
    answered = False
    body_ended = False  # Only trailers may come.
    trailers: list[tuple[bytes, bytes]] | None = None  # Announced: the answer ends with them.
    # The client.
    waiter: asyncio.Event | None = None  # Someone waits in receive() or send().
    dropped = 0  # Messages of an app whose client has gone.

    def __init__(self, lane: Carrier, stream: Stream) -> None:
        request = stream.request
        flags = request.flags
        stream.exchange = self
        self.lane = lane
        self.stream = stream
        self.started_ns = perf_counter_ns()
        self.fallback = stream.fallback
        self.silent = bool(flags & frames.REQUEST_HEAD)
        # The request's body. None: the app has got all of it.
        self.chunks: deque[bytes] | None = deque((request.body,)) if request.body_mode == _INLINE else deque()
        self.body_open = not stream.peer_ended
        self.needs_continue = self.body_open and bool(flags & frames.REQUEST_EXPECT_CONTINUE)
        self.disconnected = stream.cancelled  # The fast lane makes one when it is needed, and that may be late.
        self.scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            **request.scope(),
            "extensions": lane.worker.extensions.copy(),  # Its own: apps may add to it.
            "state": lane.worker.state.copy(),
        }

    async def run(self, app: ASGIApp) -> None:
        self.begun = True
        self.task = asyncio.current_task()
        sentence, failure = "", None
        try:
            await app(self.scope, self.receive, self.send)
            if not self.answered:
                sentence = "the app returned without completing its response"
        except asyncio.CancelledError:
            sentence = "the handler was cancelled"
        except BaseException as error:
            failure = error
            sentence = describe(error)
        # Settled first: whatever telling of it does, the client has its answer and the place is free.
        self.lane.settled(self, frames.END_FAILED, sentence)
        if failure is not None:
            self.lane.worker.failed(self._name(), failure)
            # The words of uvicorn's message, which people search their logs for.
            log_exception(log, "Exception in ASGI application\n", failure)
        elif not self.answered and not self.disconnected and sentence:
            log.error("%s: %s", sentence, self._name())

    def _name(self) -> str:
        """As the client asked for it; the scope is the app's, who may have put anything there."""
        return one_line(f"{self.stream.request.method} {self.stream.request.path}")

    # What the app asks...

    async def receive(self) -> Message:
        while True:
            if self.disconnected or self.answered:
                return {"type": _DISCONNECT}
            chunks = self.chunks
            if chunks is not None:
                if chunks:
                    return self._next_chunk(chunks)
                if not self.body_open:
                    self.chunks = None
                    if self.stream.request.flags & frames.REQUEST_OVER_LIMIT:
                        self.disconnected = True  # The announced body is too large and never comes.
                        continue
                    return {"type": "http.request", "body": b"", "more_body": False}
                if self.needs_continue:
                    self.needs_continue = False
                    self.lane.protocol.open_window(self.stream)
                    self.lane.schedule()
            await self._wait()

    def _next_chunk(self, chunks: deque[bytes]) -> Message:
        body = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self.body_open or self.stream.request.body_mode == frames.BODY_STREAMING:
            self.lane.protocol.consumed(self.stream, len(body))
            self.lane.schedule()
        if not self.body_open:
            self.chunks = None
        return {"type": "http.request", "body": body, "more_body": self.body_open}

    async def send(self, message: Message) -> None:
        if self.disconnected:
            self.dropped += 1
            if not self.dropped % _DROPPED_IN_A_ROW:
                await asyncio.sleep(0)
            return
        kind = message["type"]
        if kind == "http.response.start":
            if self.status:
                raise RuntimeError("a second 'http.response.start'")
            self.status = message["status"]
            self.fields = message.get("headers", ())
            if message.get("trailers"):
                self.trailers = []
            self.lane.head_waits(self)
        elif kind == "http.response.body":
            self._check_begun(kind)
            body = message.get("body", b"")
            if self.silent or self.status in _NO_BODY:
                body = b""
            last = not message.get("more_body", False)
            if last and self.trailers is not None:
                await self._stream(body if isinstance(body, bytes) else bytes(body), False)
                self.body_ended = True
            elif last and not self.head_sent and len(body) <= self.lane.protocol.data_bytes_max:
                self._head(body, end=True)
                self.was_answered()
            else:
                await self._stream(body if isinstance(body, bytes) else bytes(body), last)
        elif kind == "http.response.pathsend":
            await self._send_file(message["path"])
        elif kind == "http.response.trailers":
            self._send_trailers(message)
        elif kind == "http.response.debug":
            log.debug("%s: %s", self._name(), message.get("info"))
        elif kind == "http.response.early_hint":
            if not self.head_sent:
                links = [(b"link", link) for link in message.get("links", ())]
                self.lane.protocol.informational(self.stream, 103, links)
                self.lane.schedule()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def _head(self, body: bytes, *, end: bool) -> None:
        fields = [(_LOWER.get(name) or frames.lower(name), value) for name, value in self.fields]
        vary = self.lane.worker.vary.get(self.stream.request.route_id)
        if vary is not None:
            fields.append((b"vary", vary))
        us = (perf_counter_ns() - self.started_ns) // 1000
        self.lane.protocol.respond(
            self.stream,
            self.status,
            fields,
            body,
            end=end,
            us=min(us, 0xFFFFFFFF),
            lane=self.lane_kind,
            fallback=self.fallback,
        )
        self.head_sent = True
        self.lane.schedule()

    async def _stream(self, body: bytes, last: bool) -> None:
        """A body in pieces. Waits while the client is slower than the app, and no longer than it is there."""
        protocol = self.lane.protocol
        if not self.head_sent:
            first = body[: protocol.data_bytes_max]
            self._head(first, end=False)
            rest = memoryview(body)[len(first) :]
        else:
            rest = memoryview(body)
        while True:
            sent = protocol.data(self.stream, rest, end=last) if rest or last else 0
            self.lane.schedule()
            if sent == len(rest):
                break
            rest = rest[sent:]
            self.lane.blocked.append(self)
            await self._wait()
            if self.disconnected or self.stream.ended:
                return
        if last:
            self.was_answered()

    def _check_begun(self, kind: str) -> None:
        if not self.status or self.answered or self.body_ended:
            when = "before 'http.response.start'" if not self.status else "after the response was complete"
            raise RuntimeError(f"{kind!r} {when}")

    async def _send_file(self, path: str) -> None:
        self._check_begun("http.response.pathsend")
        if self.trailers is not None:
            raise RuntimeError("'http.response.pathsend' of an answer with trailers")
        if self.silent or self.status in _NO_BODY:
            await self._end(b"")
            return
        from anyio import to_thread  # Few apps send files, and not all have it loaded.

        protocol = self.lane.protocol
        file, size, body = await to_thread.run_sync(open_file, path, protocol.data_bytes_max)
        if self.answered or self.body_ended:
            if file is not None:
                file.close()
            raise RuntimeError("the response was completed while its file was opened")
        if file is None:
            await self._end(body)
        elif not protocol.takes_files or self.stream.request.flags & frames.REQUEST_BYTES_ONLY:
            await self._send_pieces(file, size)
        elif self.disconnected:
            file.close()
        else:
            if not self.head_sent:
                self._head(b"", end=False)
            protocol.sendfile(self.stream, file, size)
            self.lane.schedule()
            self.was_answered()

    async def _send_pieces(self, file: FileIO, size: int) -> None:
        """The sidecar wants bytes: it keeps the answer, or is older than files."""
        from anyio import to_thread

        while size > 0 and not self.disconnected:
            piece = await to_thread.run_sync(file.read, min(size, PIECE_BYTES))
            if not piece:  # It has become shorter; the sidecar sees that the promise is not kept.
                break
            size -= len(piece)
            await self._stream(piece, False)
        file.close()  # Not where this is cancelled: a thread may be reading.
        if not self.disconnected:
            await self._stream(b"", True)

    async def _end(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body})

    def _send_trailers(self, message: Message) -> None:
        if self.trailers is None or not self.body_ended or self.answered:
            raise RuntimeError("'http.response.trailers' that were not announced, or before the end of the body")
        self.trailers += [(_LOWER.get(name) or frames.lower(name), value) for name, value in message.get("headers", ())]
        if not message.get("more_trailers", False):
            self.lane.protocol.trailers(self.stream, self.trailers)
            self.lane.schedule()
            self.was_answered()

    def send_head(self) -> None:
        """The app has said how its answer begins and takes its time with the body: the client learns it now.

        Nothing is raised here, for nobody would catch it: a head that cannot be sent fails with its body.
        """
        if self.head_sent or self.answered or self.disconnected or self.stream.ended:
            return
        with contextlib.suppress(Exception):
            self._head(b"", end=False)

    def was_answered(self) -> None:
        self.answered = True
        self.wake()

    async def _wait(self) -> None:
        if self.waiter is None:
            self.waiter = asyncio.Event()
        await self.waiter.wait()

    # What the link says...

    def wake(self) -> None:
        if self.waiter is not None:
            self.waiter.set()
            self.waiter = None

    def on_body(self, data: bytes) -> None:
        if self.chunks is not None:
            self.chunks.append(data)
        self.wake()

    def unread(self) -> int:
        """Bytes of windows that the app has left unread. Inline bodies took none."""
        if self.chunks and self.stream.request.body_mode == frames.BODY_STREAMING:
            return sum(map(len, self.chunks))
        return 0

    def on_body_end(self) -> None:
        self.body_open = False
        self.wake()

    def on_cancelled(self) -> None:
        """The client has gone. A handler that runs is not cancelled, unless its route opted in."""
        self.disconnected = True
        if not self.begun:  # And never will be.
            self.lane.settled(self, frames.END_CANCELLED, "")
        elif self.task is not None and self.stream.request.flags & frames.REQUEST_CANCEL_ON_DISCONNECT:
            self.task.cancel()
        self.wake()

    def __repr__(self) -> str:
        phase = "waiting" if not self.begun else "answered" if self.answered else "running"
        return f"<Exchange {phase} {self.stream!r}>"
