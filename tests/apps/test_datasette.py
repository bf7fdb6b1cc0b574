"""Datasette: an app of its own, whose raw ASGI no framework makes."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor

DIFFERS = {
    "took": r"(?:Queries took |query_ms\": )([0-9.]+)",
    "token": r"\bds_csrftoken=([^;]+)",
    "input": r'name="csrftoken" value="([^"]+)"',
    "built": r"\?_=([0-9a-f]+)",
}


def pages(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.head("/")
    visitor.get("/shop")
    visitor.get("/shop/goods")
    visitor.get("/shop/goods?_sort_desc=price&_next=10&_size=5&shelf=tea&name__contains=%3C")
    visitor.get("/shop/goods?_facet=shelf&_size=max")
    visitor.get("/shop/goods/7")
    visitor.get("/shop/goods/9999", 404)
    visitor.get("/shop?sql=select+count%28*%29+from+goods+where+shelf+%3D+%3As&s=tea")
    visitor.get("/shop?sql=select+nonsense", 400)
    visitor.get("/nowhere", 404)
    visitor.get("/shop/goods/", 302)
    visitor.ask("POST", "/-/messages", 302, body=b"message=x")
    visitor.ask("DELETE", "/shop", 403)


def data(visitor: Visitor) -> None:
    visitor.get("/shop/goods.json?_shape=array&_size=3")
    visitor.get("/shop/goods.json?_size=3&_labels=on")
    visitor.get(
        "/shop/goods.json?_nocol=name&_shape=objects&price__gt=60", Origin="https://example.com"
    )
    visitor.get("/shop/goods.csv?_size=10")
    visitor.get("/shop/goods.csv?_stream=on")
    visitor.get("/shop/goods.csv?_dl=1")
    visitor.get("/-/metadata.json")
    visitor.get("/-/settings.json")
    visitor.get("/-/databases.json")
    visitor.get("/-/static/app.css")
    visitor.head("/-/static/app.css")
    visitor.get("/-/static/none.css", 404)
    visitor.get("/-/static/../app.py", 404)
    visitor.get("/shop.db", 403)
    visitor.get("/favicon.ico")


def test_datasette(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_datasette", environment) as servers:
        assert_same(servers, pages, DIFFERS)
        assert_same(servers, data, DIFFERS)
