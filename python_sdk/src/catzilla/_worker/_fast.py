"""The fast lane: how a compiled route's answer gets onto the link, and how what is not simple goes on genuinely.

Two of them, with the same methods for the emitted code (catzilla._compile._emit): LoopOut for routes that run as
Tasks on the event loop, ThreadOut for those that are synchronous all the way and run on threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import copy_context
from time import perf_counter_ns
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from catzilla._compile._compiled import CompiledApp, Resumption, exit_in_thread, shielded
from catzilla._compile._emit import Compiled
from catzilla._worker import _frames as frames
from catzilla._worker._exchange import Carrier, Exchange
from catzilla._worker._protocol import LaneProtocol, Stream
from catzilla._worker._threads import Threads

_US_MAX: Final = 0xFFFFFFFF
_LANE_FAST: Final = frames.LANE_FAST
_encode_head = frames.encode_head


class FastStream(Protocol):
    """A Stream that the fast lane has begun: Stream's own, with these."""

    began_ns: int
    compiled: Compiled
    task: asyncio.Task[None]  # The loop itself holds Tasks weakly.


class FastCarrier(Carrier, Protocol):
    """What the fast lane knows of the lane whose requests it answers."""

    protocol: LaneProtocol

    def fast_settled(self, stream: Any, *, moved: bool = False) -> None: ...
    def take(self, stream: Any, what: Any, settled: bool) -> None: ...
    def answered(self, stream: Any, frame: bytes, settled: bool) -> None: ...
    def adopt(self, exchange: Exchange) -> None: ...


class _Out:
    """What both have."""

    def __init__(self, lane: FastCarrier, home: CompiledApp, threads: Threads) -> None:
        self.lane = lane
        self.threads = threads
        self._answered = lane.answered
        self.home = home
        # The most that a head and a body in one frame take.
        self.most = min(lane.protocol.data_bytes_max, lane.protocol.head_bytes_max) - 64

    def request(self, stream: Any, route: int) -> Request:
        """For endpoints and dependencies that take one: a genuine one, with all that FastAPI would have set."""
        exchange = Exchange(self.lane, stream)
        exchange.begun = True
        self.home.enter(exchange.scope, stream.compiled)
        exchange.request = request = Request(exchange.scope, exchange.receive, exchange.send)
        if stream.compiled.plan.context.body_field is not None:  # FastAPI has read it by now.
            request._body = stream.request.body
            exchange.chunks = None
        return request


def _encode(stream: Any, status: int, count: int, head: bytes, content: bytes) -> bytes:
    us = (perf_counter_ns() - stream.began_ns) // 1000
    return _encode_head(stream.id, status, count, head, content, us if us < _US_MAX else _US_MAX, _LANE_FAST)


class LoopOut(_Out):
    """Answers of routes that run on the event loop. Threads: the loop's."""

    def answer(
        self, stream: Stream, status: int, count: int, head: bytes, content: bytes, *, settled: bool = True
    ) -> None:
        self._answered(stream, _encode(stream, status, count, head, content), settled)

    async def leave(self, stream: Stream, route: int, outer: list[Any]) -> None:
        """Teardown behind the answer."""
        try:
            while outer:
                await self.exit(outer.pop())
        except BaseException as error:
            await self.resume(stream, route, error, None, (), outer, answered=True)
            return
        self.lane.protocol.settle(stream)
        self.lane.schedule()
        self.lane.fast_settled(stream)

    def hop(self, function: Callable[[], Any]) -> Awaitable[Any]:
        """Runs it on a thread."""
        return shielded(self.threads.call(function))

    async def exit(self, manager: Any) -> None:
        if hasattr(manager, "__aexit__"):
            await manager.__aexit__(None, None, None)
        else:
            await exit_in_thread(manager)(None, None, None)

    async def resume(
        self,
        stream: Any,
        route: int,
        error: BaseException | None,
        response: Response | None,
        inner: Sequence[Any],
        outer: Sequence[Any],
        *,
        answered: bool = False,
    ) -> None:
        """Goes on inside the genuine stack. Never raises."""
        exchange: Exchange = stream.exchange or Exchange(self.lane, stream)
        exchange.begun = True
        exchange.fallback = frames.FALLBACK_EXCEPTION if error is not None else frames.FALLBACK_NONE
        exchange.answered = answered
        exchange.disconnected |= answered  # Who has gone stays gone.
        self.lane.adopt(exchange)
        self.lane.fast_settled(stream, moved=True)
        resumption = Resumption(
            self.home, stream.compiled, error, response, inner, outer, exchange.request, stream.request.body, answered
        )
        self.home.stack.lead(exchange.scope, resumption)
        await exchange.run(self.home.app)


class ThreadOut(_Out):
    """Answers of routes that run on threads: collected, and taken by the loop. Threads: any."""

    def __init__(self, lane: FastCarrier, home: CompiledApp, threads: Threads, resuming: LoopOut) -> None:
        super().__init__(lane, home, threads)
        self._take = lane.take
        self._collected = threads.collected
        self._resuming = resuming

    def answer(
        self, stream: Stream, status: int, count: int, head: bytes, content: bytes, *, settled: bool = True
    ) -> None:
        self._collected.append((self._answered, stream, _encode(stream, status, count, head, content), settled))

    def leave(self, stream: Stream, route: int, outer: list[Any]) -> None:
        self.threads.tell()
        try:
            while outer:
                self.exit(outer.pop())
        except BaseException as error:
            self.resume(stream, route, error, None, (), outer, answered=True)
            return
        self._collected.append((self._take, stream, None, True))

    def resume(
        self,
        stream: Any,
        route: int,
        error: BaseException | None,
        response: Response | None,
        inner: Sequence[Any],
        outer: Sequence[Any],
        *,
        answered: bool = False,
    ) -> None:
        going_on = self._resuming.resume(stream, route, error, response, inner, outer, answered=answered)
        self._collected.append((self._take, stream, going_on, False))

    @staticmethod
    def exit(manager: Any) -> None:
        copy_context().run(manager.__exit__, None, None, None)

    @staticmethod
    def immediately(coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of one that never waits."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        coroutine.close()
        raise RuntimeError(f"{coroutine!r} waited")

    def drop(self, stream: Stream) -> None:
        """Its client has gone before it was begun."""
        self._collected.append((self._take, stream, None, True))
