"""Each row of the migration table in docs/static-files.md: its settings, and the difference on the wire."""

from __future__ import annotations

import dataclasses
import gzip
import pathlib
import re
from collections.abc import Iterator

import pytest
import yaml
from app_process import eventually
from raw_http import Answer, RawConnection
from sidecar_process import Sidecar

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "static-files.md"
HEADING = "## Coming from nginx, Caddy or Starlette\n"
NAVIGATION = "Accept: text/html"


@dataclasses.dataclass(frozen=True)
class Seen:
    """An answer: its status, and one field (None: absent) or the begin of the body."""

    status: int
    field: str = ""
    value: str | None = None
    body: bytes = b""

    def fits(self, answer: Answer) -> bool:
        field = not self.field or answer.header(self.field) == self.value
        return answer.status == self.status and field and answer.body.startswith(self.body)


@dataclasses.dataclass(frozen=True)
class Check:
    """What a mount with the row's settings answers, and what one without any does."""

    path: str
    here: Seen
    plain: Seen | None  # None: the row is a default, or has a path or host of its own.
    fields: tuple[str, ...] = ("Host: test",)


def field(name: str, value: str | None, instead: str | None, path: str = "/a.txt") -> Check:
    return Check(path, Seen(200, name, value), Seen(200, name, instead))


def gzipped(path: str) -> Check:
    here, plain = (Seen(200, "content-encoding", value) for value in ("gzip", None))
    return Check(path, here, plain, ("Host: test", "Accept-Encoding: gzip"))


CHECKS = {
    "prefix: /static, root: /srv/www": Check("/a.txt", Seen(200, body=b"0123"), None),
    "host: example.org": Check("/a.txt", Seen(200), None, ("Host: example.org",)),
    "index_file: index.html": Check("/", Seen(200, body=b"index"), None),
    "index_files: [home.html, index.html]": Check(
        "/", Seen(200, body=b"home"), Seen(200, body=b"index")
    ),
    'index_file: ""': Check("/", Seen(404), Seen(200)),
    "directory_listing: html": Check("/bare/", Seen(200, body=b"<!doctype html>"), Seen(404)),
    "directory_listing: json": Check("/bare/", Seen(200, body=b'{"path":'), Seen(404)),
    "spa_fallback: index.html": Check(
        "/some/view", Seen(200, body=b"index"), Seen(404), ("Host: test", NAVIGATION)
    ),
    "cache_control: max-age=3600": field("cache-control", "max-age=3600", None),
    "fingerprinted: immutable": field(
        "cache-control", "public, max-age=31536000, immutable", None, "/app.3f2a1b9c.js"
    ),
    "headers: {X-Frame-Options: DENY}": field("x-frame-options", "DENY", None),
    "mime_types: {log: text/x-log}": field(
        "content-type", "text/x-log", "text/plain; charset=utf-8", "/a.log"
    ),
    "charset: koi8-r": field(
        "content-type", "text/plain; charset=koi8-r", "text/plain; charset=utf-8"
    ),
    'charset: "off"': field("content-type", "text/plain", "text/plain; charset=utf-8"),
    'file_rules: [{match: ["*.html"], cache_control: no-cache}]': field(
        "cache-control", "no-cache", None, "/home.html"
    ),
    "precompressed: [gzip]": gzipped("/packed.txt"),
    "gzip_level: 5": gzipped("/long.txt"),
    "gzip_level: 5, gzip_min_size: 100B": gzipped("/short.txt"),
    "gzip_level: 5, gzip_types: [text/x-log], mime_types: {log: text/x-log}": gzipped("/long.log"),
    'error_pages: {"404": 404.html}': Check(
        "/missing", Seen(404, body=b"our own page"), Seen(404, "content-type", "application/json")
    ),
    "etags: false": Check("/a.txt", Seen(200), Seen(304), ("Host: test", "If-None-Match: {etag}")),
    "last_modified: false": Check(
        "/a.txt",
        Seen(200, "last-modified", None),
        Seen(304),
        ("Host: test", "If-Modified-Since: {now}"),
    ),
    "ranges: false": Check(
        "/a.txt",
        Seen(200, "accept-ranges", None, b"0123456789"),
        Seen(206, body=b"0"),
        ("Host: test", "Range: bytes=0-0"),
    ),
    "hidden_files: true": Check("/.hidden", Seen(200), Seen(404)),
    "blocked_extensions: [bak]": Check("/a.bak", Seen(404), Seen(200)),
    "blocked_patterns: [/private]": Check("/private/a.txt", Seen(404), Seen(200)),
    "allowed_extensions: [txt]": Check("/a.log", Seen(404), Seen(200)),
    "symlinks: never": Check("/inside.txt", Seen(404), Seen(200)),
    "symlinks: inside": Check("/outside.txt", Seen(404), None),
    "symlinks: anywhere": Check("/outside.txt", Seen(200, body=b"outside"), Seen(404)),
    "invalidation: ttl, revalidate: 60s": Check(
        "/changing.txt", Seen(200, body=b"old"), Seen(200, body=b"new")
    ),
}


def rows() -> list[str]:
    """The last column's settings."""
    section = DOCUMENT.read_text().split(HEADING)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert all(line.count(" | ") == 3 for line in lines)
    found = [re.search(r"\| `([^`]+)` \|$", line) for line in lines]
    return [row.group(1) for row in found if row]


def settings_of(row: str, site: pathlib.Path, number: int) -> dict[str, object]:
    mount = {"name": f"row-{number}", "prefix": f"/row-{number}", "root": "/srv/www"}
    mount |= yaml.safe_load(f"{{{row}}}")
    return {**mount, "root": str(site)} if mount["root"] == "/srv/www" else dict(mount)


def make_tree(folder: pathlib.Path) -> pathlib.Path:
    site = folder / "site"
    for name, text in {
        "index.html": "index",
        "home.html": "home",
        "a.txt": "0123456789",
        "a.log": "log",
        "a.bak": "bak",
        "app.3f2a1b9c.js": "1",
        "long.txt": "long " * 1000,
        "long.log": "long " * 1000,
        "short.txt": "short " * 50,
        "packed.txt": "packed",
        "404.html": "our own page",
        "bare/a.txt": "bare",
        "private/a.txt": "private",
        ".hidden": "hidden",
        "changing.txt": "old",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / "packed.txt.gz").write_bytes(gzip.compress(b"packed"))
    (folder / "outside.txt").write_text("outside")
    (site / "outside.txt").symlink_to("../outside.txt")
    (site / "inside.txt").symlink_to("a.txt")
    return site


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("migration")
    site = make_tree(folder)
    mounts = [settings_of(row, site, number) for number, row in enumerate(rows())]
    mounts.append({"name": "plain", "prefix": "/plain", "root": str(site)})
    with Sidecar(folder, yaml.safe_dump({"mounts": mounts})) as running:
        yield running


def ask(sidecar: Sidecar, prefix: str, check: Check) -> Answer:
    with RawConnection(sidecar.port) as raw:
        whole = raw.get("/plain/a.txt")
        now, etag = whole.header("date") or "", whole.header("etag") or ""
        fields = "\r\n".join(check.fields).replace("{now}", now).replace("{etag}", etag)
        raw.send(f"GET {prefix}{check.path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        return raw.read()


def test_every_row_is_checked() -> None:
    assert sorted(rows()) == sorted(CHECKS)


@pytest.mark.parametrize("row", rows())
def test_a_row_makes_its_difference(sidecar: Sidecar, row: str) -> None:
    check, number = CHECKS[row], rows().index(row)
    prefix = "/static" if "prefix:" in row else f"/row-{number}"
    answer = ask(sidecar, prefix, check)
    assert check.here.fits(answer), answer
    if "ttl" in row:
        (sidecar.folder / "site" / "changing.txt").write_text("new")
    if "host:" in row:
        other = dataclasses.replace(check, fields=("Host: other.example",))
        assert ask(sidecar, prefix, other).status == 404
    if (plain := check.plain) is not None:
        eventually(lambda: plain.fits(ask(sidecar, "/plain", check)))
        assert check.here.fits(ask(sidecar, prefix, check))
