"""One app served twice by the fake link: with its routes compiled, and genuinely."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from fake_link import Answer, FakeLink
from fastapi import FastAPI

from catzilla._compile._assign import compiled_app
from catzilla._routing import Table, compile_table
from catzilla._settings import Ticket, WorkerPlace, WorkerSettings
from catzilla._worker import _frames as frames
from catzilla._worker._lifespan import Lifespan
from catzilla._worker._serve import Worker

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "compat"))

from choosing import Chooser

# As in sidecar/exchange/call_way.cc.
INLINE_BODY_MAX = 16 * 1024

Fields = list[tuple[bytes, bytes]]
JSON: Fields = [(b"content-type", b"application/json")]


class Client:
    """Asks as the sidecar would: the route chosen, its slots filled."""

    def __init__(self, link: FakeLink, worker: Worker, table: Table) -> None:
        self.link, self.worker, self.table = link, worker, table
        self._chooser = Chooser(table)

    async def open(self, method: str, target: str, body: bytes = b"", fields: Fields | None = None) -> Any:
        sent = [(b"host", b"testserver"), *(fields or [])]
        path, _, query = target.partition("?")
        choice = self._chooser.choose(method, unquote_to_bytes(path), query.encode(), sent)
        inline = len(body) <= INLINE_BODY_MAX
        exchange = self.link.open(
            await self.link.lane(),
            method,
            target,
            sent,
            route_id=choice.route_id,
            slots=choice.slots,
            flags=choice.flags,
            **({"body": body} if inline else {"streaming": True, "body_length": len(body)}),
        )
        if not inline:  # It fits the window.
            await exchange.send_body(body, end=True)
        return exchange

    async def ask(self, method: str, target: str, body: bytes = b"", fields: Fields | None = None) -> Answer:
        return await (await self.open(method, target, body, fields)).answer()  # type: ignore[no-any-return]

    async def lane_of(self, method: str, target: str, body: bytes = b"", fields: Fields | None = None) -> str:
        """The lane that answers."""
        head, _ = await (await self.open(method, target, body, fields)).head()
        return ("slow", "stack", "fast")[head.lane]

    def entry(self, template: str) -> Any:
        return next(entry for entry in self.table.routes if entry.template == template)


@asynccontextmanager
async def serving(tmp_path: Path, app: FastAPI, *, lanes: bool = True) -> AsyncIterator[Client]:
    link = FakeLink()
    path = str(tmp_path / f"{'fast' if lanes else 'slow'}.sock")
    await link.listen(path)
    lifespan = Lifespan(app)
    await lifespan.startup()
    table = compile_table(app, lanes=lanes)
    worker = Worker(
        app,
        WorkerSettings(target="x"),
        WorkerPlace.here(0),
        state=lifespan.state,
        table_hash=bytes(32),
        vary=table.vary,
        compiled=compiled_app(app, table.compiled),
        on_ended=lambda *_: None,
        on_recycle=lambda _: None,
    )
    await worker.attach(Ticket(pool="app", epoch=1, generation=1, token="00" * 16, socket=path))
    try:
        yield Client(link, worker, table)
    finally:
        await worker.drain(frames.GOAWAY_DRAINING, "", 1)
        await lifespan.shutdown()
        link.close()


def plain(answer: Answer) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return answer.status, list(answer.fields), answer.body
