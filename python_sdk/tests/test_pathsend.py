"""Files as answers: who is offered `http.response.pathsend`, what becomes of it, and trailers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from catzilla import Catzilla
from catzilla._worker import _wire as wire
from catzilla._worker._files import FileFrame, open_file
from catzilla._worker._offers import extensions_for, takes_pathsend
from catzilla._worker._protocol import LaneProtocol, Stream


def endpoint() -> None: ...


class Foreign:
    """Somebody's middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def plain(scope: Any, receive: Any, send: Any) -> None: ...


def with_middleware(*kinds: Any) -> FastAPI:
    app = FastAPI()
    for kind in kinds:
        app.add_middleware(kind)
    return app


def mounting(inner: Any) -> FastAPI:
    app = FastAPI()
    app.mount("/inner", inner)
    return app


def including(route: Route) -> FastAPI:
    router = APIRouter()
    router.routes.append(route)
    app = FastAPI()
    app.include_router(router)
    return app


GZIPPED = Route("/z", endpoint, middleware=[Middleware(GZipMiddleware)])
TAKES: dict[str, tuple[Any, bool]] = {
    "FastAPI": (FastAPI(), True),
    "ours": (Catzilla(), True),
    "with CORS and hosts": (with_middleware(CORSMiddleware, TrustedHostMiddleware), True),
    "with GZip": (with_middleware(CORSMiddleware, GZipMiddleware), False),
    "with a function as middleware": (with_middleware(BaseHTTPMiddleware), False),
    "with somebody's": (with_middleware(Foreign), False),
    "wrapped in somebody's": (Foreign(FastAPI()), False),
    "wrapped in CORS": (CORSMiddleware(FastAPI()), True),
    "mounting another": (mounting(FastAPI()), True),
    "mounting files": (mounting(StaticFiles(directory="/")), True),
    "mounting one with GZip": (mounting(with_middleware(GZipMiddleware)), False),
    "mounting what nobody knows": (mounting(plain), False),
    "with a route behind GZip": (Starlette(routes=[GZIPPED]), False),
    "with one that is included": (including(GZIPPED), False),
    "with a router behind GZip": (Starlette(routes=[Mount("/", routes=[Route("/x", endpoint), GZIPPED])]), False),
    "with routers": (Starlette(routes=[Mount("/", app=Router([Route("/x", endpoint)]))]), True),
    "a function": (plain, False),
}


@pytest.mark.parametrize("name", TAKES)
def test_it_is_offered_where_nothing_could_mistake_it(name: str) -> None:
    app, takes = TAKES[name]
    assert takes_pathsend(app) is takes
    assert ("http.response.pathsend" in extensions_for(app)) is takes
    assert ("http.response.debug" in extensions_for(app, debug=True)) is takes
    assert "http.response.debug" not in extensions_for(app)


def test_the_operator_knows_better() -> None:
    assert "http.response.pathsend" in extensions_for(plain, pathsend="on")
    assert "http.response.pathsend" not in extensions_for(FastAPI(), pathsend="off")


def test_small_files_are_read_and_large_ones_are_passed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert open_file(path, 100) == (None, 100, b"x" * 100)
    file, size, body = open_file(path, 99)
    assert file is not None
    with file:
        assert (size, body, file.read()) == (100, b"", b"x" * 100)


def test_what_is_no_file_is_not_sent(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(RuntimeError, match="no regular file"):
        open_file(fifo, 10)  # And nobody waits for a writer.
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path, 10)
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none", 10)


def lane_with_stream() -> tuple[LaneProtocol, Stream]:
    lane = LaneProtocol.__new__(LaneProtocol)
    lane.streams, lane._out, lane._held, lane.files, lane._unreturned = {}, [], [], 0, 0
    stream = lane.streams[5] = Stream(5, b"", wire.FLAG_END, 0)
    return lane, stream


def test_a_files_frame_stands_where_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    lane, stream = lane_with_stream()
    file, size, _ = open_file(path, 0)
    assert file is not None
    lane._out.append(b"before")
    lane.sendfile(stream, file, size)
    stream.settled = True
    assert lane.files == 1
    [(data, passed)] = lane.take_parts()
    assert passed is file
    assert data.startswith(b"before")
    assert len(data) == 6 + wire.HEADER_BYTES + 16
    assert (lane.files, lane.streams) == (0, {})
    file.close()


def test_a_file_that_nobody_takes_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    for lose in (True, False):
        lane, stream = lane_with_stream()
        file, size, _ = open_file(path, 0)
        assert file is not None
        stream.cancelled = not lose
        lane.sendfile(stream, file, size)
        lane.drop_files()
        assert file.closed


def test_a_files_frame_is_bytes() -> None:
    assert FileFrame(b"x") == b"x"
