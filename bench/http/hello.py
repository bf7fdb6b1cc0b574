"""The smallest FastAPI app, for every server that can run one."""

from catzilla import cache
from fastapi import FastAPI, Response

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/stored")
@cache(ttl=3600)
async def stored() -> Response:
    """1 KiB that an edge may keep for an hour."""
    return Response(b"x" * 1024, headers={"Cache-Control": "public, max-age=3600"})


@app.get("/hello-def")
def hello_def() -> dict[str, str]:
    return {"message": "hello"}
