"""Where compiled routes come into the stack that FastAPI has built for an app, and go on in it.

    FastAPI -> ServerErrorMiddleware -> two of FastAPI's -> the user's middleware -> ExceptionMiddleware
                                                            \\__ entry                 \\__ first junction
        -> AsyncExitStackMiddleware -> the router
                                       \\__ second junction

A request of the stack lane enters at the user's middleware and ends at the first junction, as long as nothing fails:
the layers that it leaves out only look at exceptions, and keep the exit stack of what no compiled route opens. What
is not simple goes on through them to the second junction; what raises out of the user's middleware is given to the
app's own ServerErrorMiddleware. A request of the fast lane that is not simple takes all of the stack, to the second.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Ends of requests in their scopes: at the first junction, and at the second.
_EARLY: Final = "catzilla.early_end"
_LATE: Final = "catzilla.end"
_OUTER: Final = ("ServerErrorMiddleware", "ExceptionTelemetryMiddleware", "AppBodyLimitMiddleware")

# An end at the first junction: it gets what would go on from there.
EarlyEnd = Callable[[Scope, Receive, Send, ASGIApp], Awaitable[None]]


class _FirstJunction(ExceptionMiddleware):
    """In the place of the app's own, and the same object."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end = scope.pop(_EARLY, None)
        if end is None:
            await super().__call__(scope, receive, send)
        else:
            await end(scope, receive, send, super().__call__)


class _SecondJunction:
    """In the place of the router."""

    def __init__(self, router: ASGIApp) -> None:
        self.app = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end = scope.pop(_LATE, None)
        await (self.app if end is None else end)(scope, receive, send)


class Stack:
    """An app's, with both junctions."""

    def __init__(self, app: FastAPI, layers: list[Any]) -> None:
        self._app = app
        self._built = app.middleware_stack
        self._errors: Any = layers[0]
        first: Any = layers[-2]
        self.handlers = first._exception_handlers, first._status_handlers
        outer = tuple(type(layer).__name__ for layer in layers[: len(_OUTER)])
        self._entry: ASGIApp | None = layers[len(_OUTER)] if outer == _OUTER else None

    def lead(self, scope: Scope, end: ASGIApp) -> None:
        """From now on this scope's way through the app's stack leads there, and not to the router."""
        scope[_LATE] = end

    async def run(self, scope: Scope, receive: Receive, send: Send, end: EarlyEnd, begun: Callable[[], bool]) -> None:
        """Through the user's middleware to `end`. `begun` says whether an answer has."""
        scope[_EARLY] = end
        if self._entry is None or self._app.middleware_stack is not self._built:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        try:
            await self._entry(scope, receive, send)
        except Exception as error:
            await self._fail(scope, receive, send, error, begun())

    async def _fail(self, scope: Scope, receive: Receive, send: Send, error: Exception, begun: bool) -> None:
        async def again(scope: Scope, receive: Receive, send: Send) -> None:
            if begun:
                await send({"type": "http.response.start"})
            raise error

        async def nowhere(message: Message) -> None:
            pass

        errors = copy.copy(self._errors)
        errors.app = again
        await errors(scope, receive, nowhere if begun else send)


def install_junctions(app: FastAPI) -> Stack | None:
    """Once the app has started. None: its stack is not FastAPI's."""
    if app.middleware_stack is None:
        app.middleware_stack = app.build_middleware_stack()
    layers: list[Any] = [app.middleware_stack]
    while type(layers[-1]) is not AsyncExitStackMiddleware:
        inner = getattr(layers[-1], "app", None)
        if inner is None:
            return None
        layers.append(inner)
    if len(layers) < 3 or type(layers[0]) is not ServerErrorMiddleware:
        return None
    first, last = layers[-2:]
    if type(last.app) is not _SecondJunction:
        if last.app is not app.router or type(first) is not ExceptionMiddleware:
            return None
        last.app = _SecondJunction(app.router)
        first.__class__ = _FirstJunction
    return Stack(app, layers)
