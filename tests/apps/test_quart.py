"""Quart, Flask's relative: sync and async views, its own kind of streams."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor

DIFFERS = {
    "session": r"\bsession=([^;]+)",  # Signed with the time.
    "path": r'^etag="[0-9.]+-[0-9]+-([0-9]+)"',  # A sum of the folder's name.
}


def script(visitor: Visitor) -> None:
    visitor.get("/?name=%3Cb%3E")
    visitor.head("/")
    visitor.post("/sign-in", 403, {"user": "anna", "password": "wrong"})
    visitor.post("/sign-in", 303, {"user": "anna", "password": "right"})
    visitor.get("/")
    visitor.get("/sign-out")
    visitor.get("/blocking?a=1&a=%20&b=%FF&c=d;e&=x&flag")
    visitor.ask("PUT", "/blocking", 405, body=b"x")
    visitor.ask("OPTIONS", "/blocking", 200)
    visitor.upload("/upload", 201, {"note": "grün"}, {"file": bytes(range(256)) * 2000})
    visitor.post("/upload", 400, {"note": "no file"})
    visitor.ask("POST", "/body", 200, body=b"x" * 500_000)
    visitor.ask("PUT", "/body", 200, body=b"")
    visitor.get("/lines")
    visitor.head("/lines")
    visitor.get("/items/7/")
    visitor.get("/items/7", 308)
    visitor.get("/items/seven/", 404)
    visitor.get("/broken", 500)
    visitor.get("/nowhere", 404)


def files(visitor: Visitor) -> None:
    for target in ("/download", "/static/data.bin"):
        etag = visitor.get(target).header("etag") or ""
        visitor.head(target)
        visitor.get(target, 206, Range="bytes=10-19")
        visitor.get(target, 206, Range="bytes=100-")
        visitor.get(target, 416, Range="bytes=99999999-")
        visitor.get(target, 304, If_None_Match=etag)
    visitor.get("/static/site.css", 304, If_Modified_Since="Wed, 01 Jan 2031 00:00:00 GMT")
    visitor.get("/static/none.css", 404)
    visitor.get("/static/../app_under_test.py", 404)


def test_quart(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_quart", environment) as servers:
        assert_same(servers, script, DIFFERS)
        assert_same(servers, files, DIFFERS)
