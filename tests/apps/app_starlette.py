"""Plain Starlette: sessions, templates, files with ranges, compression, streams, uploads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from jinja2 import DictLoader, Environment
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

WHEN = 1_760_000_000
PAGE = "<!doctype html><title>{{ title }}</title><p>{{ visits }} visits of {{ name }}</p>"
templates = Jinja2Templates(
    env=Environment(loader=DictLoader({"page.html": PAGE}), autoescape=True)
)


def prepare() -> None:
    """The files that are served, of equal times."""
    public = Path("public")
    public.mkdir()
    (public / "site.css").write_text("body { color: teal }\n" * 100)
    (public / "index.html").write_text("<h1>Static</h1>")
    (public / "data.bin").write_bytes(bytes(range(256)) * 1000)
    for file in public.iterdir():
        os.utime(file, (WHEN, WHEN))


async def page(request: Request) -> Response:
    visits = request.session["visits"] = request.session.get("visits", 0) + 1
    shown = {"title": "Home & more", "visits": visits, "name": request.query_params.get("name")}
    return templates.TemplateResponse(request, "page.html", shown)


async def sign_in(request: Request) -> Response:
    async with request.form() as form:
        if form.get("password") != "right":
            raise HTTPException(403, "wrong password")
        request.session["user"] = str(form["user"])
    return RedirectResponse("/me", status_code=303)


async def me(request: Request) -> Response:
    if "user" not in request.session:
        return RedirectResponse("/?next=/me")
    return JSONResponse(
        {"user": request.session["user"], "query": request.query_params.multi_items()}
    )


async def sign_out(request: Request) -> Response:
    request.session.clear()
    answer = PlainTextResponse("bye")
    answer.set_cookie("seen", "yes", max_age=60, httponly=True, samesite="strict")
    answer.delete_cookie("other", path="/me")
    return answer


async def take(request: Request) -> Response:
    async with request.form(max_files=3) as form:
        file = form["file"]
        assert not isinstance(file, str)
        content = await file.read()
        told = {"name": file.filename, "type": file.content_type, "bytes": len(content)}
        told["sum"] = hashlib.sha256(content).hexdigest()
        return JSONResponse({**told, "note": form.get("note")}, status_code=201)


def blocking(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url} {request.url_for('page')}")


async def numbers(_: Request) -> Response:
    async def each() -> AsyncIterator[str]:
        for number in range(20):
            yield f"{number}\n"

    return StreamingResponse(each(), media_type="text/plain", headers={"x-kind": "stream"})


def numbers_blocking(_: Request) -> Response:
    def each() -> Iterator[bytes]:
        for number in range(2000):
            yield b"%d\n" % number

    return StreamingResponse(each(), headers={"content-disposition": "attachment; filename=n.txt"})


async def broken(_: Request) -> Response:
    raise ZeroDivisionError("broken")


async def file(_: Request) -> Response:
    return FileResponse("public/data.bin", filename="dätä.bin")


class Thing(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse(f"thing {request.path_params['id']}")

    async def delete(self, _: Request) -> Response:
        return Response(status_code=204)


async def not_found(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": getattr(error, "detail", "")}, status_code=404)


app = Starlette(
    routes=[
        Route("/", page, name="page"),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/me", me),
        Route("/sign-out", sign_out),
        Route("/take", take, methods=["POST"]),
        Route("/blocking", blocking, methods=["GET", "PUT"]),
        Route("/numbers", numbers),
        Route("/numbers-blocking", numbers_blocking),
        Route("/broken", broken),
        Route("/file", file),
        Route("/things/{id:int}", Thing),
        Mount(
            "/static", StaticFiles(directory="public", html=True, check_dir=False), name="static"
        ),
    ],
    middleware=[
        Middleware(SessionMiddleware, secret_key="a secret of the tests"),
        Middleware(GZipMiddleware, minimum_size=500),
    ],
    exception_handlers={404: not_found},
)
