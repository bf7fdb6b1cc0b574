"""An app with as many routes as $BENCH_ROUTES says; the one that is asked for is in their middle."""

from __future__ import annotations

import os

from fastapi import FastAPI

COUNT = int(os.environ.get("BENCH_ROUTES", "10"))

app = FastAPI(openapi_url=None)


def _route(number: int) -> None:
    @app.get(f"/things{number}/{{thing_id}}")
    async def thing(thing_id: int, limit: int = 10) -> dict[str, int]:
        return {"number": number, "thing": thing_id, "limit": limit}


for _number in range(COUNT):
    _route(_number)
