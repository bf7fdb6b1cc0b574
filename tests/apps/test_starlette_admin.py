"""starlette-admin: pages, what its tables ask for, forms with CSRF tokens, an export, its static files."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor, found

DIFFERS = {
    "session": r"\bsession=([^;]+)",  # Signed with the time...
    "token": r"\bstarlette_admin_csrftoken=([^;]+)",  # ...and random.
    "flash": r"\bstarlette_admin_flash=[\w-]+\.([\w.-]+)",
    "input": r'name="csrftoken" value="([^"]+)"',
    "meta": r'name="csrf-token" content="([^"]+)"',
}
TOKEN = r'name="csrftoken" value="([^"]+)"'
CSS = "/admin/static/css/select2-tabler.css"


def script(visitor: Visitor) -> None:
    visitor.get("/")
    visitor.get("/admin", 307)
    visitor.get("/admin/", 303)
    token = found(TOKEN, visitor.get("/admin/login"))
    visitor.post("/admin/login", 403, {"username": "anna", "password": "right"})
    login = {"username": "anna", "csrftoken": token}
    visitor.post("/admin/login", 400, {**login, "password": "wrong"})
    visitor.post("/admin/login", 303, {**login, "password": "right"})
    visitor.get("/admin/")
    visitor.get("/admin/good/list")
    visitor.get("/admin/good/list?q=%3C1&page=1")
    visitor.get("/admin/_api/shelf/relation-lookup?q=t&limit=2")
    visitor.get("/admin/good/detail?pk=7")
    visitor.get("/admin/good/detail?pk=999", 404)
    token = found(TOKEN, visitor.get("/admin/good/create"))
    good = {"name": "new & <b>", "price": "250", "shelf": "1", "csrftoken": token}
    visitor.upload("/admin/good/create", 303, good, {})
    visitor.upload("/admin/good/create", 422, {**good, "price": "much"}, {})
    visitor.get("/admin/good/edit?pk=31")
    visitor.upload("/admin/good/edit?pk=31", 303, {**good, "name": "renamed"}, {})
    visitor.post("/admin/_api/good/action?name=delete&pks=31", 200, {"csrftoken": token})
    visitor.post("/admin/_api/good/action?name=nothing&pks=1", 400, {"csrftoken": token})
    visitor.get("/admin/nothing/list", 404)
    visitor.get(CSS)
    visitor.get(CSS, 206, Range="bytes=0-9")
    visitor.head(CSS)
    visitor.post("/admin/logout", 303, {"csrftoken": token})
    visitor.get("/admin/good/list", 303)


def test_starlette_admin(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_starlette_admin", environment) as servers:
        assert_same(servers, script, DIFFERS)
