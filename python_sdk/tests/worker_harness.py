"""A worker served by the fake link, for the tests of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake_link import FakeLink

from catzilla._settings import Ticket, WorkerPlace, WorkerSettings
from catzilla._worker._serve import Worker

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Ended:
    def __init__(self) -> None:
        self.calls: list[tuple[int, bool, str]] = []
        self.event = asyncio.Event()

    def __call__(self, code: int, clean: bool, reason: str) -> None:
        self.calls.append((code, clean, reason))
        self.event.set()


class Pair:
    def __init__(self, link: FakeLink, worker: Worker, ended: Ended, ticket: Ticket, recycled: list[str]) -> None:
        self.link, self.worker, self.ended, self.ticket, self.recycled = link, worker, ended, ticket, recycled

    async def open(self, method: str = "GET", target: str = "/", **more: Any) -> Any:
        return self.link.open(await self.link.lane(), method, target, **more)


@asynccontextmanager
async def serving(
    tmp_path: Path, app: Any, *, loops: int = 1, state: Any = None, **settings: Any
) -> AsyncIterator[Pair]:
    link = FakeLink(loops=loops)
    path = str(tmp_path / "worker.sock")
    await link.listen(path)
    ended = Ended()
    recycled: list[str] = []
    worker = Worker(
        app,
        WorkerSettings(target="x", **settings),
        WorkerPlace.here(0),
        state=state or {},
        table_hash=bytes(32),
        vary={3: b"accept-language"},
        on_ended=ended,
        on_recycle=recycled.append,
    )
    ticket = Ticket(pool="app", epoch=1, generation=1, token="00" * 16, socket=path)
    await worker.attach(ticket)
    try:
        yield Pair(link, worker, ended, ticket, recycled)
    finally:
        await worker.drain(0, "", 1)
        link.close()


async def wait_for(condition: Callable[[], Any], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})
