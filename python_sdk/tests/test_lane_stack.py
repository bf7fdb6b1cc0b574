"""The stack lane leaves layers of FastAPI's out, and nobody can tell: failing middleware, handlers, scopes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_link import StreamFailed
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from lane_harness import serving
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from worker_harness import run, wait_for

Seen = list[Any]


class Failing:
    """Raises where the query says so."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner  # Not `app`, as most have it.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        where = scope.get("query_string", b"").decode()

        async def watching(message: Message) -> None:
            if where == "in start" and message["type"] == "http.response.start":
                raise RuntimeError("no start")
            await send(message)
            if where == "behind start" and message["type"] == "http.response.start":
                raise RuntimeError("only a start")

        if where == "before":
            raise RuntimeError("before")
        if where == "refuses":
            raise HTTPException(403)
        await self.inner(scope, receive, watching)
        if where == "behind":
            raise RuntimeError("behind")


class Outer:
    """Stands before it and sees what comes out; its attribute has the usual name."""

    def __init__(self, app: ASGIApp, seen: Seen) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.seen.append(("app", type(scope["app"]).__name__))
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            self.seen.append(("raised", type(error).__name__, str(error).partition(" scope")[0]))
            raise
        finally:
            self.seen.append(("route", getattr(scope.get("route"), "path", None), sorted(scope.get("path_params", ()))))


def plain_app(seen: Seen) -> FastAPI:
    app = FastAPI()
    app.add_middleware(Outer, seen=seen)

    @app.get("/items/{item_id}")
    async def items(item_id: str, request: Request) -> list[str]:
        return [item_id, *sorted(name for name in request.scope if "handlers" in name), *request.path_params]

    @app.get("/hello")
    async def hello(request: Request) -> dict[str, Any]:
        return {"params": request.path_params, "endpoint": request.scope["endpoint"].__name__}

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("the endpoint")

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418)

    return app


def with_handlers(seen: Seen) -> FastAPI:
    app = plain_app(seen)

    @app.exception_handler(Exception)
    async def anything(request: Request, error: Exception) -> JSONResponse:
        seen.append(("handler", repr(error), request.url.path))
        return JSONResponse({"failed": repr(error)}, 500)

    return app


def with_sync_handler(seen: Seen) -> FastAPI:
    app = plain_app(seen)

    @app.exception_handler(500)
    def anything(request: Request, error: Exception) -> JSONResponse:
        seen.append(("handler", repr(error), request.scope.get("route") is not None))
        return JSONResponse({"failed": True}, 500)

    return app


def with_base(seen: Seen) -> FastAPI:
    app = with_handlers(seen)

    async def around(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        seen.append(("base", response.status_code))
        response.headers["x-base"] = "yes"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=around)
    return app


_ASKED = [
    "/hello", "/hello?before", "/hello?refuses", "/hello?behind", "/hello?in%20start", "/items/7", "/items/7?behind",
    "/fails", "/fails?behind", "/teapot", "/teapot?in%20start", "/missing", "/missing?before", "/hello",
]  # fmt: skip


@pytest.mark.parametrize("failing", ["", "outside", "inside"])
@pytest.mark.parametrize("make", [plain_app, with_handlers, with_sync_handler, with_base])
def test_middleware_that_fails_ends_alike_in_all_lanes(
    tmp_path: Path, make: Callable[[Seen], FastAPI], failing: str
) -> None:
    async def answers(lanes: bool) -> tuple[list[Any], Seen]:
        seen: Seen = []
        app = make(seen)
        if failing == "outside":
            app.add_middleware(_Named)
        elif failing == "inside":
            app.user_middleware.append(_middleware(_Named))
        found: list[Any] = []
        async with serving(tmp_path, app, lanes=lanes) as client:
            if lanes:
                assert await client.lane_of("GET", "/hello") == "stack"
                seen.clear()
            for target in _ASKED:
                try:
                    answer = await client.ask("GET", target.replace("%20", " "))
                    found.append((target, answer.status, answer.fields, answer.body))
                except StreamFailed as failed:
                    found.append((target, str(failed)))
                await wait_for(lambda: client.worker.active == 0)
        return found, seen

    run(_compared(answers))


async def _compared(answers: Callable[[bool], Any]) -> None:
    compiled, genuine = await answers(True), await answers(False)
    assert compiled[0] == genuine[0]
    assert compiled[1] == genuine[1]


class _Named(Failing):
    """With the name that the junctions look for."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self.app = app


def _middleware(kind: Any) -> Any:
    from starlette.middleware import Middleware

    return Middleware(kind)


def test_a_stack_that_is_replaced_later_is_believed(tmp_path: Path) -> None:
    seen: Seen = []
    app = plain_app(seen)

    class Late:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append("late")
            await self.app(scope, receive, send)

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            await client.ask("GET", "/hello")
            assert "late" not in seen
            assert app.middleware_stack is not None
            app.middleware_stack = Late(app.middleware_stack)
            await client.ask("GET", "/hello")
            assert "late" in seen

    run(main())
