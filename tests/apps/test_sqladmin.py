"""sqladmin: lists, forms, an export, its static files."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor

DIFFERS = {
    "session": r"\bsession=([^;]+)",  # Signed with the time.
    "export": r"filename=Good_([^.]+)\.",  # The time.
    "modified": r"^last-modified=(.*)$",  # Of installed files: equal, but for what pip writes meanwhile.
}


def script(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.get("/admin", 307)
    visitor.get("/admin/", 302)
    visitor.get("/admin/login")
    visitor.post("/admin/login", 400, {"username": "anna", "password": "wrong"})
    visitor.post("/admin/login", 302, {"username": "anna", "password": "right"})
    visitor.get("/admin/")
    visitor.get("/admin/good/list")
    visitor.get("/admin/good/list?search=%3C1&sortBy=price&sort=desc&page=1&pageSize=10")
    visitor.get("/admin/good/list?page=x", 400)
    visitor.get("/admin/good/details/7")
    visitor.get("/admin/good/details/999", 404)
    visitor.get("/admin/good/create")
    good = {"name": "new & <b>", "price": "250", "shelf": "1", "save": "Save"}
    visitor.upload("/admin/good/create", 302, good, {})
    visitor.upload("/admin/good/create", 400, {**good, "price": "much"}, {})
    visitor.get("/admin/good/edit/31")
    visitor.upload("/admin/good/edit/31", 302, {**good, "name": "renamed"}, {})
    visitor.get("/admin/good/export/csv")
    visitor.get("/admin/good/export/json")
    visitor.ask("DELETE", "/admin/good/delete?pks=31", 200)
    visitor.get("/admin/shelf/list")
    visitor.get("/admin/nothing/list", 404)
    visitor.get("/admin/statics/css/main.css")
    visitor.get("/admin/statics/css/main.css", 206, Range="bytes=0-9")
    visitor.head("/admin/statics/css/main.css")
    visitor.get("/admin/logout", 302)
    visitor.get("/admin/good/list", 302)


def test_sqladmin(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_sqladmin", environment) as servers:
        assert_same(servers, script, DIFFERS)
