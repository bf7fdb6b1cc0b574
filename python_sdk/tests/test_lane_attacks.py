"""What an attack on the compiled lanes has found: contexts that leaked, teardown that was lost, places kept."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import Body, Cookie, Depends, FastAPI, Query, Request
from fastapi.routing import APIRoute
from lane_harness import JSON, plain, serving
from pydantic import AfterValidator, AliasChoices, BaseModel, Json, PrivateAttr
from starlette.responses import StreamingResponse
from test_lanes import Pure
from worker_harness import run, wait_for

from catzilla import cache

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def test_one_requests_context_is_not_anothers(tmp_path: Path) -> None:
    app = FastAPI()

    async def login() -> None:
        user.set("alice")

    def noted(value: str) -> str:
        user.set(value)
        return value

    @app.get("/mixed")
    async def mixed(_: None = Depends(login), __: None = Depends(lambda: None)) -> str:
        return user.get()

    @app.get("/validated")
    def validated(q: Annotated[str, AfterValidator(noted)]) -> str:
        return q

    @app.get("/def")
    def who() -> str:
        return user.get()

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert (await client.ask("GET", "/mixed")).json() == "alice"  # It starts the thread.
            assert (await client.ask("GET", "/def")).json() == "nobody"
            assert (await client.ask("GET", "/validated?q=bob")).json() == "bob"
            assert (await client.ask("GET", "/def")).json() == "nobody"

    run(main())


def test_threads_give_back_anyios_tokens(tmp_path: Path) -> None:
    app = FastAPI()
    release = threading.Event()
    running: list[int] = []

    @app.get("/busy")
    def busy() -> None:
        running.append(1)
        assert release.wait(20)

    async def main() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        async with serving(tmp_path, app) as client:
            asked = [await client.open("GET", "/busy") for _ in range(12)]
            await wait_for(lambda: len(running) == 12)
            release.set()
            for one in asked:
                await one.answer()
            await wait_for(lambda: limiter.available_tokens == limiter.total_tokens)

    run(main())


def test_leaving_does_not_wait_for_a_free_thread(tmp_path: Path) -> None:
    """Dependencies that take from a pool: who gives back must not queue behind those who wait for it."""
    app = FastAPI()
    pool = threading.Semaphore(2)

    def connection() -> Iterator[None]:
        assert pool.acquire(timeout=20)
        try:
            yield
        finally:
            pool.release()

    @app.get("/x")
    async def x(_: None = Depends(connection)) -> str:
        await asyncio.sleep(0)
        return "x"

    async def main() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 4
        async with serving(tmp_path, app) as client:
            asked = [await client.open("GET", "/x") for _ in range(60)]
            async with asyncio.timeout(15):
                assert [(await one.answer()).status for one in asked] == [200] * 60

    run(main())


def test_what_middleware_cancels_is_still_closed(tmp_path: Path) -> None:
    trace: list[str] = []

    class Impatient:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            with anyio.move_on_after(0.05):
                await self.app(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    app = FastAPI()
    app.add_middleware(Impatient)

    def of_thread() -> Iterator[None]:
        trace.append("open")
        yield
        trace.append("closed")

    async def of_loop() -> AsyncIterator[None]:
        trace.append("aopen")
        try:
            yield
        finally:
            await asyncio.sleep(0)
            trace.append("aclosed")

    @app.get("/x")
    async def x(_: None = Depends(of_thread), __: None = Depends(of_loop)) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            trace.append("left")

    async def main(lanes: bool) -> list[str]:
        trace.clear()
        async with serving(tmp_path, app, lanes=lanes) as client:
            assert (await client.ask("GET", "/x")).status == 504
            await wait_for(lambda: client.worker.active == 0)
        return list(trace)

    genuine, compiled = asyncio.run(main(False)), asyncio.run(main(True))
    assert genuine == compiled
    assert "aclosed" in compiled


def test_who_leaves_is_noticed_by_what_has_begun(tmp_path: Path) -> None:
    app = FastAPI()
    go_on = asyncio.Event()
    seen: list[str] = []

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        await go_on.wait()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0)

        return StreamingResponse(endless())

    @app.get("/polls")
    async def polls(request: Request) -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(0)
        seen.append("gone")

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            asked = await client.open("GET", "/stream")
            await wait_for(lambda: client.worker.active == 1)
            asked.cancel()
            await client.ask("GET", "/nowhere")
            go_on.set()
            await wait_for(lambda: client.worker.active == 0)
            await client.open("GET", "/polls")
            await wait_for(lambda: client.worker.active == 1)
            (await client.link.lane()).transport.close()
            await wait_for(lambda: seen)

    run(main())


def test_small_ones(tmp_path: Path) -> None:
    app = FastAPI()
    counted: list[int] = []

    def count() -> int:
        counted.append(1)
        return len(counted)

    class Kept(BaseModel):
        a: int
        _n: int = PrivateAttr(default_factory=partial(count))

    @app.get("/varies")
    @cache(ttl=5, vary=["accept-language"])
    async def varies() -> str:
        return "x" * 100_000

    @app.get("/cancelled")
    def cancelled() -> None:
        anyio.from_thread.check_cancelled()

    @app.post("/kept")
    async def kept(item: Kept, q: int = 0) -> int:
        return item._n

    async def main(lanes: bool) -> list[Any]:
        counted.clear()
        async with serving(tmp_path, app, lanes=lanes) as client:
            return [
                plain(await client.ask(method, path, body, JSON))
                for method, path, body in [
                    ("GET", "/varies", b""),
                    ("GET", "/cancelled", b""),
                    ("POST", "/kept", b'{"a": 1}'),
                    ("POST", "/kept?q=x", b'{"a": 1}'),
                    ("POST", "/kept", b'{"a": 1}'),
                ]
            ]

    assert asyncio.run(main(False)) == asyncio.run(main(True))


def test_a_route_without_an_overrides_provider_behind_middleware(tmp_path: Path) -> None:
    async def x() -> str:
        return "x"

    app = FastAPI()
    app.router.routes.append(APIRoute("/x", x))
    app.add_middleware(Pure)

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("GET", "/x") == "stack"
            assert (await client.ask("GET", "/x")).json() == "x"

    run(main())


def test_a_dependency_may_change_the_body_for_those_behind_it(tmp_path: Path) -> None:
    app = FastAPI()

    class Item(BaseModel):
        name: str
        added: int = 0

    async def by_request(request: Request) -> None:
        (await request.json())["added"] = 1

    def by_parameter(item: Annotated[Any, Body()]) -> None:
        item["added"] = 2

    @app.post("/request")
    async def of_request(item: Item, _: Annotated[None, Depends(by_request)]) -> Any:
        return item

    @app.post("/parameter")
    def of_parameter(_: Annotated[None, Depends(by_parameter)], item: Item) -> Any:
        return item

    async def main(lanes: bool) -> list[Any]:
        async with serving(tmp_path, app, lanes=lanes) as client:
            if lanes:
                assert await client.lane_of("POST", "/request", b'{"name": "x"}', JSON) == "fast"
                assert await client.lane_of("POST", "/parameter", b'{"name": "x"}', JSON) == "fast"
            return [
                plain(await client.ask("POST", path, body, JSON))
                for path in ("/request", "/parameter")
                for body in (b'{"name": "x"}', b'{"name": 3}', b"{", b"")
            ]

    assert asyncio.run(main(False)) == asyncio.run(main(True))


def test_what_random_apps_have_found(tmp_path: Path) -> None:
    """One dependency takes all of the body where another takes a part; JSON of nothing; names that are not ASCII."""
    app = FastAPI()

    def embedded(item: Annotated[dict[str, int], Body(embed=True)]) -> Any:
        return item

    @app.post("/whole")
    async def whole(item: Annotated[dict[str, Any], Body()], part: Annotated[Any, Depends(embedded)]) -> Any:
        return [item, part]

    @app.get("/json")
    async def of_json(
        a: Annotated[Json[list[int]], Query(validation_alias=AliasChoices("a", "b"))] = [7],  # noqa: B006
    ) -> Any:
        return a

    @app.get("/cookie")
    async def cookie(c: Annotated[str, Cookie(alias="é")] = "none") -> str:
        return c

    async def main(lanes: bool) -> list[Any]:
        async with serving(tmp_path, app, lanes=lanes) as client:
            return [
                plain(await client.ask(method, target, body, fields))
                for method, target, body, fields in [
                    ("POST", "/whole", b'{"item": {"x": 1}, "y": 2}', JSON),
                    ("POST", "/whole", b'{"x": 1}', JSON),
                    ("POST", "/whole", b"[]", JSON),
                    *(("GET", f"/json?{query}", b"", []) for query in ("a=", "a=&b=[1]", "b=[2]", "a=[1]&b=x", "b=")),
                    ("GET", "/cookie", b"", [(b"cookie", b"\xe9=x")]),
                ]
            ]

    assert asyncio.run(main(False)) == asyncio.run(main(True))
