"""Content codings, rules by pattern, error pages and preloading: each option seen on the wire."""

from __future__ import annotations

import gzip
import os
import pathlib
from collections.abc import Iterator

import pytest
from raw_http import Answer, RawConnection
from sidecar_process import Sidecar, metric
from waiting import eventually

TEXT = b"".join(b"line %d of a text that is worth compressing\n" % n for n in range(200))

CONFIG = """
mounts:
  - {{name: off, prefix: /off, root: {site}, headers: {{X-All: a, X-Own: b}}}}
  - {{name: gzip, prefix: /gzip, root: {site}, gzip_level: 6}}
  - {{name: large, prefix: /large, root: {site}, gzip_level: 6, gzip_min_size: 1MiB}}
  - {{name: types, prefix: /types, root: {site}, gzip_level: 1, gzip_types: [image/png, "font/*"]}}
  - {{name: beside, prefix: /beside, root: {site}, precompressed: [br, zstd, gzip], gzip_level: 1}}
  - {{name: some, prefix: /some, root: {site}, precompressed: [gzip], blocked_patterns: ["*.zst"]}}
  - name: rules
    prefix: /rules
    root: {site}
    cache_control: max-age=1
    fingerprinted: immutable
    headers: {{X-All: a, X-Own: b}}
    file_rules:
      - {{match: ["*.css"], cache_control: max-age=60, headers: {{x-own: c, X-Css: d}}}}
      - {{match: [dir/**, "*.css"], cache_control: ""}}
      - {{match: [app.0a1b2c3d.js], headers: {{X-Js: e}}}}
  - name: pages
    prefix: /pages
    root: {site}
    cache_control: max-age=1
    hidden_files: false
    error_pages: {{404: err/missing.html, 403: err/none.html}}
  - {{name: ahead, prefix: /ahead, root: {site}, preload: ["*.css", dir], invalidation: ttl,
     revalidate: 60s}}
  - {{name: own, prefix: /own, root: {site}, cache_memory: 256KiB, max_cached_file: 64KiB}}
  - {{name: few, prefix: /few, root: {site}, cache_memory: 8MiB, cache_entries: 50}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    site = tmp_path_factory.mktemp("codings") / "site"
    for name in ("dir", "err"):
        (site / name).mkdir(parents=True)
    for name in ("a.txt", "b.css", "dir/c.txt", "app.0a1b2c3d.js", "old.txt", "p.png", "f.woff2"):
        (site / name).write_bytes(TEXT)
    (site / "dir" / "index.html").write_text("<p>index")
    (site / "err" / "missing.html").write_text("<h1>not here</h1>")
    (site / "small.txt").write_bytes(b"x" * 1023)
    for suffix in ("br", "zst", "gz"):
        (site / f"a.txt.{suffix}").write_bytes(suffix.encode() * 40)
    stale = site / "old.txt.br"
    stale.write_bytes(b"of an older deploy")
    os.utime(stale, (1_600_000_000, 1_600_000_000))
    return site


@pytest.fixture(scope="module")
def running(site: pathlib.Path) -> Iterator[Sidecar]:
    with Sidecar(site.parent, CONFIG.format(site=site)) as sidecar:
        yield sidecar


def ask(sidecar: Sidecar, path: str, *headers: str, method: str = "GET") -> Answer:
    with RawConnection(sidecar.port) as raw:
        return raw.get(path, *headers, method=method)


def coded(sidecar: Sidecar, path: str, accept: str) -> Answer:
    return ask(sidecar, path, f"Accept-Encoding: {accept}")


def test_off_by_default(running: Sidecar) -> None:
    answer = coded(running, "/off/a.txt", "gzip, br, zstd")
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer.header("content-encoding") is None
    assert answer.header("vary") is None


def test_gzip_is_made_once_and_is_right(running: Sidecar) -> None:
    plain = coded(running, "/gzip/a.txt", "identity")
    small = coded(running, "/gzip/a.txt", "gzip, deflate, br")
    assert plain.body == TEXT
    assert small.header("content-encoding") == "gzip"
    assert gzip.decompress(small.body) == TEXT
    assert small.header("content-length") == str(len(small.body))
    assert len(small.body) < len(TEXT) / 4
    for answer in (plain, small):
        assert answer.header("vary") == "Accept-Encoding"
        assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert plain.header("etag") != small.header("etag")
    before = compressed(running, "gzip")
    for _ in range(20):
        assert coded(running, "/gzip/a.txt", "gzip").body == small.body
    assert compressed(running, "gzip") == before
    head = ask(running, "/gzip/a.txt", "Accept-Encoding: gzip", method="HEAD")
    assert head.header("content-length") == str(len(small.body))


def counted(sidecar: Sidecar, series: str) -> float:
    return metric(sidecar, f"catzilla_static_{series}")


def compressed(sidecar: Sidecar, mount: str) -> tuple[float, float]:
    came = counted(sidecar, f'compressed_in_bytes_total{{mount="{mount}"}}')
    left = counted(sidecar, f'compressed_out_bytes_total{{mount="{mount}"}}')
    assert 0 < left < came
    return came, left


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "br"),
        ("gzip;q=0", None),
        ("gzip;q=0.2, br;q=0.1", "gzip"),
        ("br;q=0.2, gzip;q=0.1, zstd;q=0.9", "zstd"),
        ("br, gzip, zstd", "br"),
        ("zstd, gzip", "zstd"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("deflate", None),
        ("", None),
        ("gzip;q=nonsense", None),
        ("*;q=0", None),
        ("identity;q=0, *;q=0", None),
    ],
)
def test_negotiation(running: Sidecar, accept: str, coding: str | None) -> None:
    answer = coded(running, "/beside/a.txt", accept)
    assert answer.status == 200
    assert answer.header("content-encoding") == coding
    suffix = {"br": b"br", "zstd": b"zst", "gzip": b"gz", None: b""}[coding]
    assert answer.body == (suffix * 40 or TEXT)


def test_each_variant_validates_itself(running: Sidecar) -> None:
    tags = {
        c: coded(running, "/beside/a.txt", c).header("etag") for c in ("br", "gzip", "identity")
    }
    assert len(set(tags.values())) == 3
    for coding, tag in tags.items():
        for asked in tags:
            answer = ask(
                running, "/beside/a.txt", f"Accept-Encoding: {asked}", f"If-None-Match: {tag}"
            )
            assert answer.status == (304 if asked == coding else 200)
            assert answer.header("vary") == "Accept-Encoding"


def test_ranges_are_of_the_variant(running: Sidecar) -> None:
    answer = ask(running, "/beside/a.txt", "Accept-Encoding: br", "Range: bytes=0-3")
    assert (answer.status, answer.body) == (206, b"brbr")
    assert answer.header("content-range") == "bytes 0-3/80"
    assert answer.header("content-encoding") == "br"
    assert ask(running, "/beside/a.txt", "Accept-Encoding: br", "Range: bytes=80-").status == 416


def test_a_sibling_of_an_older_deploy_is_not_sent(running: Sidecar) -> None:
    answer = coded(running, "/beside/old.txt", "br, gzip")
    assert answer.header("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == TEXT


def test_what_is_blocked_or_not_listed_is_no_variant(running: Sidecar) -> None:
    assert coded(running, "/some/a.txt", "zstd").header("content-encoding") is None
    assert coded(running, "/some/a.txt", "br").header("content-encoding") is None
    assert coded(running, "/some/a.txt", "gzip").body == b"gz" * 40


def test_size_and_type_decide(running: Sidecar) -> None:
    def coding(path: str) -> str | None:
        return coded(running, path, "gzip").header("content-encoding")

    assert coding("/gzip/small.txt") is None
    assert coding("/gzip/p.png") is None
    assert coding("/gzip/f.woff2") is None
    assert coding("/large/a.txt") is None
    assert coding("/types/p.png") == "gzip"
    assert coding("/types/f.woff2") == "gzip"
    assert coding("/types/a.txt") is None


def test_a_sibling_that_comes_goes_or_changes_is_seen(running: Sidecar, site: pathlib.Path) -> None:
    (site / "new.css").write_bytes(TEXT)
    assert coded(running, "/beside/new.css", "br").header("content-encoding") is None

    def until(want: bytes) -> None:
        eventually(lambda: coded(running, "/beside/new.css", "br").body == want)

    (site / "new.css.br").write_bytes(b"first")
    until(b"first")
    (site / "next").write_bytes(b"second")
    (site / "next").rename(site / "new.css.br")
    until(b"second")
    (site / "new.css.br").unlink()
    until(TEXT)


def test_rules_by_pattern(running: Sidecar) -> None:
    def seen(path: str) -> list[str | None]:
        answer = ask(running, path)
        assert answer.status == 200
        names = ("cache-control", "x-all", "x-own", "x-css", "x-js")
        return [answer.header(name) for name in names]

    immutable = "public, max-age=31536000, immutable"
    assert seen("/rules/a.txt") == ["max-age=1", "a", "b", None, None]
    assert seen("/rules/b.css") == ["max-age=60", "a", "c", "d", None]
    assert seen("/rules/dir/c.txt") == [None, "a", "b", None, None]
    assert seen("/rules/app.0a1b2c3d.js") == [immutable, "a", "b", None, "e"]
    assert seen("/off/a.txt") == [None, "a", "b", None, None]
    tag = ask(running, "/rules/b.css").header("etag")
    again = ask(running, "/rules/b.css", f"If-None-Match: {tag}")
    assert (again.status, again.header("cache-control")) == (304, "max-age=60")


@pytest.mark.parametrize("path", ["/pages/nowhere", "/pages/.hidden", "/pages/dir/nowhere.png"])
def test_error_page(running: Sidecar, path: str) -> None:
    for _ in range(2):  # Opened, and found in memory.
        answer = ask(running, path)
        assert (answer.status, answer.body) == (404, b"<h1>not here</h1>")
        assert answer.header("content-type") == "text/html; charset=utf-8"
        assert answer.header("content-length") == "17"
        assert answer.header("date") is not None
        for name in ("etag", "last-modified", "accept-ranges", "cache-control"):
            assert answer.header(name) is None, name
    head = ask(running, path, method="HEAD")
    assert (head.status, head.body, head.header("content-length")) == (404, b"", "17")
    validated = ask(running, path, "If-None-Match: *", "Range: bytes=0-1")
    assert (validated.status, validated.body) == (404, b"<h1>not here</h1>")


def test_an_error_page_that_is_missing_is_the_plain_error(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "site").mkdir()
    page = f"{{name: a, prefix: /, root: {tmp_path}/site, error_pages: {{404: no.html}}}}"
    with Sidecar(tmp_path, f"mounts: [{page}]\n") as sidecar:
        for _ in range(2):
            assert ask(sidecar, "/x").status == 404
            assert ask(sidecar, "/no.html").status == 404
        (tmp_path / "site" / "no.html").write_text("now")
        eventually(lambda: ask(sidecar, "/x").body == b"now")


def test_preloaded_files_are_hits_at_once(running: Sidecar) -> None:
    # And the directory itself.
    eventually(lambda: counted(running, 'preloaded_total{mount="ahead"}') >= 4)
    before = counted(running, 'lookups_total{mount="ahead",result="hit"}')
    for path in ("/ahead/b.css", "/ahead/dir/c.txt", "/ahead/dir/", "/ahead/dir/index.html"):
        assert ask(running, path).status == 200
    assert counted(running, 'lookups_total{mount="ahead",result="hit"}') == before + 4
    assert counted(running, 'lookups_total{mount="ahead",result="miss"}') == 0
    assert ask(running, "/ahead/a.txt").status == 200
    assert counted(running, 'lookups_total{mount="ahead",result="miss"}') == 1


def test_a_cache_of_its_own_holds_no_more_than_it_has(running: Sidecar, site: pathlib.Path) -> None:
    for n in range(200):
        (site / f"own{n}.bin").write_bytes(b"x" * 2000)
    for mount in ("own", "few", "off"):
        with RawConnection(running.port) as raw:
            for n in range(200):
                assert raw.get(f"/{mount}/own{n}.bin").body == b"x" * 2000
    assert counted(running, 'entries{mount="few"}') == 50
    assert counted(running, 'evictions_total{mount="few"}') == 150
    assert counted(running, 'evictions_total{mount="own"}') > 50
    assert 100_000 < counted(running, 'held_bytes{mount="own"}') <= 256 * 1024
    assert counted(running, 'held_bytes{mount="off"}') > 400_000
    assert counted(running, 'evictions_total{mount="off"}') == 0
