"""An app that brings much to memory with its import, as large libraries and tables of data do: some 45 MiB of objects."""

from __future__ import annotations

from fastapi import FastAPI

ROWS = [{"id": number, "name": f"thing {number}", "price": number / 7} for number in range(150_000)]

app = FastAPI(openapi_url=None)


@app.get("/hello")
async def hello(thing: int = 3) -> dict[str, object]:
    return ROWS[thing]
