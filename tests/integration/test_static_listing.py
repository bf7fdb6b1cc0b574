"""Directory listings and what of a mount is served at all: each option flipped, seen on the wire."""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import re
from collections.abc import Iterator

import pytest
from raw_http import RawConnection
from sidecar_process import Sidecar

RULES = """directory_listing: {listing}, max_file_size: 1KiB, blocked_extensions: [env],
    blocked_patterns: ["*.bak", /private], fingerprinted: immutable, charset: "off",
    index_files: [home.html, index.htm]"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("listing")
    site = folder / "site"
    for name in ("dir/sub", "private", "listed", "app/assets"):
        (site / name).mkdir(parents=True)
    names = ("a.env", "a.env.gz", "b.bak", "private/key", "app.3f2a1b9c.js", "listed/index.htm")
    for name in (
        *names,
        "dir/q\"uo'te<b>.txt",
        "dir/.hidden",
        "dir/x.bak",
        "dir/z.js",
        "plain.txt",
    ):
        (site / name).write_text("x")
    (site / "large.bin").write_bytes(b"x" * 1025)
    (site / "app" / "index.html").write_text("the app")
    mounts = "\n".join(
        f"  - {{name: {listing}, prefix: /{listing}, root: {site}, {RULES.format(listing=listing)}}}"
        for listing in ("off", "html", "json")
    )
    config = f"""
mounts:
{mounts}
  - {{name: app, prefix: /app, root: {site}/app, spa_fallback: index.html}}
  - {{name: folder, prefix: /folder, root: {site}, spa_fallback: app}}
  - {{name: bare, prefix: /bare, root: {site}}}
  - {{name: only, prefix: /only, root: {site}, allowed_extensions: [JS]}}
"""
    with Sidecar(folder, config) as running:
        yield running


@pytest.fixture
def wire(rules: Sidecar) -> Iterator[RawConnection]:
    with RawConnection(rules.port) as raw:
        yield raw


def test_a_page_for_people(wire: RawConnection) -> None:
    answer = wire.get("/html/dir/")
    page = answer.body.decode()
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.header("vary") == "Accept"
    assert answer.header("cache-control") == "no-cache"
    assert re.findall(r'<a href="([^"]+)"', page) == [
        "./../",
        "../",
        "./sub/",
        "./q%22uo&#39;te%3Cb%3E.txt",
        "./z.js",
    ]
    assert "<b>" not in page
    policy = answer.header("content-security-policy") or ""
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_its_json_twin(wire: RawConnection) -> None:
    for path, headers in (("/html/dir/", ["Accept: application/json"]), ("/json/dir/", [])):
        answer = wire.get(path, *headers)
        assert answer.header("content-type") == "application/json"
        listing = json.loads(answer.body)
        assert listing["truncated"] is False
        assert [e["name"] for e in listing["entries"]] == ["sub", "q\"uo'te<b>.txt", "z.js"]
        entry = listing["entries"][2]
        assert (entry["type"], entry["size"], entry["href"]) == ("file", 1, "./z.js")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["mtime"])


def test_a_listing_is_revalidated(wire: RawConnection) -> None:
    tag = wire.get("/html/dir/").header("etag")
    assert tag is not None
    assert wire.get("/html/dir/", f"If-None-Match: {tag}").status == 304


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/off/dir/", 404),
        ("/html/dir", 301),
        ("/html/listed/", 200),
        ("/html/a.env", 404),
        ("/html/a.env.gz", 404),
        ("/bare/a.env", 200),
        ("/html/b.bak", 404),
        ("/bare/b.bak", 200),
        ("/html/private", 404),
        ("/html/private/", 404),
        ("/html/private/key", 404),
        ("/bare/private/key", 200),
        ("/html/large.bin", 404),
        ("/bare/large.bin", 200),
        ("/bare/listed/", 404),
        ("/html/dir/%00json", 400),
        ("/only/app.3f2a1b9c.js", 200),
        ("/only/plain.txt", 404),
    ],
)
def test_what_is_served(wire: RawConnection, path: str, status: int) -> None:
    assert wire.get(path).status == status


def test_labels(wire: RawConnection) -> None:
    immutable = "public, max-age=31536000, immutable"
    assert wire.get("/html/app.3f2a1b9c.js").header("cache-control") == immutable
    assert wire.get("/bare/app.3f2a1b9c.js").header("cache-control") is None
    assert wire.get("/html/plain.txt").header("content-type") == "text/plain"
    assert wire.get("/bare/plain.txt").header("content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/app/deep/link", ["Accept: text/html,*/*;q=0.8"], 200),
        ("/app/deep/link", ["Sec-Fetch-Mode: navigate"], 200),
        ("/app/deep/link", ["Accept: text/html;q=0, */*"], 404),
        ("/app/deep/link", ["Accept: text/html", "Sec-Fetch-Mode: cors"], 404),
        ("/app/deep/link", ["Accept: */*"], 404),
        ("/app/assets/gone.js", ["Accept: text/html"], 404),
        ("/bare/deep/link", ["Accept: text/html"], 404),
    ],
)
def test_navigations_find_the_app(
    wire: RawConnection, path: str, headers: list[str], status: int
) -> None:
    for _ in range(2):  # Cold, then hot.
        answer = wire.get(path, *headers)
        assert answer.status == status
        if status == 200:
            assert answer.body == b"the app"
        if path.startswith("/app"):
            assert answer.header("vary") == "Accept, Sec-Fetch-Mode"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ('blocked_patterns: ["[a"]', "CZ1121"),
        ("blocked_extensions: [.env]", "CZ1122"),
        ("allowed_extensions: [js], blocked_extensions: [JS]", "CZ1123"),
        ("index_file: a.html, index_files: [b.html]", "CZ1123"),
        ("spa_fallback: ../index.html", "CZ1116"),
        ("directory_listing: pretty", "CZ1"),
        ('charset: "utf 8"', "CZ1"),
    ],
)
def test_nonsense_is_refused(tmp_path: pathlib.Path, options: str, code: str) -> None:
    config = f"mounts: [{{name: a, prefix: /, root: {tmp_path}, {options}}}]"
    with pytest.raises(RuntimeError, match=code):
        Sidecar(tmp_path, config).start()


def test_a_directory_is_no_fallback(wire: RawConnection) -> None:
    answer = wire.get("/folder/anything", "Sec-Fetch-Mode: navigate")
    assert (answer.status, answer.header("location")) == (404, None)
