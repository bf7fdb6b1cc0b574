"""mount_static's options: what is refused where it is written, and that both sides know the same ones."""

from __future__ import annotations

import ast
import errno
import inspect
import json
import os
import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from catzilla import Catzilla, ConfigurationError, FileRule
from catzilla._master._registration import _mount
from catzilla._proto import config_pb2 as config
from catzilla._static import StaticOptions
from catzilla._static._options import parse_size
from catzilla._static._pattern import TOKENS_MAX, Pattern
from catzilla._static._rules import is_fingerprinted
from catzilla._static._types import TYPES

SIDECAR = Path(__file__).resolve().parents[2] / "sidecar"
in_the_repository = pytest.mark.skipif(not SIDECAR.is_dir(), reason="the sidecar's sources are not beside us")
# What mount_static says by its first two arguments, and the host, which only a listener of its own could want.
POSITIONAL = {"prefix", "root", "host"}
OPERATORS = {"fallback_pool", "internal"}  # What no file answers is the app's own anyway; FileResponse needs no mount.

EVERY: dict[str, Any] = {
    "name": "m", "index_files": ["a.html", "b.html"], "cache_control": "no-cache", "headers": {"X-A": "1"},
    "mime_types": {"cat": "text/cat"}, "charset": "off", "etags": False, "last_modified": False, "ranges": False,
    "hidden_files": True, "symlinks": "anywhere", "allowed_extensions": ("html",), "blocked_extensions": ["env"],
    "blocked_patterns": ["*.bak"], "max_file_size": "1MiB", "directory_listing": "json", "spa_fallback": "a/b.html",
    "error_pages": {404: "404.html", 503: "busy.html"}, "fingerprinted": "immutable",
    "file_rules": [FileRule(match=["*.js"], cache_control=""), FileRule(match=["*"], headers={"X-B": "2"})],
    "precompressed": ["br", "zstd"], "gzip_level": 6, "gzip_min_size": "2KiB", "gzip_types": ["text/*"],
    "max_cached_file": "25%", "preload": ["**"], "cache_memory": "8MiB", "cache_entries": 9,
    "rate_limit": "1MiB", "revalidate": "1m30s", "invalidation": "lazy",
}  # fmt: skip


def test_the_sidecar_and_we_have_the_same_options() -> None:
    theirs = set(config.Mount.DESCRIPTOR.fields_by_name) - POSITIONAL - OPERATORS
    assert {one.name for one in fields(StaticOptions)} == theirs
    arguments = inspect.signature(Catzilla.mount_static).parameters
    assert set(arguments) - {"self", "path", "directory"} == theirs
    assert {one.name for one in fields(FileRule)} == set(config.FileRule.DESCRIPTOR.fields_by_name)
    defaults = StaticOptions()
    for name in theirs - {"name"}:
        given = arguments[name].default
        assert (given or None) == (getattr(defaults, name) or None), name
    for name in theirs - {"name", "index_file"}:
        assert name in EVERY, name
        assert name in (Catzilla.mount_static.__doc__ or ""), name


def test_every_option_is_registered(tmp_path: Path) -> None:
    resource = StaticOptions(**EVERY).resource()
    message = _mount(json.loads(json.dumps(resource)) | {"prefix": "/m", "root": str(tmp_path)})
    for name in EVERY:
        assert name in resource, name
        assert message.DESCRIPTOR.fields_by_name[name] in [field for field, _ in message.ListFields()], name
    assert (message.symlinks, message.invalidation) == (config.SYMLINKS_ANYWHERE, config.INVALIDATION_LAZY)
    assert message.directory_listing == config.DIRECTORY_LISTING_JSON
    assert dict(message.error_pages) == {"404": "404.html", "503": "busy.html"}
    first, second = message.file_rules
    assert first.HasField("cache_control")
    assert first.cache_control == ""
    assert (second.HasField("cache_control"), dict(second.headers)) == (False, {"X-B": "2"})
    assert StaticOptions(name="m").resource() == {"name": "m"}


def test_options_are_copies() -> None:
    blocked = ["*.bak"]
    options = StaticOptions(blocked_patterns=blocked)
    blocked.clear()
    assert options.blocked_patterns == ("*.bak",)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a b"}, "name: 'a b' is no name"),
    ({"index_file": "a/b"}, "index_file: 'a/b' is no file name"),
    ({"index_files": "index.html"}, r"index_files: 'index.html' is no list; write it as \['index.html'\]"),
    ({"index_files": [".."]}, "index_files: '..' is no file name"),
    ({"index_file": "a", "index_files": ["b"]}, "put all names into index_files"),
    ({"directory_listing": "yes"}, "directory_listing: 'yes'; use off, html or json"),
    ({"symlinks": "follow"}, "use never, inside or anywhere"),
    ({"invalidation": 5}, "use immediate, lazy or ttl"),
    ({"fingerprinted": True}, "fingerprinted: True; use off or immutable"),
    ({"etags": "no"}, "etags: 'no'; use True or False"),
    ({"spa_fallback": "/index.html"}, "no path of a visible file below the root"),
    ({"spa_fallback": "../x"}, "no path of a visible file"),
    ({"spa_fallback": ".env"}, "no path of a visible file"),
    ({"error_pages": {404: "/x"}}, "error_pages: '/x' is no path"),
    ({"error_pages": {500: "x"}}, "500 is no status that has a page: 403, 404 and 503"),
    ({"error_pages": {"404": "x"}}, "'404' is no status"),
    ({"error_pages": ["x"]}, "is no dict"),
    ({"allowed_extensions": [".js"]}, "'.js' is no extension: write it without the dot"),
    ({"blocked_extensions": ["*.js"]}, "is no extension"),
    ({"blocked_extensions": "env"}, "is no list"),
    ({"allowed_extensions": ["js"], "blocked_extensions": ["JS"]}, "'js' is in allowed_extensions and in blocked"),
    ({"blocked_patterns": ["[a"]}, r"'\[a' has a \[ without its \]; for example"),
    ({"blocked_patterns": [""]}, "is empty"),
    ({"blocked_patterns": [5]}, "5 is no text"),
    ({"blocked_patterns": ["*"] * 65}, "65 patterns, and one list takes 64"),
    ({"preload": ["a\\"]}, "ends with a backslash"),
    ({"max_file_size": "10"}, "max_file_size: '10' is no size: write a number with its unit"),
    ({"max_file_size": 10}, "10 is no size"),
    ({"max_file_size": "25%"}, "is no size"),
    ({"charset": ""}, "is no charset, for example utf-8, or off"),
    ({"charset": "utf 8"}, "is no charset"),
    ({"precompressed": ["zip"]}, "precompressed: 'zip'; use br, zstd or gzip"),
    ({"precompressed": "br"}, "is no list"),
    ({"gzip_level": 10}, "10 is no number from 0 to 9"),
    ({"gzip_level": True}, "True is no number"),
    ({"gzip_types": ["text/*"]}, "gzip_types needs a gzip_level"),
    ({"cache_entries": 9}, "cache_entries needs cache_memory"),
    ({"gzip_level": 1, "gzip_types": ["text"]}, "'text' is no media type"),
    ({"mime_types": {".cat": "text/cat"}}, "is no extension"),
    ({"mime_types": {"cat": "cat"}}, "is no media type"),
    ({"cache_control": "a\r\nX: y"}, "control characters"),
    ({"headers": {"X": "a\nb"}}, "control characters"),
    ({"headers": {"X A": "a"}}, "is no field name"),
    ({"headers": {"ETag": "a"}}, "'ETag' is written by the server itself"),
    ({"headers": {"X": 5}}, "5 has control"),
    ({"revalidate": 5}, "revalidate: 5 is no text"),
    ({"file_rules": [{"match": ["*"]}]}, r"is no FileRule\(...\)"),
]


@pytest.mark.parametrize(("options", "match"), WRONG, ids=[str(row[0])[:50] for row in WRONG])
def test_what_cannot_be_is_refused_where_it_is_written(tmp_path: Path, options: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as caught:
        Catzilla().mount_static("/m", tmp_path, **options)
    assert str(caught.value).startswith("mount_static: ")


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ({"match": [], "cache_control": ""}, "match is empty"),
        ({"match": "*.js", "cache_control": ""}, "is no list"),
        ({"match": ["[z-a]"], "cache_control": ""}, "runs backwards"),
        ({"match": ["*"]}, "says nothing"),
        ({"match": ["*"], "headers": {"Date": "x"}}, "by the server itself"),
        ({"match": ["*"], "cache_control": "x "}, "spaces at an end"),
    ],
)
def test_a_rule_that_cannot_be(rule: Any, match: str) -> None:
    with pytest.raises(ConfigurationError, match=f"FileRule: .*{match}"):
        FileRule(**rule)


def test_sizes() -> None:
    sizes = {"0": 0, "512B": 512, "64KiB": 65536, "1.5MiB": 3 << 19, "1kB": 1000, "2GB": 2 * 10**9, "1TiB": 1 << 40}
    assert {text: parse_size(text) for text in sizes} == sizes


# The sidecar's own tables...


@in_the_repository
def test_patterns_match_what_the_sidecars_do() -> None:
    source = (SIDECAR / "base" / "pattern_test.cc").read_text()
    cases = re.findall(r'\{("[^,]+"), ("[^,]+"), (true|false), (true|false)\}', source)
    assert len(cases) > 20
    for pattern, path, matches, holds in cases:
        one = Pattern(ast.literal_eval(pattern))
        name = ast.literal_eval(path).encode()
        assert (one.matches(name), one.matches_or_holds(name)) == (matches == "true", holds == "true"), (pattern, path)


@pytest.mark.parametrize("text", ["", "/", "a\\", "[abc", "[z-a]", "[", "[]", "a" * (TOKENS_MAX + 1)])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError):
        Pattern(text)


def test_many_stars_end() -> None:
    begin = time.monotonic()
    for text in ("*a" * 100 + "b", "/" + "**a" * 100 + "b", "**/a*" * 40 + "b"):
        assert not Pattern(text).matches_or_holds(b"a" * 4000)
    assert time.monotonic() - begin < 20


def _slow(pattern: str, path: str) -> bool:
    """The grammar, said once more: tries everything."""
    if not pattern:
        return not path
    if pattern.startswith("**"):
        rest = pattern.lstrip("*")
        if rest.startswith("/"):
            return any(_slow(rest[1:], path[at:]) for at in range(len(path) + 1) if not at or path[at - 1] == "/")
        return any(_slow(rest, path[at:]) for at in range(len(path) + 1))
    if pattern[0] == "*":
        ends = next((at for at, c in enumerate(path) if c == "/"), len(path))
        return any(_slow(pattern[1:], path[at:]) for at in range(ends + 1))
    if not path:
        return False
    fits = path[0] != "/" if pattern[0] == "?" else path[0] == pattern[0]
    return fits and _slow(pattern[1:], path[1:])


@given(pattern=st.text("ab*?/", min_size=1, max_size=8), path=st.text("ab/", max_size=8))
def test_patterns_are_what_the_grammar_says(pattern: str, path: str) -> None:
    text = pattern.removesuffix("/")
    anchored, text = "/" in text, text.removeprefix("/")
    if not text:
        return
    names = [path] if anchored else [path.rpartition("/")[2]]
    assert Pattern(pattern).matches(path.encode()) is any(_slow(text, name) for name in names)


@in_the_repository
def test_media_types_are_the_sidecars() -> None:
    source = (SIDECAR / "files" / "mime.cc").read_text()
    assert dict(re.findall(r'\{"([^"]+)", "([^"]+)"\}', source)) == TYPES


@in_the_repository
def test_fingerprints_are_the_sidecars() -> None:
    source = (SIDECAR / "files" / "rules_test.cc").read_text()
    source = source[source.index("LabelFingerprintedNames") :]
    lists = [
        re.findall(r'"([^"]*)"', found)
        for found in re.findall(r"for \(const char\* name :\s+\{(.*?)\}\)", source, re.S)
    ]
    assert [len(names) > 3 for names in lists[:2]] == [True, True]
    assert all(map(is_fingerprinted, lists[0]))
    assert not any(map(is_fingerprinted, lists[1]))


# What a tree of root's cannot show: files that are not ours to read, and a system that is short of something...


@pytest.mark.parametrize(
    ("number", "status", "body"),
    [
        (errno.EACCES, 403, "forbidden"),
        (errno.EPERM, 403, "forbidden"),
        (errno.ENOENT, 404, "missing"),
        (errno.EMFILE, 503, "busy"),
        (errno.EIO, 500, '{"detail":"Internal Server Error"}'),
    ],
)
def test_an_error_has_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, body: str
) -> None:
    pages = {403: "forbidden", 404: "missing", 503: "busy"}
    for text in (*pages.values(), "locked"):
        (tmp_path / f"{text}.html").write_text(text)
    app = Catzilla()
    app.mount_static("/m", tmp_path, error_pages={s: f"{t}.html" for s, t in pages.items()}, cache_control="max-age=9")
    real = os.open

    def fails(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("locked.html"):
            raise OSError(number, "as the test wants it")
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", fails)
    answer = TestClient(app).get("/m/locked.html")
    assert (answer.status_code, answer.text) == (status, body)
    assert not {"etag", "last-modified", "cache-control", "accept-ranges"} & set(answer.headers)
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_dates_that_say_nothing_are_not_sent(tmp_path: Path) -> None:
    app = Catzilla()
    app.mount_static("/m", tmp_path)
    for stamp in (0, 1, time.time() + 9999):
        (tmp_path / "a").write_text("0123")
        os.utime(tmp_path / "a", (stamp, stamp))
        headers = {"If-Range": "x", "Range": "bytes=0-1"}
        answer = TestClient(app).get("/m/a", headers=headers)
        assert (answer.status_code, "last-modified" in answer.headers) == (200, False)


@pytest.mark.parametrize(
    ("mount", "root_path"), [("/", ""), ("/m", ""), ("/m/n", ""), ("/m", "/proxy"), ("/", "/proxy")]
)
def test_a_mount_anywhere(tmp_path: Path, mount: str, root_path: str) -> None:
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "index.html").write_text("sub")
    app = Catzilla()
    app.mount_static(mount, tmp_path, directory_listing="json")
    client = TestClient(app, follow_redirects=False, root_path=root_path)
    where = root_path + mount.rstrip("/")
    redirect = client.get(f"{where}/sub dir?a=%20")
    assert (redirect.status_code, redirect.headers["location"]) == (301, f"{where}/sub%20dir/?a=%20")
    assert client.get(redirect.headers["location"]).text == "sub"
    assert client.get(f"{where}/").json()["path"] == f"{where}/"
    assert client.get(f"{where}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd").status_code == 400


def test_several_ranges_are_parts(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0123456789" * 100)
    app = Catzilla()
    app.mount_static("/m", tmp_path)
    app.mount_static("/whole", tmp_path, ranges=False)
    headers = {"Range": "bytes=0-1,500-501"}
    answer = TestClient(app).get("/m/a", headers=headers)
    assert (answer.status_code, answer.headers["content-type"][:31]) == (206, "multipart/byteranges; boundary=")
    assert TestClient(app).get("/whole/a", headers=headers).status_code == 200
