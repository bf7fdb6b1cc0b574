"""One lane as an asyncio protocol: bytes to events to Tasks, and all answers of a loop turn in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from catzilla._exceptions import LinkError
from catzilla._worker import _frames as frames
from catzilla._worker._exchange import ASGIApp, Exchange, Host
from catzilla._worker._files import FrameWriter
from catzilla._worker._frames import FrameError
from catzilla._worker._inherit import forget, keep_from_children
from catzilla._worker._protocol import LaneProtocol, Phase, Stream
from catzilla._worker._socket import Socket
from catzilla._worker._tasks import EAGER, Pace, Tasks

if TYPE_CHECKING:  # Only apps of FastAPI have compiled routes: others do not import it.
    from catzilla._compile._compiled import CompiledApp
    from catzilla._worker._fast import LoopOut, ThreadOut
    from catzilla._worker._threads import Threads

_NONE: Final[dict[int, Any]] = {}


class LaneHost(Host, Protocol):
    """What a lane knows of its worker, and tells it."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    compiled: CompiledApp | None
    threads: Threads | None

    def begun(self) -> None: ...
    def settled(self) -> None: ...
    def on_goaway(self, code: int, lane: Lane | None) -> None: ...
    def lane_lost(self, lane: Lane, error: LinkError) -> None: ...


class Lane(asyncio.Protocol):
    """Owns its connection. The worker owns the lane and hears of its end by lane_lost()."""

    def __init__(self, worker: LaneHost, hello: frames.Hello) -> None:
        self.worker = worker
        self.protocol = LaneProtocol(hello)
        self.attached: asyncio.Future[frames.HelloAck] = worker.loop.create_future()
        self.drained = False  # Closed because nothing was left to do.
        self._loop = worker.loop
        self._transport: asyncio.Transport | None = None
        self._scheduled = False
        self._fd = -1
        self.blocked: list[Exchange | Socket] = []  # Wait in send() for a window.
        self._exchanges: set[Exchange | Socket] = set()  # Until their handlers have returned.
        self._heads: list[Exchange] = []  # Have said how their answer begins in this turn...
        self._late_heads: list[Exchange] = []  # ...and in the one before.
        self._fast: set[Any] = set()  # Streams that the fast lane is at.
        self._tasks = Tasks(worker.loop, self._drop)
        self._paces: dict[int, Pace] = {}  # By route, of those that go through the genuine app.
        self._writer: FrameWriter | None = None  # Of frames that carry descriptors.
        self._loop_out: LoopOut | None = None
        self._thread_out: ThreadOut | None = None

    # From the loop...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._fd = transport.get_extra_info("socket").fileno()
        keep_from_children(self._fd)
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self.protocol.feed(data)
        except LinkError as error:
            self.flush()
            self._fail(error)
            return
        compiled = self.worker.compiled
        routes = compiled.routes if compiled is not None else _NONE
        for kind, stream, value in events:
            if kind == "opened":
                if routes and not cast(Stream, stream).upgrade and self._begin_fast(cast(Any, stream), routes):
                    continue
                if not self._begin(cast(Stream, stream)):
                    return
            elif kind == "message":
                if (exchange := cast(Stream, stream).exchange) is not None:
                    exchange.on_message(*value)
            elif kind == "room":
                self._wake_blocked()
            elif stream is not None:
                exchange = stream.exchange
                if kind == "cancelled":
                    self._tasks.cancelled(cast(Any, stream))
                if exchange is None:
                    continue
                if kind == "body":
                    exchange.on_body(value)
                elif kind == "closed":
                    exchange.on_closed(*value)
                elif kind == "body_end":
                    exchange.on_body_end()
                else:
                    exchange.on_cancelled()
            elif kind == "attached":
                self.attached.set_result(value)
            else:
                self.worker.on_goaway(value, self)
        self._tasks.wake()
        if self.worker.threads is not None:
            self.worker.threads.wake()
        # Behind the first steps of the Tasks just made: their answers leave in this turn.
        self.schedule()

    def connection_lost(self, error: Exception | None) -> None:
        forget(self._fd)
        self._fail(LinkError(str(error) if error else "the sidecar has closed the connection"))

    # From exchanges...

    def schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def head_waits(self, exchange: Exchange) -> None:
        """An answer has begun. Most complete in this turn or the next; the head of the others leaves without them."""
        self._heads.append(exchange)
        self.schedule()

    def flush(self) -> None:
        self._scheduled = False
        if self._heads or self._late_heads:
            self._send_heads()
        self._write()
        if (
            self.protocol.phase is Phase.DRAINING
            and not self._holds_back()
            and not (self._exchanges or self._fast or self.protocol.streams)
        ):
            self.drained = True
            self.close()

    def _write(self) -> None:
        if self.protocol.files or self._holds_back():
            self._write_files()
        else:
            data = self.protocol.take()
            if data and self._transport is not None:
                self._transport.write(data)

    def _write_files(self) -> None:
        if self._transport is None:
            self.protocol.drop_files()
            return
        if self._writer is None:
            try:
                self._writer = FrameWriter(self._loop, self._transport, self.schedule)
            except OSError:  # No descriptor to spare: what is said would come without its files.
                self.protocol.drop_files()
                self._transport.abort()
                return
        self._writer.write(self.protocol.take_parts())

    def _holds_back(self) -> bool:
        """A descriptor could not be passed yet: all that comes goes behind it."""
        return self._writer is not None and self._writer.busy

    def _send_heads(self) -> None:
        for exchange in self._late_heads:
            exchange.send_head()
        self._late_heads = [exchange for exchange in self._heads if not exchange.head_sent]
        self._heads.clear()
        if self._late_heads:
            self.schedule()

    def settled(self, exchange: Exchange | Socket, code: int, sentence: str) -> None:
        """The app has returned."""
        if exchange in self._exchanges:
            self._exchanges.discard(exchange)
            stream = exchange.stream
            # What the app has left unread took its window, whether or not it has answered.
            if unread := exchange.unread():
                self.protocol.consumed(stream, unread)
            stream.exchange = None
            self.protocol.settle(stream, code, sentence)
            self.schedule()
            self.worker.settled()

    # From the worker...

    def goaway(self, code: int, sentence: str) -> None:
        """Takes nothing new; closes when what runs has returned."""
        if self.protocol.phase in (Phase.SERVING, Phase.GREETING):
            self.protocol.goaway(code, sentence)
            self.schedule()

    def cancel(self, stream_id: int) -> None:
        """CANCEL by way of the control connection."""
        stream = self.protocol.streams.get(stream_id)
        if stream is not None and stream.exchange is not None:
            self._tasks.cancelled(stream)
            stream.exchange.on_cancelled()

    def close(self) -> None:
        """What has been said in this turn still leaves."""
        if self._transport is not None:
            self._write()
            self._transport.close()

    @property
    def detached(self) -> int:
        return sum(1 for exchange in tuple(self._exchanges) if exchange.stream.detached)  # Any thread asks.

    def _begin(self, stream: Stream, way: Callable[[Exchange], ASGIApp] | None = None) -> bool:
        """By the genuine app, or the `way` to it. False: the frame was none, and the lane is lost."""
        try:
            if stream.upgrade:
                return self._run(Socket(self, stream), self.worker.app)
            exchange = Exchange(self, stream)
        except FrameError as error:
            failure = self.protocol.broken(error)
            self.flush()
            self._fail(failure)
            return False
        return self._run(exchange, self.worker.app if way is None else way(exchange))

    def _run(self, exchange: Exchange | Socket, app: ASGIApp) -> bool:
        self._exchanges.add(exchange)
        self.worker.begun()
        route = exchange.stream.request.route_id
        pace = self._paces.get(route)
        if pace is None:
            pace = self._paces[route] = Pace()
        self._tasks.submit(exchange.run(app), exchange.stream, pace)
        return True

    # The fast lane...

    def _begin_fast(self, stream: Any, routes: dict[int, Any]) -> bool:
        """False: this request is for the genuine app; nothing of the user's has run."""
        compiled = routes.get(int.from_bytes(stream.payload[:4], "little"))
        if compiled is None:
            return False
        try:
            values = compiled.prepare(stream.payload)
        except Exception:
            values = None
        if values is None:
            stream.fallback = frames.FALLBACK_OVERRIDES if compiled.overridden else frames.FALLBACK_INPUT
            return False
        if compiled.stack:
            return self._begin_stack(stream, compiled, values)
        stream.began_ns = perf_counter_ns()
        stream.compiled = compiled
        self._fast.add(stream)
        self.worker.begun()
        if compiled.threaded:
            assert self.worker.threads is not None
            self.worker.threads.submit(self._thread_out or self._outs()[1], stream, compiled.run, values)
        else:
            run = compiled.run(self._loop_out or self._outs()[0], stream, *values)
            self._tasks.submit(run, stream, compiled.pace)
        return True

    def _begin_stack(self, stream: Stream, compiled: Any, values: tuple[Any, ...]) -> bool:
        """Through the genuine middleware to the compiled endpoint."""
        from catzilla._compile._stack import StackRequest

        home = self.worker.compiled
        assert home is not None
        return self._begin(stream, partial(StackRequest, home, compiled, values))

    def _outs(self) -> tuple[LoopOut, ThreadOut]:
        from catzilla._worker._fast import LoopOut, ThreadOut

        compiled, threads = self.worker.compiled, self.worker.threads
        assert compiled is not None
        assert threads is not None
        self._loop_out = LoopOut(self, compiled, threads)
        self._thread_out = ThreadOut(self, compiled, threads, self._loop_out)
        return self._loop_out, self._thread_out

    def answered(self, stream: Any, frame: bytes, settled: bool) -> None:
        """All of an answer. `settled`: nothing comes behind it."""
        self.protocol.complete(stream, frame, settled)
        if stream.exchange is not None:
            stream.exchange.was_answered()
        if not self._scheduled:
            self.schedule()
        if settled:
            self._fast.discard(stream)
            self.worker.settled()

    def take(self, stream: Any, what: Any, settled: bool) -> None:
        """From a thread: a coroutine that goes on with the request, or None: it has returned."""
        if what is None:
            self.protocol.settle(stream)
        else:
            stream.task = asyncio.Task(what, loop=self._loop, **EAGER)
        self.schedule()
        if settled:
            self.fast_settled(stream)

    def _drop(self, stream: Any) -> None:
        """Its client had gone before it was begun."""
        if stream in self._fast:
            self.take(stream, None, True)

    def fast_settled(self, stream: Any, *, moved: bool = False) -> None:
        """A request has left the fast lane. `moved`: for the genuine stack, where it goes on."""
        self._fast.discard(stream)
        if not moved:
            self.worker.settled()

    def adopt(self, exchange: Exchange) -> None:
        """Goes on in the genuine stack."""
        self._exchanges.add(exchange)

    def _wake_blocked(self) -> None:
        """Any WINDOW may be the one that a writer waits for: its stream's, or the connection's."""
        blocked, self.blocked = self.blocked, []
        for exchange in blocked:
            exchange.wake()

    def _fail(self, error: LinkError) -> None:
        if self._transport is None:
            return
        self._transport.close()
        self._transport = None
        self.protocol.phase = Phase.CLOSED
        self.protocol.drop_files()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for stream in list(self._fast):  # What no thread has begun never will be.
            stream.cancelled = True
            self._tasks.cancelled(stream)
            if stream.exchange is not None:  # Its endpoint has the Request, and may wait for this.
                stream.exchange.on_cancelled()
        for exchange in list(self._exchanges):
            exchange.stream.cancelled = True
            self._tasks.cancelled(exchange.stream)
            exchange.on_cancelled()
        if not self.attached.done():
            self.attached.set_exception(error)
            self.attached.exception()  # Seen: whoever waits for it gets it anyway.
        self.worker.lane_lost(self, error)

    def __repr__(self) -> str:
        return f"<Lane {self.protocol!r} busy={len(self._exchanges) + len(self._fast)}>"
