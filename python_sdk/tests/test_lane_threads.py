"""Routes that are synchronous all the way: nobody waits for another's slow handler; threads are as anyio's."""

import asyncio
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import anyio.from_thread
import anyio.to_thread
import pytest
from fake_link import StreamFailed
from fastapi import Depends, FastAPI
from lane_harness import plain, serving
from worker_harness import run, wait_for

from catzilla._worker import _frames as frames
from catzilla._worker._threads import Threads


def test_a_slow_handler_holds_up_nobody(tmp_path: Path) -> None:
    app = FastAPI()
    release = threading.Event()

    @app.get("/slow")
    def slow() -> str:
        assert release.wait(20)
        return "slow"

    @app.get("/quick/{n}")
    def quick(n: int) -> int:
        return n

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            # One batch: what stands before the slow one in it has its answer, what stands behind it is begun elsewhere.
            first = await client.open("GET", "/quick/1")
            stuck = [await client.open("GET", "/slow") for _ in range(3)]
            last = [await client.open("GET", f"/quick/{n}") for n in range(20)]
            assert (await first.answer()).json() == 1
            assert [(await one.answer()).json() for one in last] == list(range(20))
            release.set()
            assert [(await one.answer()).json() for one in stuck] == ["slow"] * 3

    run(main())


def test_no_more_threads_than_anyio_allows(tmp_path: Path) -> None:
    app = FastAPI()
    running: list[int] = []
    most: list[int] = []
    release = threading.Event()

    @app.get("/busy")
    def busy() -> None:
        running.append(1)
        most.append(len(running))
        assert release.wait(20)
        running.pop()

    async def main() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 4
        async with serving(tmp_path, app) as client:
            asked = [await client.open("GET", "/busy") for _ in range(12)]
            await wait_for(lambda: len(running) == 5)  # The first needs no token.
            release.set()
            for one in asked:
                assert (await one.answer()).status == 200
        assert max(most) == 5

    run(main())


def test_who_leaves_before_it_has_begun_is_dropped(tmp_path: Path) -> None:
    app = FastAPI()
    release = threading.Event()
    begun: list[str] = []

    @app.get("/first")
    def first() -> None:
        assert release.wait(20)

    @app.get("/second")
    def second() -> None:
        begun.append("second")

    async def main() -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1
        async with serving(tmp_path, app) as client:
            anyio.to_thread.current_default_thread_limiter().acquire_on_behalf_of_nowait("another")
            holding = await client.open("GET", "/first")
            waiting = await client.open("GET", "/second")
            waiting.cancel()
            await client.ask("GET", "/nowhere")  # The CANCEL has been read.
            release.set()
            assert (await holding.answer()).status == 200
            with pytest.raises(StreamFailed) as failure:
                await waiting.answer()
            assert failure.value.code == frames.END_CANCELLED
        assert begun == []

    run(main())


def test_a_thread_is_one_of_anyios(tmp_path: Path) -> None:
    app = FastAPI()

    async def on_the_loop() -> str:
        return type(asyncio.get_running_loop()).__name__

    @app.get("/hops")
    def hops() -> Any:
        try:
            asyncio.get_running_loop()
            inside = True
        except RuntimeError:
            inside = False
        return [inside, bool(anyio.from_thread.run(on_the_loop)), threading.current_thread() is threading.main_thread()]

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("GET", "/hops") == "fast"
            assert (await client.ask("GET", "/hops")).json() == [False, True, False]

    run(main())


def test_the_answer_does_not_wait_for_its_teardown(tmp_path: Path) -> None:
    app = FastAPI()
    release = threading.Event()

    def slow_to_close() -> Iterator[int]:
        yield 1
        assert release.wait(20)

    @app.get("/def")
    def answer(v: Annotated[int, Depends(slow_to_close)]) -> int:
        return v

    @app.get("/async")
    async def answer_async(v: Annotated[int, Depends(slow_to_close)]) -> int:
        return v

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            for path in ("/def", "/async"):
                release.set()
                assert await client.lane_of("GET", path) == "fast"
                release.clear()
                exchange = await client.open("GET", path)
                answer = await exchange.answer()
                assert (answer.json(), answer.detached) == (1, True)
                release.set()
                async with asyncio.timeout(10):
                    await exchange.credited.wait()

    run(main())


def test_a_worker_that_drains_waits_for_its_threads(tmp_path: Path) -> None:
    app = FastAPI()
    began, go_on = threading.Event(), threading.Event()

    @app.get("/work")
    def work() -> str:
        began.set()
        assert go_on.wait(20)
        return "done"

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            asked = await client.open("GET", "/work")
            await wait_for(began.is_set)
            draining = asyncio.ensure_future(client.worker.drain(frames.GOAWAY_DRAINING, "", 10))
            await wait_for(lambda: client.worker._idle is not None)
            go_on.set()
            assert plain(await asked.answer())[2] == b'"done"'
            assert await draining

    run(main())


def test_idle_threads_and_calls(tmp_path: Path) -> None:
    async def main() -> None:
        threads = Threads(asyncio.get_running_loop())
        assert await threads.call(lambda: 1 + 1) == 2
        for error, seen in ((ValueError("x"), ValueError), (StopIteration(), RuntimeError)):

            def fail(error: Exception = error) -> None:
                raise error

            with pytest.raises(seen):
                await threads.call(fail)
        assert sorted(await asyncio.gather(*(threads.call(lambda n=n: n) for n in range(100)))) == list(range(100))
        threads.close()
        await wait_for(
            lambda: not any(t.name.startswith("catzilla lane") and t.is_alive() for t in threading.enumerate())
        )

    run(main())


class Sniffio:
    """As sniffio 1.3: outside a task it knows of no library. Many packages bring it along, and anyio asks it then."""

    AsyncLibraryNotFoundError = RuntimeError
    current_async_library_cvar: ContextVar[str | None] = ContextVar("library", default=None)

    @staticmethod
    def current_async_library() -> str:
        if asyncio.current_task() is None:
            raise RuntimeError("unknown async library, or not in async context")
        return "asyncio"


def test_where_sniffio_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()
    monkeypatch.setattr("anyio._core._eventloop.sniffio", Sniffio)

    @app.get("/def")
    def answer() -> str:
        return "here"

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            asked = [await client.open("GET", "/def") for _ in range(10)]
            assert [(await one.answer()).body for one in asked] == [b'"here"'] * 10

    run(main())


def test_where_no_thread_can_be_started_requests_wait_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit of processes: the lane goes on, and so do the requests once there is a thread."""
    app = FastAPI()
    start = threading.Thread.start
    refused: list[int] = []

    @app.get("/def")
    def answer() -> str:
        return "here"

    def refusing(self: threading.Thread) -> None:
        if self.name.startswith("catzilla lane") and len(refused) < 3:
            refused.append(1)
            raise RuntimeError("can't start new thread")
        start(self)

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            monkeypatch.setattr(threading.Thread, "start", refusing)
            for _ in range(2):
                assert (await client.ask("GET", "/def")).json() == "here"
            assert len(refused) == 3

    run(main())
