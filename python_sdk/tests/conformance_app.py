"""One app with a bit of everything that FastAPI does. Deterministic: two servers must give the same bytes."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse, RedirectResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from catzilla import (
    BackgroundTasks,
    BaseModel,
    Body,
    Catzilla,
    Cookie,
    Depends,
    Field,
    File,
    FileResponse,
    Form,
    Header,
    HTMLResponse,
    HTTPException,
    Query,
    Request,
    Response,
    StreamingResponse,
    UploadFile,
)

EVENTS: list[str] = []
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"greeting": "from lifespan", "counter": [0]}


app = Catzilla(title="Conformance", lifespan=lifespan)


class Item(BaseModel):
    name: str = Field(min_length=2)
    price: float
    tags: list[str] = Field(default_factory=list)


class Oops(Exception):
    pass


@app.exception_handler(Oops)
async def on_oops(request: Request, error: Oops) -> PlainTextResponse:
    return PlainTextResponse(f"oops at {request.url.path}", status_code=418, headers={"X-Oops": "1"})


async def context_dependency() -> AsyncIterator[str]:
    where.set("inside")
    EVENTS.append("enter")
    try:
        yield "dependency"
    finally:
        EVENTS.append("exit")


def sync_dependency() -> Iterator[int]:
    yield 7


@app.get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


@app.get("/sync")
def sync_root(number: Annotated[int, Depends(sync_dependency)]) -> dict[str, int]:
    return {"number": number}


@app.get("/items/{item_id:int}")
async def get_item(
    item_id: int, q: str | None = None, tag: Annotated[list[str], Query()] = [],  # noqa: B006
    user_agent: Annotated[str | None, Header()] = None, session: Annotated[str | None, Cookie()] = None,
) -> dict[str, Any]:  # fmt: skip
    return {"id": item_id, "q": q, "tag": tag, "agent": user_agent, "session": session}


@app.get("/users/{name}")
async def user(name: str) -> dict[str, str]:
    return {"name": name}


@app.get("/users/me")
async def never() -> None:
    raise AssertionError("the first declared wins")


@app.get("/files/{path:path}")
async def file_path(path: str) -> dict[str, str]:
    return {"path": path}


@app.get("/{name}.{extension}")
async def dotted(name: str, extension: str) -> dict[str, str]:
    return {"name": name, "extension": extension}


@app.post("/items", status_code=201)
async def create(item: Item) -> Item:
    return item


@app.put("/embed")
async def embed(item: Annotated[Item, Body(embed=True)], factor: Annotated[int, Body()]) -> dict[str, Any]:
    return {"item": item, "factor": factor}


@app.post("/form")
async def form(name: Annotated[str, Form()], size: Annotated[int, Form()] = 1) -> dict[str, Any]:
    return {"name": name, "size": size}


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()], note: Annotated[str, Form()] = "") -> dict[str, Any]:
    data = await file.read()
    return {"name": file.filename, "type": file.content_type, "size": len(data), "sum": sum(data), "note": note}


@app.post("/raw")
async def raw(request: Request) -> dict[str, Any]:
    chunks = [len(chunk) async for chunk in request.stream()]
    return {"size": sum(chunks), "length": request.headers.get("content-length")}


@app.get("/raise/{kind}")
async def raises(kind: str) -> None:
    if kind == "http":
        raise HTTPException(409, {"why": "conflict"}, headers={"X-Why": "conflict"})
    if kind == "oops":
        raise Oops
    raise RuntimeError(kind)


@app.get("/redirect")
async def redirect() -> RedirectResponse:
    return RedirectResponse("/sync", status_code=307)


@app.get("/cookies")
async def cookies(response: Response) -> dict[str, int]:
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2", path="/x")
    response.headers["X-Twice"] = "1"
    response.headers.append("X-Twice", "2")
    return {"set": 2}


@app.get("/html", response_class=HTMLResponse)
async def html() -> str:
    return "<p>é</p>"


@app.get("/nothing", status_code=204)
async def nothing() -> None:
    return None


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(20):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(numbers(), media_type="text/plain")


@app.get("/stream/sync")
def sync_stream() -> StreamingResponse:
    return StreamingResponse((b"x" * 5000 for _ in range(60)), media_type="application/octet-stream")


@app.get("/lines")
async def lines() -> AsyncIterator[Item]:
    for number in range(3):
        yield Item(name=f"item {number}", price=number)


@app.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterator[ServerSentEvent]:
    for number in range(3):
        yield ServerSentEvent(data={"n": number}, event="tick", id=str(number))


@app.get("/large")
async def large(size: int = 300_000) -> Response:
    return Response(bytes(range(256)) * (size // 256) + b"!" * (size % 256), media_type="application/octet-stream")


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__, media_type="text/x-python", filename="app.py")


@app.get("/background")
async def background(tasks: BackgroundTasks) -> dict[str, str]:
    async def later() -> None:
        await asyncio.sleep(0)
        EVENTS.append("task")

    tasks.add_task(later)
    return {"queued": "yes"}


@app.get("/dependency")
async def dependency(value: Annotated[str, Depends(context_dependency)]) -> dict[str, str]:
    return {"value": value, "where": where.get()}


@app.get("/trace")
async def trace() -> list[str]:
    seen = list(EVENTS)
    EVENTS.clear()
    return seen


@app.get("/state")
async def state(request: Request) -> dict[str, Any]:
    request.state.extra = "mine"
    return {"greeting": request.state.greeting, "keys": sorted(request.state._state)}


@app.get("/scope")
async def scope(request: Request) -> dict[str, Any]:
    raw = {k: request.scope[k] for k in ("http_version", "method", "path", "scheme", "root_path", "asgi")}
    return {
        **raw,
        "raw_path": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "client": request.scope["client"][0],
        # A request that has no id of its own gets one from the sidecar, which the app sees (A2).
        "headers": [(n.decode(), v.decode()) for n, v in request.scope["headers"] if n in (b"x-one", b"x-two")],
        "url": str(request.url.path),
    }


basic = HTTPBasic()


@app.get("/private")
def private(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> dict[str, str]:
    return {"user": credentials.username}


inner = APIRouter(prefix="/inner", dependencies=[Depends(sync_dependency)])


@inner.get("/leaf/{x}")
async def leaf(x: int) -> dict[str, int]:
    return {"x": x}


outer = APIRouter(prefix="/outer")
outer.include_router(inner)
app.include_router(outer, prefix="/api", tags=["nested"])


async def plain(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url.path} root={request.scope['root_path']}")


app.add_route("/plain", plain, methods=["GET", "POST"])
sub = FastAPI()


@sub.get("/hello")
async def sub_hello(request: Request) -> dict[str, str]:
    return {"root": request.scope["root_path"], "path": request.url.path}


app.mount("/sub", sub)
app.mount("/starlette", Starlette(routes=[Route("/x", plain), Mount("/deep", routes=[Route("/y", plain)])]))


@app.middleware("http")
async def mark(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["X-Middleware"] = "yes"
    return response


app.add_middleware(CORSMiddleware, allow_origins=["https://example.com"], allow_credentials=True)
