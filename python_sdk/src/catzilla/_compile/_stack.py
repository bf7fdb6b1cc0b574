"""The stack lane: a compiled route inside the app's genuine middleware, in the place of the router.

    the app's stack --junction--> StackEnd: untouched? --> run() --> `send`
                                            touched --> the genuine router

A middleware may change what is asked (the path, fields, the body): then the values that were read from the frame
are not those of the request any more, and the app's own router and handler take it, before any code of the
endpoint's has run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from catzilla._compile import _outputs as outputs
from catzilla._compile._compiled import CompiledApp, Resumption, exit_in_thread, shielded
from catzilla._compile._emit import Compiled
from catzilla._worker import _frames as frames
from catzilla._worker._exchange import Exchange

_ASKED = ("method", "path", "raw_path", "root_path", "query_string", "http_version", "scheme", "client", "server")


class StackEnd:
    """How one request of the stack lane ends, once the middleware has let it through."""

    def __init__(self, home: CompiledApp, compiled: Compiled, values: tuple[Any, ...], exchange: Exchange) -> None:
        self._home = home
        self._compiled = compiled
        self._values = values
        self._exchange = exchange
        scope = exchange.scope
        self._asked = [scope[name] for name in _ASKED]
        self._fields = tuple(scope["headers"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        home, compiled, exchange = self._home, self._compiled, self._exchange
        if not self._is_untouched(scope):
            await home.app.router(scope, receive, send)
            return
        if compiled.plan.context.body_field is not None and receive != exchange.receive:
            body = await _read(scope, receive)
            if body != exchange.stream.request.body:
                await home.app.router(scope, receive if body is None else _replay(body, receive), send)
                return
        home.enter(scope, compiled)
        exchange.lane_kind = frames.LANE_STACK
        out = _StackOut(home, compiled, exchange, scope, receive, send)
        await compiled.run(out, exchange.stream, *self._values)
        await out.end()

    def _is_untouched(self, scope: Scope) -> bool:
        return (
            [scope.get(name) for name in _ASKED] == self._asked
            and tuple(scope["headers"]) == self._fields
            and not getattr(self._compiled.plan.context.dependency_overrides_provider, "dependency_overrides", None)
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


class _StackOut:
    """As _worker._fast.LoopOut, for run(); what it says takes effect at end(), outside run()'s own handlers."""

    most = 1 << 62

    def __init__(
        self, home: CompiledApp, compiled: Compiled, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._home = home
        self._compiled = compiled
        self._exchange = exchange
        self._vary = exchange.lane.worker.vary.get(compiled.plan.route_id, b"")
        self._asgi = scope, receive, send
        self._request: Request | None = None
        self._answer: tuple[int, bytes, bytes] | None = None
        self._resumption: Resumption | None = None

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

    async def end(self) -> None:
        scope, receive, send = self._asgi
        if self._resumption is not None:
            await self._resumption(scope, receive, send)
            return
        assert self._answer is not None
        status, head, content = self._answer
        await send({"type": "http.response.start", "status": status, "headers": outputs.fields_of(head, self._vary)})
        await send({"type": "http.response.body", "body": content})
