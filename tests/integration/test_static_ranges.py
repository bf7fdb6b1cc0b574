"""Several ranges of a file, read as a client reads them: from memory and by sendfile."""

from __future__ import annotations

import email
import email.message
import email.policy
import email.utils
import json
import os
import pathlib
import random
from collections.abc import Iterator

import pytest
from app_process import eventually
from raw_http import Answer, RawConnection
from sidecar_process import Sidecar, metric

HUGE_BYTES = 64 * 1024 * 1024  # More than any socket's buffers take.
FILES = {
    "/hot.html": random.Random(1).randbytes(60_000),
    "/large.bin": random.Random(2).randbytes(3 * 1024 * 1024 + 17),
    "/tiny.txt": b"0123456789",
    "/empty.txt": b"",
    "/coded.js": b"o" * 5000,
    "/coded.js.br": b"b" * 4000,
}
TYPES = {"/hot.html": "text/html; charset=utf-8", "/large.bin": "application/octet-stream"}


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("ranges")
    site = folder / "site"
    site.mkdir()
    for path, content in FILES.items():
        (site / path[1:]).write_bytes(content)
        os.utime(site / path[1:], (1_700_000_000, 1_700_000_000))
    config = f"""
telemetry: {{access_log: true}}
mounts:
  - {{name: site, prefix: /, root: {site}, precompressed: [br]}}
"""
    with Sidecar(folder, config) as running:
        yield running


def parts_of(answer: Answer) -> list[tuple[str | None, str | None, bytes]]:
    """(Content-Type, Content-Range, bytes) of each part, as the standard library's parser sees it."""
    kind = answer.header("content-type")
    assert kind is not None and kind.startswith("multipart/byteranges; boundary=")
    boundary = kind.split("=", 1)[1].encode()
    assert len(boundary) == 32
    assert answer.body.startswith(b"--" + boundary + b"\r\n")
    assert answer.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    message = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + answer.body, policy=email.policy.compat32
    )
    assert not message.defects
    parts = []
    for part in message.get_payload():
        assert isinstance(part, email.message.Message)
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert part.keys() == ["Content-Type", "Content-Range"]
        parts.append((part["Content-Type"], part["Content-Range"], payload))
    return parts


@pytest.mark.parametrize("path", ["/hot.html", "/large.bin"])
@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-0,-1", [(0, 1), (-1, 1)]),
        ("bytes=100-199, 20000-49999", [(100, 100), (20000, 30000)]),
        ("bytes=20000-49999,100-199", [(20000, 30000), (100, 100)]),
        ("bytes=0-9,1000-1009,50000-50009,9000000-", [(0, 10), (1000, 10), (50000, 10)]),
        ("bytes=5-99,0-9,4000-4999,50-149", [(0, 150), (4000, 1000)]),
        (
            "bytes=" + ",".join(f"{i * 2000}-{i * 2000}" for i in range(16)),
            [(i * 2000, 1) for i in range(16)],
        ),
    ],
)
def test_each_range_is_a_part(
    connection: RawConnection, path: str, value: str, spans: list[tuple[int, int]]
) -> None:
    content = FILES[path]
    answer = connection.get(path, f"Range: {value}")
    assert answer.status == 206
    assert answer.header("content-range") is None
    assert answer.header("etag") == connection.get(path).header("etag")
    expected = []
    for begin, length in spans:
        first = begin % len(content)
        expected.append(
            (
                TYPES[path],
                f"bytes {first}-{first + length - 1}/{len(content)}",
                content[first : first + length],
            )
        )
    assert parts_of(answer) == expected
    assert connection.get("/tiny.txt").body == FILES["/tiny.txt"]  # The connection is in step.


def test_large_parts_come_through_whole(connection: RawConnection) -> None:
    content = FILES["/large.bin"]
    answer = connection.get("/large.bin", "Range: bytes=2000000-2999999,0-999999")
    assert [payload for _, _, payload in parts_of(answer)] == [
        content[2_000_000:3_000_000],
        content[:1_000_000],
    ]


def test_what_is_pipelined_behind_it_follows(connection: RawConnection) -> None:
    requests = ""
    for path in ("/hot.html", "/large.bin", "/hot.html"):
        requests += f"GET {path} HTTP/1.1\r\nHost: t\r\nRange: bytes=0-9,30000-49999\r\n\r\n"
    connection.send(requests.encode() + b"GET /tiny.txt HTTP/1.1\r\nHost: t\r\n\r\n")
    boundaries = set()
    for path in ("/hot.html", "/large.bin", "/hot.html"):
        answer = connection.read()
        boundaries.add(answer.header("content-type"))
        assert [payload for _, _, payload in parts_of(answer)] == [
            FILES[path][:10],
            FILES[path][30000:50000],
        ]
    assert connection.read().body == FILES["/tiny.txt"]
    assert len(boundaries) == 3


@pytest.mark.parametrize("path", ["/hot.html", "/large.bin"])
@pytest.mark.parametrize(
    "value",
    [
        "bytes=" + ",".join(["0-"] * 10),  # More than the file.
        "bytes=" + ",".join(f"{i}-{i}" for i in range(0, 2000, 2)),  # Too many.
        "bytes=0-20000,20090-",  # All but what a delimiter costs.
        "lines=0-0,5-5",
        "bytes=0-0,9-5",
        "bytes=0-0;5000-5000",
        "bytes 0-0,5000-5000",
        "bytes=0-0,a-b",
        "bytes=",
    ],
)
def test_what_is_too_much_or_makes_no_sense_gets_the_whole(
    connection: RawConnection, path: str, value: str
) -> None:
    if path == "/large.bin" and value.startswith("bytes=0-20000,"):
        value = f"bytes=0-{len(FILES[path]) - 200},{len(FILES[path]) - 100}-"
    answer = connection.get(path, f"Range: {value}")
    assert (answer.status, answer.body == FILES[path]) == (200, True)
    assert answer.header("content-length") == str(len(FILES[path]))


def test_many_overlapping_ranges_become_one(connection: RawConnection) -> None:
    value = ",".join(f"{i * 50}-{i * 50 + 99}" for i in range(60))
    answer = connection.get("/hot.html", f"Range: bytes={value}")
    assert (answer.status, answer.header("content-range")) == (206, "bytes 0-3049/60000")
    assert answer.body == FILES["/hot.html"][:3050]


def test_several_ranges_of_what_is_coded_get_all_of_it(connection: RawConnection) -> None:
    for value, status in (("bytes=0-0,3000-3000", 200), ("bytes=3000-3000", 206)):
        answer = connection.get("/coded.js", f"Range: {value}", "Accept-Encoding: br")
        assert (answer.status, answer.header("content-encoding")) == (status, "br")
        assert answer.body == b"b" * (4000 if status == 200 else 1)
    answer = connection.get("/coded.js", "Range: bytes=0-0,3000-3000")
    assert [payload for _, _, payload in parts_of(answer)] == [b"o", b"o"]


def test_two_range_lines_are_ignored(connection: RawConnection) -> None:
    assert connection.get("/tiny.txt", "Range: bytes=0-0", "Range: bytes=5-5").status == 200


@pytest.mark.parametrize(
    ("path", "value", "status", "content_range"),
    [
        ("/tiny.txt", "bytes=10-,-0", 416, "bytes */10"),
        ("/hot.html", "bytes=60000-60001,70000-", 416, "bytes */60000"),
        ("/empty.txt", "bytes=0-", 416, "bytes */0"),
        ("/empty.txt", "bytes=0-0,-0", 416, "bytes */0"),
        ("/empty.txt", "bytes=-5", 200, None),
        ("/empty.txt", "bytes=0-0,-5", 200, None),
    ],
)
def test_what_cannot_be_satisfied(
    connection: RawConnection, path: str, value: str, status: int, content_range: str | None
) -> None:
    answer = connection.get(path, f"Range: {value}")
    assert (answer.status, answer.header("content-range")) == (status, content_range)


@pytest.mark.parametrize("path", ["/hot.html", "/large.bin"])
def test_head_knows_no_ranges(connection: RawConnection, path: str) -> None:
    for value in ("bytes=0-0,-1", "bytes=0-0", "bytes=99999999-"):
        answer = connection.get(path, f"Range: {value}", method="HEAD")
        assert (answer.status, answer.header("content-length")) == (200, str(len(FILES[path])))
        assert answer.header("content-type") == TYPES[path]
    assert connection.get("/tiny.txt").body == FILES["/tiny.txt"]


@pytest.mark.parametrize("path", ["/hot.html", "/large.bin"])
def test_if_range_takes_the_very_same_file_only(connection: RawConnection, path: str) -> None:
    full = connection.get(path)
    etag, modified = full.header("etag"), full.header("last-modified")
    assert etag is not None and modified is not None and not etag.startswith("W/")
    moment = email.utils.parsedate_to_datetime(modified).timestamp()
    cases = [
        (etag, 206),
        (modified, 206),
        (f"W/{etag}", 200),
        ('"other"', 200),
        (f'{etag}, "other"', 200),
        ("*", 200),
        (email.utils.formatdate(moment + 1, usegmt=True), 200),
        (email.utils.formatdate(moment - 1, usegmt=True), 200),
        ("yesterday", 200),
    ]
    for value, status in cases:
        for wanted in ("bytes=0-0,-1", "bytes=5-9"):
            answer = connection.get(path, f"Range: {wanted}", f"If-Range: {value}")
            assert answer.status == status, (value, wanted)
    assert connection.get(path, f"If-Range: {etag}").status == 200


def test_the_log_has_the_bytes_of_the_body(sidecar: Sidecar) -> None:
    with RawConnection(sidecar.port) as raw:
        answers = [
            (target, len(raw.get(target, "Range: bytes=0-99,30000-39999").body))
            for target in ("/hot.html?logged", "/large.bin?logged")
        ]

    def logged(target: str, count: int) -> bool:
        lines = [json.loads(line) for line in sidecar.stdout.read_text().splitlines()]
        return [(x["status"], x["bytes"]) for x in lines if x.get("target") == target] == [
            (206, count)
        ]

    for target, count in answers:
        eventually(lambda target=target, count=count: logged(target, count))  # type: ignore[misc]


@pytest.mark.parametrize("how", ["shrinks", "is rewritten"])
def test_a_file_that_changes_cuts_the_answer(tmp_path: pathlib.Path, how: str) -> None:
    site = tmp_path / "site"
    site.mkdir()
    huge = site / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(HUGE_BYTES)
    os.utime(huge, (1_700_000_000, 1_700_000_000))
    with (
        Sidecar(tmp_path, f"mounts:\n  - {{name: site, prefix: /, root: {site}}}\n") as running,
        RawConnection(running.port) as raw,
    ):
        half = HUGE_BYTES // 2
        raw.send(
            b"GET /huge.bin HTTP/1.1\r\nHost: t\r\nRange: bytes=%d-,0-%d\r\n\r\n"
            % (half + 4096, half - 4096)
        )
        begin = raw.socket.recv(65536)
        assert b"multipart/byteranges" in begin
        if how == "shrinks":
            os.truncate(huge, 1000)
        else:
            with huge.open("r+b") as file:
                file.write(b"x")
        rest = raw.rest()
        assert len(begin) + len(rest) < HUGE_BYTES - 3 * 4096
        assert metric(running, 'catzilla_static_truncated_total{mount="site"}') == 1
