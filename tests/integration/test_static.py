"""Static files from outside: what is served, what is not, conditions and ranges."""

from __future__ import annotations

import email.utils

import pytest
from conftest import LARGE_BYTES
from raw_http import RawConnection
from sidecar_process import Sidecar


def test_a_file_has_length_type_validators_and_date(connection: RawConnection) -> None:
    answer = connection.get("/a.txt")
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.header("accept-ranges") == "bytes"
    assert (
        answer.header(
            "etag",
        )
        is not None
    )
    date = answer.header("date")
    assert date is not None
    assert email.utils.parsedate_to_datetime(date)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"<h1>home</h1>\n"),
        ("/sub/", 200, b"sub\n"),
        ("/nested/deep/", 200, b"sub\n"),
        ("/empty.txt", 200, b""),
        ("/with%20space.txt", 200, b"space"),
        ("/%C3%BCmlaut.txt", 200, b"umlaut"),
        ("/inside", 200, b"0123456789"),
        ("/.well-known/security.txt", 200, b"contact"),
        ("/sub/../a.txt", 200, b"0123456789"),
        ("/%61.txt?query", 200, b"0123456789"),
        ("/missing", 404, None),
        ("/a.txt/", 404, None),
        ("/.secret", 404, None),
        ("/escape", 404, None),
        ("/nested/deeper", 404, None),
        ("/../outside.txt", 400, None),
        ("/%2e%2e/outside.txt", 400, None),
        ("/sub/%2e%2e/%2e%2e/outside.txt", 400, None),
        ("/%252e%252e/outside.txt", 404, None),
        ("/sub%2findex.html", 400, None),
        ("/sub%5cindex.html", 400, None),
        ("/a.txt%00.html", 400, None),
    ],
)
def test_paths(connection: RawConnection, path: str, status: int, body: bytes | None) -> None:
    answer = connection.get(path)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    assert b"outside" not in answer.body


def test_a_directory_without_its_slash_is_redirected_on_this_host(
    connection: RawConnection,
) -> None:
    assert connection.get("/sub").header("location") == "/sub/"
    answer = connection.get("//evil.example/..%2f")
    assert answer.status in (400, 404)
    assert answer.header("location") is None


def test_head_is_get_without_body(connection: RawConnection) -> None:
    full = connection.get("/a.txt")
    head = connection.get("/a.txt", method="HEAD")
    assert head.body == b""
    drop = {"date"}
    assert [h for h in head.headers if h[0] not in drop] == [
        h for h in full.headers if h[0] not in drop
    ]
    assert connection.get("/a.txt").body == b"0123456789"  # The connection is in step.


def test_conditions(connection: RawConnection) -> None:
    full = connection.get("/a.txt")
    etag, modified = full.header("etag"), full.header("last-modified")
    assert etag is not None
    assert modified is not None
    cases = [
        ([f"If-None-Match: {etag}"], 304),
        (['If-None-Match: "other"'], 200),
        (["If-None-Match: *"], 304),
        ([f'If-None-Match: "x", W/{etag}'], 304),
        ([f"If-Modified-Since: {modified}"], 304),
        (["If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], 200),
        (['If-None-Match: "other"', f"If-Modified-Since: {modified}"], 200),
        ([f"If-Match: {etag}"], 200),
        (['If-Match: "other"'], 412),
        (["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], 412),
    ]
    for headers, status in cases:
        answer = connection.get("/a.txt", *headers)
        assert answer.status == status, headers
        if status == 304:
            assert answer.header("etag") == etag
            assert answer.header("content-length") is None


@pytest.mark.parametrize(
    ("value", "status", "content_range", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=8-100", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=-0", 416, "bytes */10", None),
        ("bytes=5-2", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
        ("bytes=99999999999999999999999-", 416, "bytes */10", None),
    ],
)
def test_ranges(
    connection: RawConnection,
    value: str,
    status: int,
    content_range: str | None,
    body: bytes | None,
) -> None:
    answer = connection.get("/a.txt", f"Range: {value}")
    assert answer.status == status
    assert answer.header("content-range") == content_range
    if body is not None:
        assert answer.body == body


def test_if_range(connection: RawConnection) -> None:
    etag = connection.get("/a.txt").header("etag")
    assert connection.get("/a.txt", "Range: bytes=0-1", f"If-Range: {etag}").status == 206
    assert connection.get("/a.txt", "Range: bytes=0-1", 'If-Range: "x"').status == 200


def test_large_files_come_whole_and_in_parts(connection: RawConnection) -> None:
    expected = bytes(range(256)) * (LARGE_BYTES // 256) + b"x" * 17
    answer = connection.get("/large.bin")
    assert answer.body == expected
    part = connection.get("/large.bin", "Range: bytes=1000000-1999999")
    assert part.body == expected[1000000:2000000]


def test_other_methods(connection: RawConnection) -> None:
    answer = connection.get("/a.txt", "Content-Length: 0", method="POST")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, OPTIONS")
    answer = connection.get("/a.txt", method="OPTIONS")
    assert (answer.status, answer.header("allow")) == (204, "GET, HEAD, OPTIONS")


def test_settings_of_one_mount_do_not_reach_another(connection: RawConnection) -> None:
    assert connection.get("/nested/deep/index.html").header("cache-control") == "max-age=60"
    assert connection.get("/sub/index.html").header("cache-control") is None


def test_a_changed_file_is_seen_within_the_window(sidecar: Sidecar) -> None:
    import time

    path = sidecar.folder / "site" / "changing.txt"
    path.write_text("one")
    with RawConnection(sidecar.port) as raw:
        assert raw.get("/changing.txt").body == b"one"
        replacement = path.with_suffix(".new")
        replacement.write_text("two and longer")
        replacement.rename(path)
        deadline = time.monotonic() + 5
        while (body := raw.get("/changing.txt").body) != b"two and longer":
            assert body == b"one"
            assert time.monotonic() < deadline
        path.unlink()
        while raw.get("/changing.txt").status != 404:
            assert time.monotonic() < deadline + 5
