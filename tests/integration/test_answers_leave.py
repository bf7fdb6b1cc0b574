"""What happens between an answer's head and its last byte, and to bodies that nobody wanted."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import resource
import socket
from collections.abc import Iterator

import pytest
from app_process import eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, program
from waiting import pause

HUGE_BYTES = 64 * 1024 * 1024  # More than any socket's buffers take.


@pytest.fixture
def site(tmp_path: pathlib.Path) -> pathlib.Path:
    root = make_site(tmp_path)
    with (root / "huge.bin").open("wb") as file:
        file.truncate(HUGE_BYTES)
    return root


@pytest.fixture
def running(tmp_path: pathlib.Path, site: pathlib.Path) -> Iterator[Sidecar]:
    config = f"""
limits: {{max_pipeline: 4, idle_timeout: 60s}}
telemetry: {{access_log: true}}
mounts:
  - {{name: site, prefix: /, root: {site}}}
"""
    with Sidecar(tmp_path, config) as sidecar:
        yield sidecar


def logged(sidecar: Sidecar, target: str) -> dict[str, object]:
    """The access log's line of the one request for `target`."""
    found: list[dict[str, object]] = []

    def there() -> bool:
        lines = sidecar.stdout.read_text().splitlines()
        found[:] = [line for line in map(json.loads, lines) if line.get("target") == target]
        return bool(found)

    eventually(there)
    return found[0]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /a.txt HTTP/1.1\r\n", 200),
        (b"GET /missing HTTP/1.1\r\n", 404),
        (b"POST /a.txt HTTP/1.1\r\n", 405),
        (b"GET /large.bin HTTP/1.1\r\n", 200),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 65536\r\n\r\n" + b"x" * 65536,
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["length", "64KiB", "chunked"],
)
def test_a_small_unwanted_body_is_skipped(
    running: Sidecar, head: bytes, status: int, body: bytes
) -> None:
    with RawConnection(running.port) as raw:
        for _ in range(3):
            raw.send(head + b"Host: t\r\n" + body)
            answer = raw.read()
            assert answer.status == status
            assert answer.header("connection") is None


def test_a_small_body_that_comes_late_is_skipped_too(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"POST /a.txt HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        assert raw.read().status == 405
        raw.send(b"he")
        raw.send(b"lloGET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n")
        assert raw.read().body == b"0123456789"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 65537\r\n",
        b"Content-Length: 5\r\nExpect: 100-continue\r\n",
    ],
    ids=["too long", "waits to be asked"],
)
def test_other_unwanted_bodies_end_the_connection(running: Sidecar, fields: bytes) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"POST /a.txt HTTP/1.1\r\nHost: t\r\n" + fields + b"\r\n")
        answer = raw.read()
        assert answer.status == 405
        assert answer.header("connection") == "close"
        assert raw.closed()


def test_a_chunked_body_without_end_is_given_up(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"POST /a.txt HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert raw.read().status == 405
        endless = (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 2_000
        with contextlib.suppress(ConnectionError):
            raw.send(endless)
        assert raw.closed()


def test_a_long_pipeline_is_answered_in_order_over_many_turns(running: Sidecar) -> None:
    paths = ["/a.txt", "/missing", "/empty.txt", "/sub/", "/huge.bin?head"] * 200
    methods = ["HEAD" if path.endswith("head") else "GET" for path in paths]
    pipeline = "".join(
        f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n"
        for method, path in zip(methods, paths, strict=True)
    )
    with RawConnection(running.port) as raw:
        raw.send(pipeline.encode())
        statuses = [raw.read(head_only=method == "HEAD").status for method in methods]
    assert statuses == [200, 404, 200, 200, 200] * 200


def test_who_leaves_mid_download_is_logged_with_what_was_sent(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"GET /huge.bin?left HTTP/1.1\r\nHost: t\r\n\r\n")
        raw.socket.recv(4096)
    line = logged(running, "/huge.bin?left")
    assert line["status"] == 200
    assert line["end"] == "client_closed"
    assert isinstance(line["bytes"], int) and 0 < line["bytes"] < HUGE_BYTES


def test_a_whole_download_is_logged_when_it_has_left(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"GET /huge.bin?whole HTTP/1.1\r\nHost: t\r\n\r\n")
        got = raw.socket.recv(4096)
        pause(0.3)  # The reader's pause is part of the request's duration.
        assert "/huge.bin?whole" not in running.stdout.read_text()
        left = got.index(b"\r\n\r\n") + 4 + HUGE_BYTES - len(got)
        while left > 0:
            left -= len(raw.socket.recv(min(left, 1 << 20)))
        assert raw.get("/a.txt").body == b"0123456789"
    line = logged(running, "/huge.bin?whole")
    assert line["bytes"] == HUGE_BYTES
    assert "end" not in line
    assert isinstance(line["duration"], float) and line["duration"] >= 0.3


def test_a_file_that_shrinks_cuts_its_answer_and_is_counted(
    running: Sidecar, site: pathlib.Path
) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"GET /huge.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        raw.socket.recv(4096)
        os.truncate(site / "huge.bin", 1000)
        got = len(raw.rest())
        assert got < HUGE_BYTES
    assert logged(running, "/huge.bin")["end"] == "broken"
    assert metric(running, 'catzilla_static_truncated_total{mount="site"}') == 1


# UndefinedBehaviorSanitizer itself needs a descriptor to look at an object, and calls it invalid.
@pytest.mark.skipif("asan" in str(program("catzilla-sidecar")), reason="needs a build without it")
def test_without_descriptors_accepting_pauses_and_goes_on(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        assert raw.get("/a.txt").status == 200
        before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        full = running.open_descriptors()
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (full, before[1]))
        waiting = socket.create_connection(("127.0.0.1", running.port), 10)
        waiting.sendall(b"GET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: "could not be accepted" in running.log(), 20)
        assert raw.get("/a.txt").status == 200  # Who is there is served.
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")
        waiting.close()
    assert metric(running, "catzilla_http_accept_errors_total") >= 1


def test_a_download_outlives_the_signal_and_its_connection_ends_with_it(running: Sidecar) -> None:
    with RawConnection(running.port, seconds=30) as raw:
        raw.send(b"GET /huge.bin HTTP/1.1\r\nHost: t\r\n\r\n")
        got = len(raw.socket.recv(4096))
        assert running.process is not None
        running.process.terminate()
        eventually(lambda: "draining" in running.log())
        while data := raw.socket.recv(1 << 20):
            got += len(data)
        assert got > HUGE_BYTES
    assert running.process.wait(10) == 0
