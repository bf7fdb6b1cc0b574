"""Which lane a route takes, and when it takes another: what stands in the way is named."""

import asyncio
import gc
import weakref
from pathlib import Path
from types import MethodType
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, Request
from fastapi import routing as fastapi_routing
from fastapi.routing import APIRoute
from lane_harness import JSON, serving
from pydantic.plugin import _loader
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from worker_harness import run, wait_for

from catzilla._routing import compile_table
from catzilla._worker import _frames as frames


class Own(APIRoute):
    def get_route_handler(self) -> Any:
        return super().get_route_handler()


def made(name: str) -> str:
    return name


def route_of(declare: Any) -> Any:
    app = FastAPI(openapi_url=None)
    declare(app)
    [entry] = [entry for entry in compile_table(app).routes if entry.kind == "api"]
    return entry


def _cookies(app: FastAPI) -> None:
    @app.post("/x")
    async def x(a: Annotated[list[str], Cookie()]) -> Any: ...


def _generator(app: FastAPI) -> None:
    @app.get("/x", response_class=StreamingResponse)
    async def x() -> Any:
        yield b""


def _own_class(app: FastAPI) -> None:
    router = APIRouter(route_class=Own)
    router.get("/x")(made)
    app.include_router(router)


def _limited(app: FastAPI) -> None:
    app.post("/x", max_body_size=10)(made)


def _convertor(app: FastAPI) -> None:
    app.get("/x/{name:uuid}")(made)


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (_cookies, "a is a list of cookies"),
        (_generator, "its answer is a stream"),
        (_own_class, "Own.get_route_handler is its own"),
        (_limited, "it has a max_body_size"),
        (_convertor, "{name} has the convertor UUIDConvertor"),
    ],
)
def test_what_only_the_genuine_app_does_says_why(declare: Any, reason: str) -> None:
    entry = route_of(declare)
    assert (entry.lane, entry.lane_reasons) == ("slow", [reason])


def test_a_patched_part_of_fastapi_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As APM tools do it: their spans would be missing."""

    async def traced(*arguments: Any, **named: Any) -> Any:
        raise AssertionError

    traced.__module__ = "some_apm.fastapi"
    monkeypatch.setattr(fastapi_routing, "run_endpoint_function", traced)
    entry = route_of(lambda app: app.get("/x")(made))
    assert entry.lane == "slow"
    assert entry.lane_reasons == ["fastapi.routing.run_endpoint_function is patched by some_apm.fastapi"]


TOOL: dict[str, Any] = {"__name__": "some_apm.fastapi"}
exec(  # As in a module of a tool's own.
    """
from functools import wraps

def wrapping(original):
    @wraps(original)
    def traced(*arguments, **named):
        return original(*arguments, **named)

    return traced
""",
    TOOL,
)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (fastapi_routing, "solve_dependencies"),
        (APIRoute, "handle"),
        (Route, "handle"),
        (APIRouter, "app"),
        (APIRouter, "handle"),
        (fastapi_routing._IncludedRouter, "handle"),
    ],
)
def test_a_tool_that_takes_the_names_of_what_it_wraps_is_named(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    monkeypatch.setattr(owner, name, TOOL["wrapping"](getattr(owner, name)))
    entry = route_of(lambda app: app.get("/x")(made))
    assert entry.lane_reasons == [f"{owner.__name__}.{name} is patched by some_apm.fastapi"]
    assert entry.lane == "slow"


def test_an_app_that_a_tool_has_patched_names_it_until_it_is_put_back() -> None:
    app = FastAPI(openapi_url=None)
    app.get("/x")(made)
    original = app.build_middleware_stack
    app.build_middleware_stack = MethodType(TOOL["wrapping"](FastAPI.build_middleware_stack), app)  # type: ignore
    [entry] = compile_table(app).routes
    assert (entry.lane, entry.lane_reasons) == (
        "slow",
        ["the app's build_middleware_stack is patched by some_apm.fastapi"],
    )
    app.build_middleware_stack = original  # type: ignore[method-assign]
    assert compile_table(app).routes[0].lane == "fast"


class Plugin:
    """Of pydantic: Logfire's is installed with it, and watches nothing until it is told to."""

    def __init__(self, handler: Any) -> None:
        self._handler = handler

    def new_schema_validator(self, *arguments: Any) -> Any:
        return self._handler, self._handler, None


class Handler:
    def on_enter(self, *arguments: Any, **named: Any) -> None: ...


@pytest.mark.parametrize(("handler", "lane"), [(None, "fast"), (Handler(), "slow")])
def test_a_plugin_of_pydantic_makes_routes_slow_only_where_it_watches(
    monkeypatch: pytest.MonkeyPatch, handler: Any, lane: str
) -> None:
    monkeypatch.setattr(_loader, "_plugins", {"some": Plugin(handler)})
    entry = route_of(lambda app: app.get("/x/{number}")(numbered))
    assert entry.lane == lane
    said = ["the validator of number is of pydantic.plugin._schema_validator"]
    assert entry.lane_reasons == ([] if lane == "fast" else said)
    entry = route_of(lambda app: app.get("/x")(answering))
    assert entry.lane == lane
    said = ["the validator of its answer is of pydantic.plugin._schema_validator"]
    assert entry.lane_reasons == ([] if lane == "fast" else said)


def numbered(number: int) -> Any: ...


def answering() -> int:
    return 1


def test_lanes_can_be_switched_off() -> None:
    app = FastAPI()
    app.get("/x")(made)
    assert {(e.lane, *e.lane_reasons) for e in compile_table(app, lanes=False).routes} == {("slow", "lanes are off")}


def test_overrides_are_obeyed_at_once(tmp_path: Path) -> None:
    app = FastAPI()

    def real() -> str:
        return "real"

    @app.get("/x")
    async def x(v: Annotated[str, Depends(real)]) -> str:
        return v

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("GET", "/x") == "fast"
            app.dependency_overrides[real] = lambda: "other"
            assert (await client.ask("GET", "/x")).json() == "other"
            head, _ = await (await client.open("GET", "/x")).head()
            assert (head.lane, head.fallback) == (frames.LANE_SLOW, frames.FALLBACK_OVERRIDES)
            app.dependency_overrides = {}
            assert (await client.ask("GET", "/x")).json() == "real"
            assert await client.lane_of("GET", "/x") == "fast"

    run(main())


def test_a_tool_that_comes_later_sees_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()
    app.get("/x")(made_new)
    traced: list[str] = []

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            client.worker.control_tick()
            assert await client.lane_of("GET", "/x") == "fast"

            async def tracing(app: Any, scope: Any, receive: Any, send: Any) -> None:
                traced.append(scope["path"])
                await genuine(app, scope, receive, send)

            genuine = Starlette.__call__
            monkeypatch.setattr(Starlette, "__call__", tracing)
            client.worker.control_tick()  # As once a second.
            assert (await client.ask("GET", "/x")).json() == "new"
            assert await client.lane_of("GET", "/x") == "slow"
            assert traced == ["/x", "/x"]

    run(main())


def test_a_route_that_is_added_later_stands_where_fastapi_has_it(tmp_path: Path) -> None:
    app = FastAPI()
    included = APIRouter()

    @included.get("/a/{name}")
    async def old(name: str) -> str:
        return f"old {name}"

    app.include_router(included)

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert (await client.ask("GET", "/a/b")).json() == "old b"
            included.routes.insert(0, APIRoute("/a/b", made_new))
            assert (await client.ask("GET", "/a/b")).json() in ("old b", "new")  # FastAPI has not seen it either.
            included.get("/c")(made_new)
            assert await client.lane_of("GET", "/a/z") == "slow"
            assert (await client.ask("GET", "/a/b")).json() == "new"

    run(main())


def test_a_route_that_is_replaced_later_is_served_within_a_second(tmp_path: Path) -> None:
    app = FastAPI()
    router = APIRouter()

    @router.get("/a")
    async def old() -> str:
        return "old"

    app.include_router(router)
    app.get("/b")(old)

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("GET", "/b") == "fast"
            index = len(app.router.routes) - 1
            app.router.routes[index] = APIRoute("/b", made_new)
            client.worker.control_tick()  # As once a second.
            assert (await client.ask("GET", "/b")).json() == "new"
            assert await client.lane_of("GET", "/b") == "slow"

    run(main())


async def made_new() -> str:
    return "new"


def test_middleware_that_changes_the_request_is_believed(tmp_path: Path) -> None:
    app = FastAPI()

    class Changing:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if path == "/rewritten":
                scope = {**scope, "path": "/x/5", "raw_path": b"/x/5"}
            elif path == "/x/in-place":
                scope["headers"].append((b"x-token", b"added"))
            elif path == "/body":

                async def other() -> Any:
                    message = await receive()
                    return {**message, "body": message["body"].replace(b"1", b"2")}

                await self.app(scope, other, send)
                return
            await self.app(scope, receive, send)

    app.add_middleware(Changing)

    @app.get("/x/{name}")
    async def x(name: str, request: Request) -> Any:
        return [name, request.headers.get("x-token")]

    @app.get("/rewritten")
    async def rewritten() -> str:
        raise AssertionError

    @app.post("/body")
    async def body(value: dict[str, int]) -> Any:
        return value

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert (await client.ask("GET", "/rewritten")).json() == ["5", None]
            assert (await client.ask("GET", "/x/in-place")).json() == ["in-place", "added"]
            assert (await client.ask("POST", "/body", b'{"a": 1}', JSON)).json() == {"a": 2}
            assert await client.lane_of("GET", "/x/z") == "stack"
            assert await client.lane_of("POST", "/body", b'{"a": 3}', JSON) == "stack"  # Untouched in the end.

    run(main())


def test_a_task_of_its_own_for_each_request(tmp_path: Path) -> None:
    """current_task(), timeouts and cancel scopes are those of the request."""
    app = FastAPI()
    seen: set[int] = set()

    @app.get("/x")
    async def x() -> bool:
        task = asyncio.current_task()
        assert task is not None
        seen.add(id(task))
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return True
        return False

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("GET", "/x") == "fast"
            asked = [await client.open("GET", "/x") for _ in range(5)]
            assert [(await one.answer()).json() for one in asked] == [True] * 5
            assert len(seen) >= 5

    run(main())


def test_a_request_that_only_the_lane_knows_of_is_not_collected(tmp_path: Path) -> None:
    """asyncio holds Tasks weakly: one that waits for what only itself holds would be gone with the next collection."""
    app = FastAPI()
    waits: list[weakref.ref[asyncio.Future[str]]] = []

    @app.get("/x")
    async def x() -> str:
        future = asyncio.get_running_loop().create_future()
        waits.append(weakref.ref(future))
        return await future

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            asked = await client.open("GET", "/x")
            await wait_for(lambda: waits)
            gc.collect()
            future = waits[0]()
            assert future is not None
            future.set_result("here")
            assert (await asked.answer()).json() == "here"

    run(main())
