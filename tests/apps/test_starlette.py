"""Starlette without FastAPI, as its own manual shows it."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor

DIFFERS = {
    "session": r"\bsession=([^;]+)",  # Signed with the time.
    "boundary": r"boundary=([0-9a-f]{26})",  # Of a multipart answer, random...
    "part": r"\r\n--([0-9a-f]{26})\b",  # ...and in its body.
    "first": r"^--([0-9a-f]{26})\b",
}


def script(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.get("/?name=%3Cb%3E&name=2&=x&flag")
    visitor.head("/")
    visitor.get("/me", 307)
    visitor.post("/sign-in", 403, {"user": "anna", "password": "wrong"})
    visitor.post("/sign-in", 303, {"user": "anna", "password": "right"})
    visitor.get("/me?a=1&a=%20&b=%FF&c=d;e")
    visitor.get("/sign-out")
    visitor.upload("/take", 201, {"note": "grün"}, {"file": bytes(range(256)) * 2000})
    visitor.post("/take", 500, {"note": "no file"})
    visitor.get("/blocking")
    visitor.ask("PUT", "/blocking", 200, body=b"")
    visitor.ask("DELETE", "/blocking", 405)
    visitor.ask("OPTIONS", "/", 405)
    visitor.get("/numbers")
    visitor.get("/numbers", Accept_Encoding="gzip")
    visitor.head("/numbers")
    visitor.get("/numbers-blocking")
    visitor.get("/broken", 500)
    visitor.get("/nowhere", 404)
    visitor.get("/things/7")
    visitor.get("/things/seven", 404)
    visitor.get("/things/7/", 307)
    visitor.ask("DELETE", "/things/7", 204)
    visitor.ask("PATCH", "/things/7", 405)


def files(visitor: Visitor) -> None:
    for target in ("/file", "/static/data.bin", "/static/site.css"):
        etag = visitor.get(target).header("etag") or ""
        visitor.head(target)
        visitor.get(target, 206, Range="bytes=10-19")
        visitor.get(target, 206, Range="bytes=-5")
        visitor.get(target, 206, Range="bytes=0-0, 100-199")
        visitor.get(target, 416, Range="bytes=99999999-")
        visitor.get(target, 400, Range="lines=1-2")
        visitor.get(target, 206, Range="bytes=5-9", If_Range=etag)
        visitor.get(target, 200, Range="bytes=5-9", If_Range='"other"')
        visitor.get(target, 304 if "static" in target else 200, If_None_Match=etag)
    visitor.get("/static/site.css", Accept_Encoding="gzip")
    visitor.get("/static/site.css", 304, If_Modified_Since="Wed, 01 Jan 2031 00:00:00 GMT")
    visitor.get("/static/", 200)
    visitor.get("/static", 307)
    visitor.get("/static/none.css", 404)
    visitor.get("/static/../app_under_test.py", 404)
    visitor.ask("POST", "/static/site.css", 405, body=b"x")


def test_starlette(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_starlette", environment) as servers:
        assert_same(servers, script, DIFFERS)
        assert_same(servers, files, DIFFERS)
