"""python-socketio, its long polling: many small requests that wait, in front of an app."""

from __future__ import annotations

from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=["https://shop.example"])


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
    if auth == {"token": "wrong"}:
        raise ConnectionRefusedError(
            "wrong token"
        )  # Python's own: it tells the client nothing of it.
    await server.save_session(sid, {"path": environ["PATH_INFO"], "query": environ["QUERY_STRING"]})


@server.event
async def echo(sid: str, *words: Any) -> Any:
    await server.emit("echoed", words, to=sid)
    return "done", len(words)


@server.event
async def shout(_: str, word: str) -> None:
    await server.emit("shouted", word.upper())


@server.event
async def session(sid: str) -> Any:
    return (await server.get_session(sid))["path"]


async def home(_: Request) -> Response:
    return PlainTextResponse("home")


app = socketio.ASGIApp(
    server, Starlette(routes=[Route("/", home)]), static_files={"/note.txt": "note.txt"}
)


def prepare() -> None:
    with open("note.txt", "w") as file:
        file.write("a note")
