"""An app's compiled routes as a worker uses them, and the way back to the genuine app.

A request that has begun in a compiled route and is not simple any more (an exception, an answer that is a stream)
goes on in the genuine stack; where that would call the router (_junction.py) it meets its own end: the exception is
raised, the response returned, inside FastAPI's own request_response(), with its exit stacks. So handlers, middleware
and teardown see what they always see.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import is_not
from typing import Any

from anyio import CancelScope
from fastapi import FastAPI, routing
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from catzilla._compile._emit import Compiled
from catzilla._compile._exits import exit_in_thread as exit_in_thread
from catzilla._compile._exits import taken
from catzilla._compile._forms import Form
from catzilla._compile._guards import patched_part
from catzilla._compile._junction import Stack
from catzilla._watchers import watched_by

log = logging.getLogger("catzilla.worker")


@dataclass(slots=True)
class Resumption:
    """How a request ends that the fast lane has begun."""

    home: CompiledApp
    compiled: Compiled
    error: BaseException | None
    response: Response | None
    inner: Sequence[Any]  # Context managers entered, of function scope...
    outer: Sequence[Any]  # ...and of request scope.
    request: Request | None  # What the endpoint had, if it had one.
    body: bytes
    answered: bool  # The client has its answer: this is only about what failed behind it.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.home.enter(scope, self.compiled)
        await routing.request_response(self._end)(scope, receive, send)

    async def _end(self, request: Request) -> Response:
        inner, outer = taken(self.inner), taken(self.outer)
        last = taken(getattr(self.outer, "beneath", None) or ())
        form = next((one for one in outer if isinstance(one, Form)), None)
        if self.request is not None:  # Handlers see what has been read and kept.
            vars(request).update(vars(self.request))
        elif form is not None:
            form.give_to(request)
        elif self.compiled.plan.context.body_field is not None:
            request._body = self.body
        stacks = (
            ("fastapi_middleware_astack", last),
            ("fastapi_inner_astack", outer),
            ("fastapi_function_astack", inner),
        )
        for name, managers in stacks:
            for manager in managers:
                where = "fastapi_middleware_astack" if manager is form else name
                request.scope[where].push_async_exit(
                    manager if hasattr(manager, "__aexit__") else exit_in_thread(manager)
                )
        if self.answered:
            assert self.error is not None
            request.scope["fastapi_inner_astack"].push_async_callback(_fail, self.error)
            return Response()
        if self.error is not None and self.response is not None:  # Failed in a teardown before the answer.
            request.scope["fastapi_function_astack"].push_async_callback(_fail, self.error)
            return self.response
        if self.error is not None:
            raise self.error
        assert self.response is not None
        return self.response


async def _fail(error: BaseException) -> None:
    raise error


async def shielded(future: Awaitable[Any]) -> Any:
    """As anyio's pool: a cancelled scope waits for the thread, and what it has opened is closed."""
    with CancelScope(shield=True):
        return await future
    raise AssertionError("a shield swallows nothing")


class CompiledApp:
    """The fast lane's routes, by their ids."""

    def __init__(self, app: FastAPI, routes: dict[int, Compiled], stack: Stack) -> None:
        self._app = app
        self.stack = stack
        self._all = routes
        self.hop: Callable[[Callable[[], Any]], Awaitable[Any]]  # To a thread and back; set by the worker.
        routers = routers_of(app.router)
        self._routers = [(router, router._routes_version, len(router.routes)) for router in routers]
        self._their_routes = [(router.routes, tuple(router.routes)) for router in routers]

    @property
    def routes(self) -> dict[int, Compiled]:
        """Empty once the app's routes are others than those compiled: its own router decides then."""
        for router, version, count in self._routers:
            if router._routes_version != version or len(router.routes) != count:
                self._all, self._routers = {}, []
                break
        return self._all

    def look_for_tools(self) -> None:
        """One that comes long after start-up sees every request as soon as it has been looked for."""
        who = self._all and (self._replaced_route() or watched_by(self._app, of_user=True) or patched_part())
        if who:
            log.info("no compiled route is used any more: %s", who)
            self._all, self._routers = {}, []

    def _replaced_route(self) -> str:
        """`router.routes[i] = other` changes neither their number nor FastAPI's own count of changes."""
        for routes, known in self._their_routes:
            for route in compress(known, map(is_not, known, routes)):
                return f"the route {getattr(route, 'path', route)} was replaced"
        return ""

    @property
    def threaded(self) -> bool:
        return any(compiled.threaded for compiled in self._all.values())

    @property
    def app(self) -> FastAPI:
        return self._app

    def enter(self, scope: Scope, compiled: Compiled) -> None:
        """Puts into the scope what Starlette and the router would have put there."""
        context = compiled.plan.context
        scope["app"], scope["router"] = self._app, self._app.router
        scope["starlette.exception_handlers"] = self.stack.handlers
        child = compiled.child
        if child is None:
            route: Any = context._effective_route
            _, child = route.matches(scope)
            scope.update(child)
            if not route.param_convertors:
                compiled.child = {name: value for name, value in child.items() if name != "path_params"}
        else:
            scope.update(child)
            scope["path_params"] = dict(scope.get("path_params", ()))
        scope["route"] = context.original_route
        if context._route_context is not None:
            routing._get_fastapi_scope(scope)[routing._FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY] = context._route_context


def routers_of(router: routing.APIRouter) -> list[routing.APIRouter]:
    """It, and all that are included below it."""
    found = [router]
    for one in found:
        for route in one.routes:
            if isinstance(route, routing._IncludedRouter) and route.original_router not in found:
                found.append(route.original_router)
    return found
