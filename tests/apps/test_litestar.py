"""Litestar's handlers, sync and async."""

from __future__ import annotations

import json
from pathlib import Path

from both import assert_same, both
from visitor import Visitor

DIFFERS = {
    "session": r'\bsession(?:=|":")(\w{64})',
    "path": r'^etag="[0-9.]+-[0-9]+-([0-9]+)"',  # A sum of the folder's name.
}
JSON = [("Content-Type", "application/json")]


def script(visitor: Visitor) -> None:
    visitor.get("/?name=%3Cb%3E")
    visitor.get("/")
    visitor.head("/", 405)
    visitor.get("/items/3?tag=a&tag=b%20c&=x&flag&c=%FF")
    visitor.get("/items/10", 404)
    visitor.get("/items/three", 404)
    item = json.dumps({"name": "tea", "price": 2.5, "tags": ["ü"]}).encode()
    visitor.ask("POST", "/items", 201, fields=JSON, body=item)
    visitor.ask("POST", "/items", 400, fields=JSON, body=b'{"name": 3}')
    visitor.ask("POST", "/items", 400, fields=JSON, body=b"{broken")
    visitor.ask("PUT", "/items/3", 200, fields=JSON, body=item)
    visitor.ask("DELETE", "/items/3", 204)
    visitor.ask("PATCH", "/items/3", 405)
    visitor.ask("OPTIONS", "/items/3", 204)
    visitor.post("/form", 303, {"name": "anna"})
    visitor.upload("/upload", 201, {}, {"data": bytes(range(256)) * 2000})
    visitor.get("/lines")
    visitor.get("/lines", Accept_Encoding="gzip")
    visitor.get("/events")
    visitor.get("/download")
    visitor.get("/cookies")
    visitor.get("/private", 401)
    visitor.get("/broken", 500)
    visitor.get("/nowhere", 404)
    visitor.get("/any?a=1&a=2", 202)
    visitor.ask("PATCH", "/any", 202)
    visitor.get("/schema/openapi.json")


def files(visitor: Visitor) -> None:
    etag = visitor.get("/static/site.css").header("etag") or ""
    visitor.head("/static/site.css")
    visitor.get("/static/site.css", Range="bytes=0-9")
    visitor.get("/static/site.css", If_None_Match=etag)
    visitor.get("/static/site.css", Accept_Encoding="gzip")
    visitor.get("/static/")
    visitor.get("/static/none.css", 404)
    visitor.get("/static/%2e%2e/app_under_test.py", 404)
    visitor.ask("POST", "/static/site.css", 405, body=b"x")


def test_litestar(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_litestar", environment) as servers:
        assert_same(servers, script, DIFFERS)
        assert_same(servers, files, DIFFERS)
