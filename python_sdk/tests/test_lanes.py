"""The compiled lanes answer as the genuine app does: status, fields and body, byte for byte."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import lanes_app
import pytest
from fake_link import StreamFailed
from fastapi import FastAPI
from lane_harness import JSON, Client, Fields, plain, serving
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

ITEM = b'{"name": "ab", "price": 3, "tags": ["x"], "when": "2026-01-02T03:04:05Z", "secret": "s"}'
AUTH: Fields = [(b"authorization", b"Bearer abc")]
KEY: Fields = [(b"x-key", b"secret")]

REQUESTS: list[tuple[str, str, bytes, Fields]] = [
    *(("GET", f"/{kind}/items/{rest}", b"", fields) for kind in ("async", "def") for rest, fields in [
        ("5", []), ("0", []), ("x", []), ("5?q=", []), ("5?q=a%20b+c&q=last", []), ("5?tag=1&tag=2&ids=3&ids=3", []),
        ("5?ids=x", []), ("5?short=1&colour=red", []), ("5?colour=blue", []), ("5?q=%FF", []), ("5?q=%C3%A9", []),
        ("5", [(b"user-agent", b"me"), (b"x-many", b"1"), (b"x-many", b"2"), (b"raw_name", b"r")]),
        ("5", [(b"user-agent", "é".encode("latin-1")), (b"user-agent", b"second")]),
        ("5", [(b"cookie", b"session=a; other=b"), (b"cookie", b"session=c")]),
        ("5", [(b"cookie", b'session="a\\054b"')]),
        *(("5", [(b"cookie", cookie)]) for cookie in (b"session=\xa0a\x85", b"\x85session\xa0=b;", b"session=\xa0")),
        ("%35", []), ("99999999999999999999999", []),
    ]),
    *(("GET", f"/models{query}", b"", fields) for query in (
        "", "?limit=5&order_by=b&tags=x&tags=y", "?limit=500&order_by=c", "?unknown=1", "?tags=",
    ) for fields in ([], [(b"x-many", b"1"), (b"x-many", b"2"), (b"save-data", b"on")], [(b"save-data", b"?")])),
    *(("GET", f"/models/cookies?q={q}", b"", [(b"cookie", cookie)]) for q, cookie in (
        ("a", b"session=x; other=3"), ("b", b"other=x"), ("c", b'session="a b"; session=c'),
    )),
    ("GET", "/paths/a/b%2Fc//d", b"", []),
    ("GET", "/paths/", b"", []),
    ("GET", "/kinds?u=12345678123456781234567812345678&d=2026-01-02", b"", []),
    ("GET", "/kinds?u=1&d=2026-13-02&n=x", b"", []),
    *((method, path, body, fields) for method, path in [
        ("POST", "/body"), ("POST", "/body-def"), ("POST", "/body-def?dry=1"), ("PUT", "/embedded"),
        ("POST", "/maybe"), ("POST", "/anything"), ("POST", "/list"), ("POST", "/point"),
    ] for body, fields in [
        (ITEM, JSON), (b'{"item": ' + ITEM + b"}", JSON), (b"[" + ITEM + b"]", JSON), (b'{"x": 1, "y": 2}', JSON),
        (ITEM, []), (ITEM, [(b"content-type", b"text/plain")]), (b"", JSON), (b"null", JSON), (b'"text"', JSON),
        (ITEM, [(b"content-type", b"application/vnd.x+json; charset=utf-8")]), (b'{"name": "a"', JSON),
        (b'{"name": "\\ud800x", "price": 1}', JSON), (b'\xef\xbb\xbf{"name": "ab", "price": 1}', JSON),
        (b'{"name": "ab", "price": NaN}', JSON), (b'{"name": "ab", "price": 1, "name": "cd"}', JSON),
        (b'{"name": "\xff", "price": 1}', JSON), (b'{"name": 3, "price": "4"}', JSON),
    ]),
    *(("PUT", "/several", body, JSON) for body in [
        b'{"item": ' + ITEM + b', "factor": 3}', b'{"item": ' + ITEM + b', "factor": "3", "note": null}', b"[1]",
        b'{"factor": 3}', b"",
    ]),
    ("GET", "/none", b"", []), ("DELETE", "/nothing", b"", []),
    *(("GET", f"/untyped/{what}", b"", []) for what in [
        "sa", "nan", "keys", "enum", "model", "when", "bytes", "set", "deep", "decimal", "text", "object", "missing",
    ]),
    *(("GET", f"/response/{what}", b"", []) for what in [
        "plain", "redirect", "html", "empty", "cookie", "stream", "background", "big", "bad",
    ]),
    ("GET", "/stream-def", b"", []), ("GET", "/html", b"", []), ("GET", "/out", b"", []), ("GET", "/by-name", b"", []),
    *(("GET", f"/with-response{query}", b"", []) for query in ("", "?code=202", "?code=204", "?code=x")),
    ("GET", "/with-request/a%20b?c=d", b"", [(b"x-a", b"1")]),
    ("POST", "/reads-itself", b"12345", []),
    *(("GET", f"/dep/{what}", b"", []) for what in [
        "def", "def?q=5", "def?q=x", "async", "async?name=n&limit=2&offset=x", "async?limit=3", "mixed", "mixed?q=9",
        "trail", "cache", "early", "early-def", "raise", "raise-def", "swallow",
    ]),
    *(("GET", path, b"", []) for what in (
        "async", "async?fail=1", "async?plain=1", "async?plain=x", "def", "def?fail=1",
        "solve", "solve?q=x",
    ) for path in (f"/stacks/{what}", "/log")),
    *(("GET", path, b"", fields) for path in ("/user", "/user-def", "/basic") for fields in (
        [], AUTH, [(b"authorization", b"Basic YTpi")], [(b"authorization", b"Basic !")],
    )),
    *(("GET", f"/fail/{what}", b"", []) for what in [
        "http", "http-def", "teapot/x", "boom", "answer", "late",
    ]),
    *(("GET", f"/v1/outer/inner/thing/{n}", b"", fields) for n in ("4", "x") for fields in (
        [], KEY, [(b"x-key", b"no")],
    )),
    *(("GET", f"/checked/{what}", b"", []) for what in [
        "async", "async?q=bad", "async?a=bad&q=y", "async?a=bad&q=bad", "def", "def?q=a", "def?q=bad&n=x",
        "def?q=a&n=4", "tree", "tree?q=a&n=1", "tree?q=bad&n=x&b=y&a=bad", "tree?q=a&n=1&b=x", "tree?q=a&n=1&a=bad",
    ]),
    *(("POST", f"/checked/{what}", body, JSON) for what in ("body", "body?q=x", "several") for body in [
        b'{"name": "n"}', b'{"name": "bad"}', b'{"name": "worse"}', b'{"size": 3}', b"", b"[1]", b'{"name": "n',
        b"null", b'{"item": {"name": "n"}, "other": "o"}', b'{"item": {"name": "bad"}, "other": "bad", "n": "x"}',
    ]),
    *(("GET", f"/tasks/{what}", b"", []) for what in ("async", "async?run=0", "def", "def?plain=1")),
    ("GET", "/nowhere", b"", []), ("POST", "/none", b"", []), ("HEAD", "/none", b"", []),
    ("GET", "/log", b"", []),
]  # fmt: skip


class Pure:
    """Adds a field to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-pure", b"1")]
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


class Other(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["x-other"] = "2"
        return answer


def bare() -> FastAPI:
    return lanes_app.make()


def behind_middleware() -> FastAPI:
    app = lanes_app.make()
    app.add_middleware(Pure)
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(Other)
    app.add_middleware(GZipMiddleware, minimum_size=10_000)
    return app


async def answer_of(client: Client, request: tuple[str, str, bytes, Fields]) -> Any:
    exchange = await client.open(*request)
    try:
        answer = plain(await exchange.answer())
        if exchange.detached:  # What is torn down behind one answer is told by the next.
            await exchange.credited.wait()
        return answer
    except StreamFailed as failure:
        return failure.code, str(failure)


@pytest.mark.parametrize("make", [bare, behind_middleware])
def test_every_lane_answers_the_same(tmp_path: Path, make: Any) -> None:
    async def all_answers(lanes: bool) -> list[Any]:
        async with serving(tmp_path, make(), lanes=lanes) as client:
            return [await answer_of(client, request) for request in REQUESTS]

    slow = asyncio.run(all_answers(False))
    fast = asyncio.run(all_answers(True))
    differing = [(request, a, b) for request, a, b in zip(REQUESTS, slow, fast, strict=True) if a != b]
    assert not differing, differing[0]


@pytest.mark.parametrize(("make", "lane"), [(bare, "fast"), (behind_middleware, "stack")])
def test_what_can_be_compiled_is(tmp_path: Path, make: Any, lane: str) -> None:
    """Otherwise the differential would compare the genuine app with itself."""

    async def main() -> None:
        async with serving(tmp_path, make()) as client:
            for request in [
                ("GET", "/async/items/5?q=a&tag=1", b"", []),
                ("GET", "/def/items/5", b"", [(b"cookie", b"session=a")]),
                ("POST", "/body", ITEM, JSON),
                ("PUT", "/several", b'{"item": ' + ITEM + b', "factor": 3}', JSON),
                ("GET", "/dep/mixed", b"", []),
                ("GET", "/dep/def", b"", []),
                ("GET", "/user", b"", AUTH),
                ("GET", "/v1/outer/inner/thing/4", b"", KEY),
                ("GET", "/response/plain", b"", []),
                ("DELETE", "/nothing", b"", []),
                ("GET", "/checked/tree?q=a&n=1", b"", []),
                ("POST", "/checked/several", b'{"item": {"name": "n"}, "other": "o"}', JSON),
                ("GET", "/tasks/async?run=0", b"", []),
                ("GET", "/stacks/async", b"", []),
                ("GET", "/stacks/def", b"", []),
                ("GET", "/stacks/solve", b"", []),
                ("GET", "/models?limit=5", b"", [(b"x-many", b"1")]),
            ]:
                assert await client.lane_of(*request) == lane, request
            assert await client.lane_of("GET", "/async/items/x") == "slow"  # 422 is FastAPI's own.

    asyncio.run(main())
