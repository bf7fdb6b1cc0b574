"""mount_static with the real sidecar: the same answers as without one, and each option seen on the wire."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sdk_harness import Reply, Run, real_sidecar, until

from catzilla import FileRule
from catzilla._load import load_app

pytestmark = pytest.mark.sidecar

LAST_WEEK = 1_700_000_000
TREE: dict[str, str] = {
    "index.html": "<p>index</p>",
    "home.htm": "<p>home</p>",
    "404.html": "<p>missing</p>",
    "a.txt": "0123456789",
    "app.js": "let a",
    "app.3f2a1b9c.js": "let b",
    "app.3f2a1b9c.js.map": "{}",
    "style.css": "a{}",
    "data.json": "{}",
    "image.svg": "<svg/>",
    "big.bin": "x" * 2000,
    "odd.zzz": "?",
    "README": "read me",
    "page.cat": "meow",
    "x.bak": "old",
    "x.bak.gz": "old",
    "a.env": "secret",
    "a.ENV": "secret",
    "a.env.gz": "secret",
    "a.env.br": "secret",
    "private/key.pem": "key",
    "private/deep/index.html": "deep",
    "sub/index.html": "sub",
    "sub/private/ok.txt": "ok",
    "bare/one.txt": "1",
    "bare/two/three.txt": "3",
    'bare/<b> & "c" é%.txt': "odd",
    "bare/x.bak": "old",
    "bare/.hidden": "h",
    "home/home.htm": "home",
    "spa/app.html": "<p>app</p>",
    ".secret": "s",
    ".well-known/x": "known",
}

MOUNTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fields": {
        "cache_control": "max-age=9", "headers": {"X-A": "1", "X-B": "2"}, "fingerprinted": "immutable",
        "mime_types": {"Cat": "text/cat; charset=utf-8", "zzz": "image/x-odd"}, "charset": "iso-8859-1",
        "file_rules": [
            FileRule(match=["*.css"], headers={"x-a": "rule"}),
            FileRule(match=["/app.*.map", "sub/**"], cache_control="no-store", headers={"X-C": "3"}),
            FileRule(match=["data.json"], cache_control=""),
        ],
    },
    "bare": {"charset": "off", "index_files": ["home.htm", "index.html"], "etags": False, "last_modified": False,
             "ranges": False, "hidden_files": True, "symlinks": "never"},
    "guarded": {
        "blocked_extensions": ["ENV"], "blocked_patterns": ["*.bak", "/private", "bare/**/t[g-i]*"],
        "max_file_size": "1KiB", "error_pages": {404: "404.html"},
    },
    "allowed": {"allowed_extensions": ["html", "JS"], "index_file": ""},
    "spa": {
        "spa_fallback": "spa/app.html", "error_pages": {404: "404.html"}, "symlinks": "anywhere",
        "cache_control": "a=1", "headers": {"X-A": "1"},
        "file_rules": [FileRule(match=["404.html"], headers={"X-Page": "404"})],
        "blocked_patterns": ["hidden-*"],
    },
    "nopage": {"spa_fallback": "none.html", "error_pages": {404: "gone.html"}},
    "html": {"directory_listing": "html", "headers": {"X-A": "1"}, "blocked_patterns": ["*.bak"]},
    "json": {"directory_listing": "json", "allowed_extensions": ["txt"]},
}  # fmt: skip

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAVIGATE = {"Sec-Fetch-Mode": "navigate"}
PART = {"Range": "bytes=2-4"}
GZIP = {"Accept-Encoding": "gzip"}

# Mount; paths below it; header fields.
REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    ("plain", "/ /index.html /a.txt /app.js /style.css /data.json /image.svg /odd.zzz /README /page.cat /big.bin", {}),
    ("plain", "/sub /sub/ /sub/? /sub?a=1&b=%20 /bare /bare/ /none /none/ /a.txt/ /a.txt/x", {}),
    ("plain", "//a.txt /sub//index.html /sub// /x//", {}),
    ("plain", "/.secret /.well-known/x /.none/x /link.txt /round /inside/ /out/passwd /in-absolute.txt /x.bak", {}),
    ("plain", "/%2e/a.txt /sub/%2e%2e/a.txt /sub/%2e%2e /sub/%2e /%2e%2e/fields/a.txt /%2e%2e/%2e%2e/x", {}),
    ("plain", "/a%5Cb /a%00 /a%01 /a%7F /" + "n" * 256 + " /" + "n" * 255 + " /pipe /%20", {}),
    ("plain", "/a.txt /none /sub/", PART),
    *(("plain", "/a.txt", {"Range": text}) for text in (
        "bytes=0-", "bytes=0-99", "bytes=-3", "bytes=-99", "bytes=-0", "bytes=10-", "bytes=9-", "BYTES=1-1",
        "bytes=5-2", "bytes=-", "bytes=", "bytes=x", "bytes=1", "items=0-1", "bytes 0-1", "bytes=0-1, ", "bytes= 1-2",
        "bytes=3-4,9-5", "bytes=0-2,2-4",
    )),
    *(("plain", "/a.txt", PART | {"If-Range": text}) for text in ('"x"', "Tue, 14 Nov 2023 22:13:20 GMT", "nonsense")),
    ("bare", "/a.txt", PART | {"If-Range": '"x"'}),
    ("fields", "/ /a.txt /app.js /style.css /app.3f2a1b9c.js /app.3f2a1b9c.js.map /sub/index.html", {}),
    ("fields", "/sub/private/ok.txt /page.cat /odd.zzz /data.json /image.svg /README /none /sub", {}),
    ("fields", "/a.txt", PART),
    ("bare", "/ /a.txt /app.js /home/ /sub/ /bare/ /.secret /bare/.hidden /link.txt /inside/ /out/passwd", {}),
    ("bare", "/a.txt", PART),
    ("bare", "/a.txt", {"If-None-Match": "*", "If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT"}),
    ("guarded", "/a.txt /a.env /a.ENV /a.env.gz /a.env.br /x.bak /x.bak.gz /bare/x.bak /private/key.pem /private", {}),
    ("guarded", "/private/ /private/deep/ /sub/private/ok.txt /sub/%2e%2e/private/key.pem //private/key.pem", {}),
    ("guarded", "/bare/one.txt /bare/two/three.txt /bare/two /big.bin /none /.secret /404.html", {}),
    ("guarded", "/none /x.bak", PAGE),
    ("guarded", "/none", PART),
    ("allowed", "/ /index.html /app.js /a.txt /README /x.bak.gz /sub/ /sub /bare/", {}),
    ("spa", "/ /orders/7 /orders/7.js /none.txt /a.txt /.secret /bare/ /bare /hidden-x /out-none", {}),
    ("spa", "/ /orders/7 /orders/7.js /none.txt /a.txt /.secret /bare/ /bare /hidden-x /orders/ /sub/%2e%2e/o", PAGE),
    ("spa", "/orders/7 /none.txt", NAVIGATE),
    ("spa", "/orders/7", PAGE | {"Sec-Fetch-Mode": "cors"}),
    ("spa", "/orders/7", {"Accept": "text/html;q=0, */*"}),
    ("spa", "/orders/7", {"Accept": "TEXT/HTML ; level=1"}),
    ("spa", "/orders/7", PAGE | PART),
    ("spa", "/in-absolute.txt", {}),
    ("nopage", "/none /a.txt /orders", PAGE),
    ("html", "/bare/ /private/ / /x.bak /bare/x.bak /none/ /a.txt/ /bare /home/", {}),
    ("html", "/bare/", {"Accept": "application/json"}),
    ("html", "/bare/", {"Accept": "text/html;q=0.4, application/*;q=0.5"}),
    ("html", "/bare/", PAGE),
    ("json", "/bare/ /bare/two/ /home/ /none/ /private/ /", PAGE),
]  # fmt: skip
ROWS = [
    (mount, path, tuple(fields.items())) for mount, paths, fields in REQUESTS for path in paths.split()
]  # fmt: skip

SOURCE = """
import asyncio
from pathlib import Path
from catzilla import Catzilla, FileRule
HERE = Path(__file__).parent
app = Catzilla()

@app.get("/")
def root():
    return 1
"""


def plant(tree: Path) -> None:
    for name, text in TREE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        os.utime(tree / name, (LAST_WEEK, LAST_WEEK))
    (tree / "link.txt").symlink_to("a.txt")
    (tree / "inside").symlink_to("sub")
    (tree / "round").symlink_to("round")
    (tree / "out").symlink_to("/etc")
    (tree / "in-absolute.txt").symlink_to(tree / "a.txt")
    os.mkfifo(tree / "pipe")


def mounts(options: dict[str, dict[str, Any]]) -> str:
    lines = [f"app.mount_static('/{name}', HERE / 'tree', **{given!r})" for name, given in options.items()]
    return SOURCE + "\n".join(lines) + "\n"


def by_workers(run: Run) -> list[str]:
    """What the access log says that Python answered."""
    lines = [json.loads(line) for line in run.text.splitlines() if line.startswith('{"')]
    return [line["target"] for line in lines if str(line.get("served_by", "")).startswith("worker")]


class Both:
    """The same app, behind the sidecar and as plain ASGI."""

    def __init__(self, folder: Path, options: dict[str, dict[str, Any]]) -> None:
        (folder / "both_sides.py").write_text(mounts(options))
        plant(folder / "tree")
        self.run = Run(folder, "both_sides:app", sidecar=real_sidecar())
        app = load_app("both_sides:app", str(folder))
        sys.path.remove(str(folder))
        sys.modules.pop("both_sides")
        self.client = TestClient(app, follow_redirects=False)
        self.client.headers.clear()

    def plain(self, path: str, method: str = "GET", headers: Any = ()) -> Reply:
        answer = self.client.request(method, path, headers=dict(headers))
        return Reply(answer.status_code, [(n.lower(), v) for n, v in answer.headers.multi_items()], answer.content)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    sides = Both(tmp_path_factory.mktemp("parity"), MOUNTS)
    try:
        sides.run.ready()
        yield sides
        assert not by_workers(sides.run)
        assert sides.run.stop() == 0, sides.run.text
    finally:
        if sides.run.process.poll() is None:
            sides.run.process.kill()


# Each side's own.
_SIDES_OWN = {"date", "server", "connection", "etag", "x-request-id"}


def comparable(reply: Reply, *, listed: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in reply.headers:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    seen: dict[str, Any] = {n: v for n, v in fields.items() if n not in _SIDES_OWN}
    if "vary" in seen:
        seen["vary"] = {item.strip().lower() for item in seen["vary"].split(",")}
    has_page = "<p>missing</p>" in reply.body.decode("utf-8", "replace")
    if reply.status < 300 or has_page:
        seen["body"] = reply.body
        seen["etag"] = "etag" in fields
    else:
        # A refusal without a page: FastAPI's own on one side, so that the app's handlers see it.
        for name in ("content-type", "content-length", "cache-control", "x-content-type-options"):
            seen.pop(name, None)
    if listed:
        for name in ("etag", "accept-ranges", "content-length", "content-security-policy"):
            seen.pop(name, None)
        seen["body"] = json.loads(reply.body) if "json" in fields["content-type"] else b""
    return {"status": reply.status} | seen


@pytest.mark.parametrize(("mount", "path", "fields"), ROWS, ids=[f"{m}{p[:30]} {dict(f)}" for m, p, f in ROWS])
def test_both_sides_answer_alike(both: Both, mount: str, path: str, fields: Any) -> None:
    wire = both.run.get(f"/{mount}{path}", headers=list(fields))
    plain = both.plain(f"/{mount}{path}", headers=fields)
    kind = dict(plain.headers).get("x-content-type-options")
    listed = kind == "nosniff" and plain.status == 200
    assert comparable(plain, listed=listed) == comparable(wire, listed=listed)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/plain/a.txt", "/guarded/none", "/spa/orders", "/html/bare/"])
def test_both_sides_know_the_same_methods(both: Both, method: str, path: str) -> None:
    replies = (both.run.get(path, method), both.plain(path, method))
    of_the_page = {"content-length", "etag", "accept-ranges", "content-security-policy"} if "html" in path else set()
    wire, plain = (comparable(reply, listed=False) for reply in replies)
    wire, plain = ({n: v for n, v in seen.items() if n not in of_the_page} for seen in (wire, plain))
    assert plain == wire


@pytest.mark.parametrize("mount", ["plain", "fields", "bare", "spa"])
def test_both_sides_validate(both: Both, mount: str) -> None:
    for ask in (both.run.get, both.plain):
        first = dict(ask(f"/{mount}/a.txt").headers)
        pairs = (("If-None-Match", first.get("etag")), ("If-Modified-Since", first.get("last-modified")))
        fields = {name: value for name, value in pairs if value}
        assert bool(fields) is (mount != "bare")
        for name, value in fields.items():
            again = ask(f"/{mount}/a.txt", headers=[(name, value)])
            assert (again.status, again.body) == (304, b"")
            own = {"cache-control", "x-a", "x-b"}
            assert {n: v for n, v in again.headers if n in own} == {n: v for n, v in first.items() if n in own}


def test_a_listing_shows_what_is_served_and_no_script(both: Both) -> None:
    page = both.plain("/html/bare/", headers=PAGE)
    assert b"<script" not in page.body
    assert b"&lt;b&gt; &amp; &quot;c&quot;" in page.body
    assert b"<b>" not in page.body
    assert b"x.bak" not in page.body
    assert b".hidden" not in page.body
    assert "default-src 'none'" in dict(page.headers)["content-security-policy"]


# Each option on the wire...

FLIPS: list[tuple[dict[str, Any], str, dict[str, str], str, Any]] = [
    ({"index_file": "home.htm"}, "/", {}, "body", b"<p>home</p>"),
    ({"index_files": ["none", "home.htm"]}, "/", {}, "body", b"<p>home</p>"),
    ({"cache_control": "max-age=9"}, "/a.txt", {}, "cache-control", "max-age=9"),
    ({"headers": {"X-A": "1"}}, "/a.txt", {}, "x-a", "1"),
    ({"mime_types": {"txt": "text/cat"}}, "/a.txt", {}, "content-type", "text/cat"),
    ({"charset": "off"}, "/a.txt", {}, "content-type", "text/plain"),
    ({"etags": False}, "/a.txt", {}, "etag", None),
    ({"last_modified": False}, "/a.txt", {}, "last-modified", None),
    ({"ranges": False}, "/a.txt", PART, "status", 200),
    ({"hidden_files": True}, "/.secret", {}, "status", 200),
    ({"symlinks": "never"}, "/link.txt", {}, "status", 404),
    ({"allowed_extensions": ["js"]}, "/a.txt", {}, "status", 404),
    ({"blocked_extensions": ["txt"]}, "/a.txt", {}, "status", 404),
    ({"blocked_patterns": ["a.*"]}, "/a.txt", {}, "status", 404),
    ({"max_file_size": "9B"}, "/a.txt", {}, "status", 404),
    ({"directory_listing": "json"}, "/bare/", {}, "status", 200),
    ({"directory_listing": "html"}, "/bare/", {}, "content-type", "text/html; charset=utf-8"),
    ({"spa_fallback": "spa/app.html"}, "/orders/7", PAGE, "body", b"<p>app</p>"),
    ({"error_pages": {404: "404.html"}}, "/none", {}, "body", b"<p>missing</p>"),
    ({"fingerprinted": "immutable"}, "/app.3f2a1b9c.js", {}, "cache-control", "public, max-age=31536000, immutable"),
    ({"file_rules": [FileRule(match=["*.txt"], cache_control="no-store")]}, "/a.txt", {}, "cache-control", "no-store"),
    ({"file_rules": [FileRule(match=["*.txt"], headers={"X-A": "1"})]}, "/a.txt", {}, "x-a", "1"),
    ({"precompressed": ["gzip"]}, "/x.bak", GZIP, "content-encoding", "gzip"),
    ({"precompressed": ["br"]}, "/a.env", {"Accept-Encoding": "br"}, "content-encoding", "br"),
    ({"gzip_level": 9}, "/long.txt", GZIP, "content-encoding", "gzip"),
    ({"gzip_level": 1, "gzip_min_size": "1MiB"}, "/long.txt", GZIP, "vary", None),
    ({"gzip_level": 1, "gzip_types": ["image/*"]}, "/long.txt", GZIP, "vary", None),
    ({"max_cached_file": "0B"}, "/a.txt", {}, "status", 200),
    ({"revalidate": "1m"}, "/a.txt", {}, "status", 200),
    ({"invalidation": "ttl"}, "/a.txt", {}, "status", 200),
    ({"cache_memory": "8MiB"}, "/a.txt", {}, "status", 200),
    ({"cache_memory": "8MiB", "cache_entries": 1}, "/a.txt", {}, "status", 200),
    ({"rate_limit": "1MiB"}, "/a.txt", {}, "status", 200),
    ({"preload": ["*.txt"]}, "/a.txt", {}, "status", 200),
]  # fmt: skip
# They show in the sidecar's numbers only; their words must still be taken.
UNSEEN = {"max_cached_file", "revalidate", "invalidation", "preload", "cache_memory", "cache_entries", "rate_limit"}
GZIPPED = {"gzip_min_size", "gzip_types"}  # Each against gzip_level alone.


def _shown(reply: Reply, what: str) -> Any:
    return {"status": reply.status, "body": reply.body}.get(what, dict(reply.headers).get(what))


def test_each_option_shows_on_the_wire(launch: Any, tmp_path: Path) -> None:
    plant(tmp_path / "tree")
    (tmp_path / "tree" / "long.txt").write_text("meow " * 1000)
    options: dict[str, dict[str, Any]] = {f"m{at}": row[0] for at, row in enumerate(FLIPS)}
    run = launch(mounts({"base": {}, "gzip": {"gzip_level": 1}} | options), sidecar=real_sidecar()).ready()
    wrong = []
    for at, (option, path, fields, what, expected) in enumerate(FLIPS):
        flipped = _shown(run.get(f"/m{at}{path}", headers=list(fields.items())), what)
        base = "gzip" if GZIPPED & set(option) else "base"
        before = _shown(run.get(f"/{base}{path}", headers=list(fields.items())), what)
        if flipped != expected or (before == expected and not UNSEEN & set(option)):
            wrong.append(f"{option}: {what} is {flipped!r}, not {expected!r}; without it {before!r}")
    assert not wrong, "\n".join(wrong)
    coded = run.get(f"/m{[row[0] for row in FLIPS].index({'gzip_level': 9})}/long.txt", headers=list(GZIP.items()))
    assert gzip.decompress(coded.body) == b"meow " * 1000
    until(lambda: '"/base/a.txt"' in run.text, "the access log")
    assert not by_workers(run)


def test_every_option_is_flipped_above() -> None:
    from catzilla._proto import config_pb2 as config

    flipped = {name for row in FLIPS for name in row[0]}
    assert flipped == set(config.Mount.DESCRIPTOR.fields_by_name) - {
        "name", "host", "prefix", "root", "fallback_pool", "internal",
    }  # fmt: skip
