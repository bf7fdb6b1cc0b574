"""The FastAPI app of `./dev bench app`: what apps are made of, each in `async def` and in `def`.

`app` has the routes, `stacked` is a hello below one pure ASGI middleware, `raw` is no FastAPI at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Annotated, Any

from app_data import PRODUCTS, SLEEP_SECONDS, Order, Product, file_path, must_sleep, total
from fastapi import Depends, FastAPI, Header, Query
from fastapi.responses import FileResponse

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/hello-def")
def hello_def() -> dict[str, str]:
    return {"message": "hello"}


# As many write it: without a declared answer, which FastAPI encodes in another way.
@app.get("/bare", response_model=None)
async def bare() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/bare-def", response_model=None)
def bare_def() -> dict[str, str]:
    return {"message": "hello"}


Q = Annotated[str, Query(min_length=1, max_length=50)]
Limit = Annotated[int, Query(ge=1, le=100)]
Token = Annotated[str, Header(alias="X-Token")]


@app.get("/params/{item_id}")
async def params(item_id: int, q: Q, x_token: Token, limit: Limit = 10) -> dict[str, Any]:
    return {"item_id": item_id, "q": q, "limit": limit, "token": x_token}


@app.get("/params-def/{item_id}")
def params_def(item_id: int, q: Q, x_token: Token, limit: Limit = 10) -> dict[str, Any]:
    return {"item_id": item_id, "q": q, "limit": limit, "token": x_token}


@app.post("/body")
async def body(order: Order) -> dict[str, Any]:
    return total(order)


@app.post("/body-def")
def body_def(order: Order) -> dict[str, Any]:
    return total(order)


FILE = file_path()


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(FILE)


@app.get("/file-def")
def file_def() -> FileResponse:
    return FileResponse(FILE)


class Session:
    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.open = True

    def close(self) -> None:
        self.open = False


async def tenant() -> str:
    return "acme"


def tenant_def() -> str:
    return "acme"


async def session(tenant: Annotated[str, Depends(tenant)]) -> AsyncIterator[Session]:
    opened = Session(tenant)
    try:
        yield opened
    finally:
        opened.close()


def session_def(tenant: Annotated[str, Depends(tenant_def)]) -> Iterator[Session]:
    opened = Session(tenant)
    try:
        yield opened
    finally:
        opened.close()


async def session_mixed(tenant: Annotated[str, Depends(tenant_def)]) -> AsyncIterator[Session]:
    opened = Session(tenant)
    try:
        yield opened
    finally:
        opened.close()


async def user(session: Annotated[Session, Depends(session)]) -> dict[str, str]:
    return {"user": "ada", "tenant": session.tenant}


def user_def(session: Annotated[Session, Depends(session_def)]) -> dict[str, str]:
    return {"user": "ada", "tenant": session.tenant}


def user_mixed(session: Annotated[Session, Depends(session_mixed)]) -> dict[str, str]:
    return {"user": "ada", "tenant": session.tenant}


@app.get("/deps")
async def deps(user: Annotated[dict[str, str], Depends(user)]) -> dict[str, str]:
    return user


@app.get("/deps-def")
def deps_def(user: Annotated[dict[str, str], Depends(user_def)]) -> dict[str, str]:
    return user


@app.get("/deps-mixed")
async def deps_mixed(user: Annotated[dict[str, str], Depends(user_mixed)]) -> dict[str, str]:
    return user


@app.get("/models", response_model=list[Product])
async def models() -> list[Product]:
    return PRODUCTS


@app.get("/models-def", response_model=list[Product])
def models_def() -> list[Product]:
    return PRODUCTS


@app.get("/sometimes")
async def sometimes() -> dict[str, str]:
    if must_sleep():
        await asyncio.sleep(SLEEP_SECONDS)
    return {"message": "hello"}


@app.get("/sometimes-def")
def sometimes_def() -> dict[str, str]:
    if must_sleep():
        time.sleep(SLEEP_SECONDS)
    return {"message": "hello"}


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


class Tagged:
    """One pure ASGI middleware: a field in each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-tag", b"1"))
            await send(message)

        await self.app(scope, receive, tagged if scope["type"] == "http" else send)


stacked = FastAPI()
stacked.add_middleware(Tagged)
stacked.get("/hello")(hello)
stacked.get("/hello-def")(hello_def)


async def raw(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    fields = [(b"content-type", b"application/json"), (b"content-length", b"19")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b'{"message":"hello"}'})
