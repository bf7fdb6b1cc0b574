"""Litestar: validation, sessions, templates, static files, streams, events, uploads, its own OpenAPI."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, Request, Response, delete, get, post, put, route
from litestar.config.compression import CompressionConfig
from litestar.contrib.jinja import JinjaTemplateEngine
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import Body
from litestar.response import File, Redirect, ServerSentEvent, Stream, Template
from litestar.static_files import create_static_files_router
from litestar.stores.memory import MemoryStore
from litestar.template.config import TemplateConfig

WHEN = 1_760_000_000
PAGE = "<!doctype html><title>{{ title }}</title><p>{{ visits }} visits of {{ name }}</p>"


def prepare() -> None:
    public = Path("public")
    public.mkdir()
    (public / "site.css").write_text("body { color: teal }\n" * 100)
    (public / "index.html").write_text("<h1>Static</h1>")
    for file in public.iterdir():
        os.utime(file, (WHEN, WHEN))


@dataclass
class Item:
    name: str
    price: float
    tags: list[str]


@get("/", sync_to_thread=False)
def page(request: Request[Any, Any, Any], name: str = "nobody") -> Template:
    visits = request.session.get("visits", 0) + 1
    request.set_session({**request.session, "visits": visits})
    shown = {"title": "Home & more", "visits": visits, "name": name}
    return Template(template_str=PAGE, context=shown, media_type="text/html")


@get("/items/{number:int}")
async def read_item(number: int, tag: list[str] | None = None) -> Item:
    if number > 9:
        raise NotFoundException(f"no item {number}")
    return Item(name=f"item {number}", price=number / 3, tags=tag or [])


@post("/items")
async def create_item(data: Item) -> Item:
    return data


@put("/items/{number:int}", sync_to_thread=True)
def replace_item(number: int, data: Item) -> dict[str, Any]:
    return {"number": number, "name": data.name}


@delete("/items/{number:int}")
async def remove_item(number: int) -> None: ...


@post("/form")
async def form(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    return Redirect(f"/?name={data['name']}", status_code=303)


@post("/upload")
async def upload(
    data: Annotated[UploadFile, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, Any]:
    content = await data.read()
    told = {"name": data.filename, "type": data.content_type, "bytes": len(content)}
    return {**told, "sum": hashlib.sha256(content).hexdigest()}


@get("/lines")
async def lines() -> Stream:
    async def each() -> AsyncIterator[str]:
        for number in range(50):
            yield f"{number}\n"

    return Stream(each(), media_type="text/plain", headers={"x-kind": "stream"})


@get("/events")
async def events() -> ServerSentEvent:
    async def each() -> AsyncIterator[str]:
        for number in range(5):
            yield f"tick {number}"

    return ServerSentEvent(each(), event_type="tick", event_id=7)


@get("/download", sync_to_thread=True)
def download() -> File:
    return File("public/site.css", filename="dätä.css", etag=None)


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    answer = Response(dict(request.cookies))
    answer.set_cookie("seen", "yes", max_age=60, httponly=True, samesite="strict")
    answer.delete_cookie("other", path="/me")
    return answer


@get("/private")
async def private() -> None:
    raise NotAuthorizedException("sign in")


@get("/broken")
async def broken() -> None:
    raise ZeroDivisionError("broken")


@route("/any", http_method=["GET", "POST", "PATCH"], status_code=202)
async def several(request: Request[Any, Any, Any]) -> str:
    return f"{request.method} {request.url} {request.query_params.dict()}"


app = Litestar(
    route_handlers=[
        *(page, read_item, create_item, replace_item, remove_item, form, upload, lines, events),
        *(download, cookies, private, broken, several),
        create_static_files_router("/static", ["public"], html_mode=True),
    ],
    middleware=[ServerSideSessionConfig(samesite="strict").middleware],
    stores={"sessions": MemoryStore()},
    template_config=TemplateConfig(directory=Path("public"), engine=JinjaTemplateEngine),
    compression_config=CompressionConfig(backend="gzip", minimum_size=500),
)
