"""What is served in development instead of an app that does not start: why, and where that was raised."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The app does not start</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem;max-width:75rem}}h1{{font-size:1.3rem;color:#a00}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style></head>
<body><h1>{error}</h1><pre>{traceback}</pre>
<p>It is tried again as soon as a source file changes;
requests wait for that while it is being loaded.</p></body></html>
"""


class ErrorPage:
    """An ASGI app. Everything is answered 500, as a page or as text, as the client prefers."""

    def __init__(self, error: str, traceback: str) -> None:
        self._html = _PAGE.format(error=html.escape(error), traceback=html.escape(traceback)).encode()
        self._text = f"{traceback}\n{error}\n".lstrip("\n").encode()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        elif scope["type"] == "http":
            wants_html = _accepts_html(scope["headers"])
            body = self._html if wants_html else self._text
            kind = b"text/html; charset=utf-8" if wants_html else b"text/plain; charset=utf-8"
            headers = [
                (b"content-type", kind),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _accepts_html(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in headers)
