"""How fast answers leave: a mount's rate, and files that are not in memory."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from raw_http import RawConnection
from sidecar_process import Sidecar, metric
from waiting import eventually

RATE = 64 * 1024
LARGE = 3 * RATE


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "large.bin").write_bytes(os.urandom(LARGE))
    (site / "small.txt").write_text("small")
    config = f"""
limits: {{write_timeout: 1s}}
telemetry: {{access_log: true}}
mounts:
  - {{name: free, prefix: /free, root: {site}}}
  - {{name: held, prefix: /held, root: {site}, rate_limit: 64KiB}}
  - {{name: files, prefix: /files, root: {site}, rate_limit: 64KiB, max_cached_file: 1KiB}}
  - {{name: cold, prefix: /cold, root: {site}, max_cached_file: 1KiB}}
"""
    with Sidecar(tmp_path, config) as sidecar:
        yield sidecar


def seconds(sidecar: Sidecar, path: str, want: bytes) -> float:
    with RawConnection(sidecar.port) as raw:
        began = time.monotonic()
        answer = raw.get(path)
        took = time.monotonic() - began
        assert answer.status == 200
        assert answer.body == want
        assert raw.get("/free/small.txt").body == b"small"  # The connection lives on.
        return took


@pytest.mark.parametrize("mount", ["held", "files"])
def test_a_rate_holds_from_memory_and_from_disk(
    running: Sidecar, tmp_path: pathlib.Path, mount: str
) -> None:
    want = (tmp_path / "site" / "large.bin").read_bytes()
    assert seconds(running, f"/{mount}/large.bin", want) >= 1.9  # A second's worth goes at once.
    assert seconds(running, f"/{mount}/small.txt", b"small") < 1.9


def test_a_client_that_leaves_a_held_answer_costs_nothing(running: Sidecar) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as raw:
        raw.sendall(b"GET /held/large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.recv(1000)
    eventually(
        lambda: '"end":"client_closed"' in running.stdout.read_text(),
        told=running.stdout.read_text,
    )


def cold_reads(sidecar: Sidecar) -> float:
    return metric(sidecar, 'catzilla_static_cold_reads_total{mount="cold"}')


def is_cold(path: pathlib.Path) -> bool:
    """Whether the kernel has forgotten the file, and says so."""
    with path.open("rb") as file:
        fd = file.fileno()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # It reads nothing ahead.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        with contextlib.suppress(BlockingIOError):
            os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
            return False
        # Asking has made it read that page: once it is there, it is forgotten too.
        os.pread(fd, 1, 0)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def test_what_is_not_in_memory_is_read_off_the_loop(
    running: Sidecar, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "site" / "cold.bin"
    want = os.urandom(8 << 20)
    with path.open("wb") as file:
        file.write(want)
        file.flush()
        os.fsync(file.fileno())
    with RawConnection(running.port) as raw:
        assert raw.get("/cold/cold.bin").body == want
    before = cold_reads(running)
    if not is_cold(path):
        pytest.skip("this file system does not let go of its pages, or does not tell")
    bodies: list[bytes] = []

    def fetch() -> None:
        with RawConnection(running.port) as raw:
            bodies.append(raw.get("/cold/cold.bin").body)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [want] * 4
    assert cold_reads(running) > before
