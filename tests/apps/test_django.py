"""Django with its admin, sessions, CSRF, uploads, streams, and files through its own views."""

from __future__ import annotations

from pathlib import Path

from both import assert_same, both
from visitor import Visitor, found

DIFFERS = {
    "csrf": r'name="csrfmiddlewaretoken" value="(\w{64})"',
    "token": r"\bcsrftoken=(\w{32})",
    "session": r"\bsessionid=(\w{32})",
    "shown": r'"csrftoken": "(\w{32})"',
    "also shown": r'"sessionid": "(\w{32})"',
    "message": r"\bmessages=[.\w-]+:(\w+:[\w-]+)",  # Signed with the time.
    "etag": r'^etag=("\w{32}")$',  # Of a page with a token, by its content: see etags() for those without.
    "modified": r"^last-modified=(.*)$",  # Of a file that was just made.
    "time": r"<td>(\w+\.? \d+, \d{4}, [^<]+)</td>",  # The admin's history.
    "file": r"papers/paper_(\w{7})\.bin",  # The name was taken.
    "action": r'data-timestamp="([^"]+)"',
}
TOKEN = r'name="csrfmiddlewaretoken" value="(\w+)"'


def pages(visitor: Visitor) -> None:
    visitor.get("/?name=%3Cb%3E")
    visitor.head("/")
    visitor.post("/contact", 403, {"subject": "no token"})
    token = found(TOKEN, visitor.get("/"))
    visitor.post("/contact", 302, {"subject": "tea", "csrfmiddlewaretoken": token})
    visitor.get("/")  # With the message...
    token = found(TOKEN, visitor.get("/"))  # ...and without it.
    visitor.post("/contact", 400, {"subject": "x" * 21, "csrfmiddlewaretoken": token})
    form = {"subject": "tea", "csrfmiddlewaretoken": token}
    for size in (250, 3_000_000):  # In memory, and in a temporary file.
        visitor.upload("/contact", 201, form, {"file": bytes(range(250)) * (size // 250)})
    visitor.ask("PUT", "/", 403, body=b"x")
    visitor.get("/contact", 405)
    visitor.get("/echo/?a=1&a=%20&b=%FF&c=d;e&=x&flag", Accept_Language="de")
    visitor.get("/echo", 301)
    visitor.ask("OPTIONS", "/echo/", 200)
    visitor.ask("POST", "/body", 200, body=bytes(range(256)) * 4000)
    visitor.get("/items/7/a-slug")
    visitor.get("/items/seven/a-slug", 404)
    for target, status in (("/missing", 404), ("/forbidden", 403), ("/broken", 500), ("/no", 404)):
        visitor.get(target, status)
        visitor.head(target, status)


def files(visitor: Visitor) -> None:
    for target in ("/lines", "/lines-blocking", "/download"):
        visitor.get(target)
        visitor.head(target)
    for target in ("/static/admin/css/base.css", "/static/admin/img/icon-yes.svg"):
        visitor.get(target)
        visitor.head(target)
        visitor.get(target, 304, If_Modified_Since="Wed, 01 Jan 2031 00:00:00 GMT")
        visitor.get(target, 200, Range="bytes=0-9")
    visitor.get("/static/none.css", 404)
    visitor.get("/static/../settings.py", 400)
    visitor.get("/media/none.pdf", 404)


def admin(visitor: Visitor) -> None:
    visitor.get("/admin/", 302)
    token = found(TOKEN, visitor.get("/admin/login/?next=/admin/"))
    login = {"username": "anna", "next": "/admin/", "csrfmiddlewaretoken": token}
    visitor.post("/admin/login/", 200, {**login, "password": "wrong"})
    visitor.post("/admin/login/", 302, {**login, "password": "right"})
    visitor.get("/admin/")
    token = found(TOKEN, visitor.get("/admin/django_site/note/add/"))
    for title in ("one", "two & three", "four"):
        note = {"title": title, "text": "text", "csrfmiddlewaretoken": token, "_save": "Save"}
        visitor.upload("/admin/django_site/note/add/", 302, note, {"paper": title.encode()})
    visitor.get("/admin/django_site/note/")
    visitor.get("/admin/django_site/note/?q=two&p=1")
    visitor.get("/admin/django_site/note/?nonsense=1", 302)
    visitor.get("/admin/django_site/note/2/change/")
    visitor.post(
        "/admin/django_site/note/2/change/",
        302,
        {"title": "two", "csrfmiddlewaretoken": token, "_continue": "1"},
    )
    visitor.get("/admin/django_site/note/2/history/")
    visitor.get("/media/papers/paper.bin")
    delete = {"post": "yes", "csrfmiddlewaretoken": token}
    visitor.post("/admin/django_site/note/2/delete/", 302, delete)
    visitor.get("/admin/django_site/note/2/change/", 302)
    visitor.get("/admin/jsi18n/")
    visitor.post("/admin/logout/", 200, {"csrfmiddlewaretoken": token})
    visitor.get("/admin/django_site/note/", 302)


def etags(visitor: Visitor) -> None:
    """Django's own, by content."""
    etag = visitor.get("/items/7/a").header("etag") or ""
    assert etag
    visitor.get("/items/7/a", 304, If_None_Match=etag)
    visitor.get("/items/7/a", 304, If_None_Match=f'"other", {etag}')
    visitor.get("/items/7/a", 200, If_None_Match='"other"')


def test_django(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_django", environment, "--workers", "2") as servers:
        assert_same(servers, pages, DIFFERS)
        assert_same(servers, files, DIFFERS)
        assert_same(servers, admin, DIFFERS)
        own = {name: pattern for name, pattern in DIFFERS.items() if name != "etag"}
        assert_same(servers, etags, own)
