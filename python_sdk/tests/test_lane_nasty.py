"""What a path operation may do to its worker: defined, equal in all lanes, and nobody else notices (S3)."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fake_link import StreamFailed
from fastapi import Depends, FastAPI, HTTPException
from lane_harness import Client, plain, serving
from starlette.responses import Response
from test_lanes import Pure
from test_nasty_apps import Forger, Mute, MuteExit, NoText, Surrogate
from worker_harness import run, wait_for


class Itself:
    def __init__(self) -> None:
        self.me = self


class Lies(Response):
    """A response that says what it is not."""

    status_code: Any = "200"


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def refuse(error: BaseException) -> Any:
    raise error


def deep(levels: int) -> Any:
    return deep(levels + 1)


DEEDS: dict[str, Any] = {
    "object": object,
    "itself": Itself,
    "endless": endless,
    "recursion": lambda: deep(0),
    "exit": lambda: sys.exit(3),
    "mute": lambda: refuse(Mute()),
    "mute-exit": lambda: refuse(MuteExit()),
    "no-text": lambda: refuse(NoText()),
    "surrogate": lambda: refuse(Surrogate()),
    "forger": lambda: refuse(Forger()),
    "stop": lambda: refuse(StopIteration(1)),
    "stop-async": lambda: refuse(StopAsyncIteration()),
    "generator-exit": lambda: refuse(GeneratorExit()),
    "interrupt": lambda: refuse(KeyboardInterrupt()),
    "no-status": lambda: refuse(HTTPException(status_code=999)),
    "bad-field": lambda: refuse(HTTPException(400, headers={"a": "b\r\nc: d"})),
    "lone": lambda: {"text": "\ud800"},
    "bad-status": lambda: Lies(b""),
    "no-body": lambda: vars_of(Response(b"x"), body=None),
    "bad-name": lambda: vars_of(Response(b"x"), raw_headers=[(b"a b", b"c")]),
    "text-headers": lambda: vars_of(Response(b"x"), raw_headers=[("a", "b")]),
    "prints": lambda: print("noise"),
    "keys": lambda: {(1, 2): 3},
    "exhausted": lambda: iter(()),
}


def vars_of(response: Response, **values: Any) -> Response:
    vars(response).update(values)
    return response


def closes_badly() -> Iterator[int]:
    try:
        yield 1
    finally:
        raise Mute


def never_yields() -> Iterator[int]:
    yield from ()


def yields_twice() -> Iterator[int]:
    yield 1
    yield 2


def make(behind_middleware: bool) -> FastAPI:
    app = FastAPI()
    if behind_middleware:
        app.add_middleware(Pure)

    @app.get("/async/{deed}")
    async def on_the_loop(deed: str) -> Any:
        return DEEDS[deed]()

    @app.get("/def/{deed}")
    def on_a_thread(deed: str) -> Any:
        return DEEDS[deed]()

    for depends in (closes_badly, never_yields, yields_twice):

        def on_thread(v: Annotated[int, Depends(depends)]) -> Any:
            return v

        async def on_loop(v: Annotated[int, Depends(depends)]) -> Any:
            return v

        app.get(f"/{depends.__name__}/def")(on_thread)
        app.get(f"/{depends.__name__}/async")(on_loop)

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    return app


PATHS = [
    *(f"/{kind}/{deed}" for kind in ("async", "def") for deed in DEEDS),
    *(f"/{name}/{kind}" for name in ("closes_badly", "never_yields", "yields_twice") for kind in ("async", "def")),
]


async def outcome(client: Client, path: str) -> Any:
    try:
        return plain(await client.ask("GET", path))
    except StreamFailed as failure:
        return f"END({failure.code})"


@pytest.fixture(autouse=True)
def without_output(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A lone surrogate in a captured log is nothing that a test's report can carry."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    caplog.clear()


@pytest.mark.parametrize("behind_middleware", [False, True])
def test_s3_nasty_path_operations_end_alike_in_all_lanes(tmp_path: Path, behind_middleware: bool) -> None:
    outcomes: list[dict[str, Any]] = []

    async def main(lanes: bool) -> None:
        async with serving(tmp_path, make(behind_middleware), lanes=lanes) as client:
            outcomes.append({path: await outcome(client, path) for path in PATHS})
            assert (await client.ask("GET", "/fine")).json() == "fine"
            await wait_for(lambda: client.worker.active == 0)

    run(main(False))
    run(main(True))
    genuine, compiled = outcomes
    differing = {path: (genuine[path], compiled[path]) for path in PATHS if genuine[path] != compiled[path]}
    assert not differing
