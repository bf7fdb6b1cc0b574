"""An app with one of everything that APM tools look at, and what it is asked."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any

import fastapi
from fastapi import APIRouter, BackgroundTasks, Depends, Header, HTTPException
from pydantic import BaseModel


def _nothing(*_: Any) -> None: ...


@dataclass
class SetUp:
    """What a tool does, and when."""

    before: Callable[[], None] = _nothing  # Before the app is made...
    made: Callable[[Any], None] = _nothing  # ...before it has routes...
    after: Callable[[Any], None] = _nothing  # ...when it has all...
    startup: Callable[[Any], None] = _nothing  # ...while it starts...
    late: Callable[[], None] | None = None  # ...when it has answered for a while...
    span: Callable[[str], AbstractContextManager[Any]] = nullcontext  # ...and inside its endpoints.
    records: Callable[[], Any] = _nothing  # Of all requests, by their labels where the tool knows.
    arguments: dict[str, Any] = field(default_factory=dict)  # Of FastAPI().
    wrap: Callable[[Any], Any] = lambda app: app


def make_app(tool: SetUp) -> Any:
    tool.before()

    @asynccontextmanager
    async def lifespan(started: Any) -> AsyncIterator[None]:
        tool.startup(started)
        yield

    # Not imported by its name: a tool may have replaced it.
    app = fastapi.FastAPI(lifespan=lifespan, **tool.arguments)
    tool.made(app)
    _add_routes(app, tool)
    tool.after(app)
    return tool.wrap(app)


def _add_routes(app: fastapi.FastAPI, tool: SetUp) -> None:
    class Item(BaseModel):  # Here: tools may watch what is validated of what comes behind them.
        name: str
        price: float

    async def person(x_person: Annotated[str, Header()] = "") -> str:
        with tool.span("who is it"):
            return x_person or "nobody"

    def stock() -> Iterator[int]:
        with tool.span("stock"):
            yield 7

    @app.get("/async/{item_id}")
    async def read_async(item_id: int, who: Annotated[str, Depends(person)]) -> Any:
        with tool.span("async work"):
            return {"item": item_id, "who": who}

    @app.get("/sync/{item_id}")
    def read_sync(item_id: int, left: Annotated[int, Depends(stock)]) -> Any:
        with tool.span("sync work"):
            return {"item": item_id, "left": left}

    @app.get("/mixed/{item_id}")
    def read_mixed(item_id: int, who: Annotated[str, Depends(person)]) -> Item:
        with tool.span("mixed work"):
            return Item(name=who, price=item_id)

    @app.post("/items")
    async def create(item: Item, later: BackgroundTasks) -> Item:
        later.add_task(_nothing, item)
        return item

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPException(418, "no coffee")

    @app.get("/unavailable")
    def unavailable() -> None:
        raise HTTPException(503, "come back")

    @app.get("/failing")
    async def failing(who: Annotated[str, Depends(person)]) -> None:
        raise ValueError(f"async, {who}")

    @app.get("/sync-failing")
    def sync_failing() -> None:
        raise ValueError("sync")

    router = APIRouter(prefix="/api")

    @router.get("/things/{thing}")
    async def read_thing(thing: str) -> Any:
        return [thing]

    @router.get("/sync-things/{thing}")
    def read_sync_thing(thing: str) -> Any:
        if thing == "none":
            raise KeyError(thing)
        return [thing]

    app.include_router(router, prefix="/v1")


@dataclass(frozen=True)
class Asked:
    label: str
    method: str
    target: str
    trace: str  # Its trace's id, sent along; empty: none.
    body: bytes = b""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        sent = [(b"x-person", b"anna"), (b"user-agent", b"tests")]
        if self.body:
            sent += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self.body)).encode()),
            ]
        if self.trace:
            sent.append((b"traceparent", f"00-{self.trace}-{'a' * 16}-01".encode()))
            sent.append((b"sentry-trace", f"{self.trace}-{'a' * 16}-1".encode()))
        return sent


_TARGETS: tuple[tuple[str, str, bytes], ...] = (
    ("GET", "/async/1?q=x", b""),
    ("GET", "/async/none", b""),
    ("GET", "/sync/2", b""),
    ("GET", "/mixed/3", b""),
    ("POST", "/items", b'{"name": "tea", "price": 2.5}'),
    ("POST", "/items", b'{"name": "tea"}'),
    ("GET", "/refused", b""),
    ("GET", "/unavailable", b""),
    ("GET", "/failing", b""),
    ("GET", "/sync-failing", b""),
    ("GET", "/v1/api/things/here", b""),
    ("GET", "/v1/api/sync-things/here", b""),
    ("GET", "/v1/api/sync-things/none", b""),
    ("GET", "/nowhere", b""),
    ("POST", "/refused", b""),
)


def asked(turn: int, *, traced: bool = True) -> list[Asked]:
    """Every target once; other traces in every turn."""
    return [
        Asked(
            f"{turn}.{index}: {method} {target}",
            method,
            target,
            f"{(turn << 16) + index + 1:032x}" if traced else "",
            body,
        )
        for index, (method, target, body) in enumerate(_TARGETS)
    ]
