"""A clock that every client hears once a second, as FastAPI's server-sent events and as a plain stream."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

app = FastAPI()


@app.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterator[ServerSentEvent]:
    while True:
        yield ServerSentEvent(raw_data=str(time.monotonic_ns()))
        await asyncio.sleep(1)


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"data: %d\n\n" % time.monotonic_ns()
            await asyncio.sleep(1)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}
