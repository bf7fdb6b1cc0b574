"""Clients that do not read what an app goes on sending."""

from __future__ import annotations

import pathlib
import socket
import time

from app_process import AppProcess
from sidecar_process import metric
from waiting import eventually

APP = """
import asyncio
from catzilla import Catzilla
from fastapi.responses import StreamingResponse

app = Catzilla()

@app.get("/events")
async def events():
    async def body():
        while True:
            yield b"data: " + b"x" * 20_000 + b"\\n\\n"
            await asyncio.sleep(0.02)
    return StreamingResponse(body(), media_type="text/event-stream")
"""
CLOSED = 'catzilla_http_connections_closed_total{reason="write_timeout"}'


def test_c13_the_write_deadline_is_from_the_last_byte_that_was_taken(
    tmp_path: pathlib.Path,
) -> None:
    """However often the app has something new to send: each attempt armed it again."""
    with AppProcess(tmp_path, APP, config="limits: {write_timeout: 1s}\n") as app:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", app.port))
            client.sendall(b"GET /events HTTP/1.1\r\nHost: t\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            eventually(lambda: metric(app, CLOSED) == 1, seconds=20)
            assert time.monotonic() - began > 0.9, "not before its time"
        # The app is told, and its stream ends.
        eventually(lambda: metric(app, 'catzilla_http_connections{state="active"}') == 0)
