"""The stack lane: a compiled route inside the app's genuine middleware, in the place of what stands behind it.

    the user's middleware --first junction--> untouched? --> run() --> `send`
                                              touched --> the genuine rest of the stack

A middleware may change what is asked (the path, fields, the body): then the values that were read from the frame
are not those of the request any more, and the app's own router and handler take it, before any code of the
endpoint's has run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catzilla._compile import _outputs as outputs
from catzilla._compile._compiled import CompiledApp, Resumption, exit_in_thread, shielded
from catzilla._compile._emit import Compiled
from catzilla._worker import _frames as frames
from catzilla._worker._exchange import Exchange

_asked: Final = itemgetter(
    "method", "path", "raw_path", "root_path", "query_string", "http_version", "scheme", "client", "server"
)


class StackRequest:
    """One request of the stack lane: the ASGI app that it begins in, its end, and what run() answers to.

    As catzilla._worker._fast.LoopOut, but what is said takes effect behind run(), outside of its own handlers.
    """

    __slots__ = (
        "_answer",
        "_asgi",
        "_asked",
        "_compiled",
        "_exchange",
        "_fields",
        "_home",
        "_request",
        "_resumption",
        "_values",
        "_vary",
    )  # fmt: skip
    most = 1 << 62

    def __init__(self, home: CompiledApp, compiled: Compiled, values: tuple[Any, ...], exchange: Exchange) -> None:
        self._home = home
        self._compiled = compiled
        self._values = values
        self._exchange = exchange
        scope = exchange.scope
        self._asked = _asked(scope)
        self._fields = scope["headers"].copy()
        self._vary = exchange.lane.worker.vary.get(compiled.plan.route_id, b"")
        self._request: Request | None = None
        self._answer: tuple[int, bytes, bytes] | None = None
        self._resumption: Resumption | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._home.stack.run(scope, receive, send, self._end, self._has_begun)

    def _has_begun(self) -> bool:
        return self._exchange.status != 0

    async def _end(self, scope: Scope, receive: Receive, send: Send, genuine: ASGIApp) -> None:
        home, compiled, exchange = self._home, self._compiled, self._exchange
        if not self._is_untouched(scope):
            await genuine(scope, receive, send)
            return
        if compiled.plan.context.body_field is not None and receive != exchange.receive:
            body = await _read(scope, receive)
            if body != exchange.stream.request.body:
                await genuine(scope, receive if body is None else _replay(body, receive), send)
                return
        home.enter(scope, compiled)
        exchange.lane_kind = frames.LANE_STACK
        self._asgi = scope, receive, send
        await compiled.run(self, exchange.stream, *self._values)
        if self._resumption is not None:
            home.stack.lead(scope, self._resumption)
            await genuine(scope, receive, send)
            return
        assert self._answer is not None
        status, head, content = self._answer
        await send({"type": "http.response.start", "status": status, "headers": outputs.fields_of(head, self._vary)})
        await send({"type": "http.response.body", "body": content})

    def _is_untouched(self, scope: Scope) -> bool:
        try:
            same = _asked(scope) == self._asked and scope["headers"] == self._fields
        except KeyError:
            return False
        return same and not self._compiled.overridden

    # From run()...

    def request(self, stream: Any, route: int) -> Request:
        self._request = request = Request(*self._asgi)
        if self._compiled.plan.context.body_field is not None:
            request._body = stream.request.body
        return request

    def hop(self, function: Callable[[], Any]) -> Awaitable[Any]:
        return shielded(self._home.hop(function))

    async def exit(self, manager: Any) -> None:
        if hasattr(manager, "__aexit__"):
            await manager.__aexit__(None, None, None)
        else:
            await exit_in_thread(manager)(None, None, None)

    def answer(
        self, stream: Any, status: int, count: int, head: bytes, content: bytes, *, settled: bool = True
    ) -> None:
        self._answer = status, head, content

    async def leave(self, stream: Any, route: int, outer: list[Any]) -> None:
        assert self._answer is not None
        await self.resume(stream, route, None, outputs.large(*self._answer, self._vary), (), outer)

    async def resume(
        self,
        stream: Any,
        route: int,
        error: BaseException | None,
        response: Response | None,
        inner: Sequence[Any],
        outer: Sequence[Any],
    ) -> None:
        self._resumption = Resumption(
            self._home, self._compiled, error, response, inner, outer, self._request, stream.request.body, False
        )


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """None: it did not come whole."""
    try:
        return await Request(scope, receive).body()
    except ClientDisconnect:
        return None


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
