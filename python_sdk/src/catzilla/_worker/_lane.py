"""One lane as an asyncio protocol: bytes to events to Tasks, and all answers of a loop turn in one write."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, Protocol, cast

from catzilla._exceptions import LinkError
from catzilla._worker import _frames as frames
from catzilla._worker._exchange import ASGIApp, Exchange, Host
from catzilla._worker._inherit import forget, keep_from_children
from catzilla._worker._protocol import LaneProtocol, Phase

# An eager first step saves a turn of the loop; 3.11 has none.
_EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class LaneHost(Host, Protocol):
    """What a lane knows of its worker, and tells it."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop

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
        self.blocked: list[Exchange] = []  # Wait in send() for a window.
        self._exchanges: set[Exchange] = set()  # Until their handlers have returned.
        self._heads: list[Exchange] = []  # Have said how their answer begins in this turn...
        self._late_heads: list[Exchange] = []  # ...and in the one before.

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
        for kind, stream, value in events:
            if kind == "opened":
                self._begin(Exchange(self, cast(Any, stream)))
            elif kind == "room":
                self._wake_blocked()
            elif stream is not None:
                exchange = stream.exchange
                if exchange is None:
                    continue
                if kind == "body":
                    exchange.on_body(value)
                elif kind == "body_end":
                    exchange.on_body_end()
                else:
                    exchange.on_cancelled()
            elif kind == "attached":
                self.attached.set_result(value)
            else:
                self.worker.on_goaway(value, self)
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
        data = self.protocol.take()
        if data and self._transport is not None:
            self._transport.write(data)
        if self.protocol.phase is Phase.DRAINING and not self._exchanges and not self.protocol.streams:
            self.drained = True
            self.close()

    def _send_heads(self) -> None:
        for exchange in self._late_heads:
            exchange.send_head()
        self._late_heads = [exchange for exchange in self._heads if not exchange.head_sent]
        self._heads.clear()
        if self._late_heads:
            self.schedule()

    def settled(self, exchange: Exchange, code: int, sentence: str) -> None:
        """The app has returned."""
        if exchange in self._exchanges:
            self._exchanges.discard(exchange)
            stream = exchange.stream
            if exchange.chunks and not stream.ended:
                self.protocol.consumed(stream, sum(map(len, exchange.chunks)))
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
            stream.exchange.on_cancelled()

    def close(self) -> None:
        """What has been said in this turn still leaves."""
        if self._transport is not None:
            if data := self.protocol.take():
                self._transport.write(data)
            self._transport.close()

    @property
    def detached(self) -> int:
        return sum(1 for exchange in tuple(self._exchanges) if exchange.stream.detached)  # Any thread asks.

    def _begin(self, exchange: Exchange) -> None:
        self._exchanges.add(exchange)
        self.worker.begun()
        exchange.task = asyncio.Task(exchange.run(self.worker.app), loop=self._loop, **_EAGER)

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
        for exchange in list(self._exchanges):
            exchange.on_cancelled()
        if not self.attached.done():
            self.attached.set_exception(error)
            self.attached.exception()  # Seen: whoever waits for it gets it anyway.
        self.worker.lane_lost(self, error)

    def __repr__(self) -> str:
        return f"<Lane {self.protocol!r} busy={len(self._exchanges)}>"
