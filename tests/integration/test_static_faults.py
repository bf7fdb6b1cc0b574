"""A disk that fails: the status where there is still one to give, the connection where there is not."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from app_process import eventually
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, program

pytestmark = pytest.mark.skipif(
    "asan" in str(program("catzilla-sidecar")), reason="AddressSanitizer must be the first library"
)


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    library = tmp_path / "failing_disk.so"
    source = pathlib.Path(__file__).with_name("failing_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    site = tmp_path / "site"
    site.mkdir()
    (site / "good.txt").write_text("good")
    (site / "small.bad").write_text("never read")
    (site / "large.half").write_bytes(os.urandom(4 << 20))
    config = f"""
telemetry: {{access_log: true}}
mounts:
  - {{name: site, prefix: /, root: {site}}}
"""
    with Sidecar(tmp_path, config, environment={"LD_PRELOAD": str(library)}) as sidecar:
        yield sidecar


def logged(sidecar: Sidecar, target: str) -> dict[str, object]:
    def lines() -> list[dict[str, object]]:
        every = map(json.loads, sidecar.stdout.read_text().splitlines())
        return [line for line in every if line.get("target") == target]

    eventually(lambda: bool(lines()))
    return lines()[-1]


def still_serves(sidecar: Sidecar) -> None:
    with RawConnection(sidecar.port) as raw:
        assert raw.get("/good.txt").body == b"good"


def test_a_file_that_cannot_be_read_is_500_and_said(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        for _ in range(2):  # Not remembered: the disk may be well again.
            answer = raw.get("/small.bad")
            assert answer.status == 500
            assert b"never read" not in answer.body
        assert raw.get("/good.txt").body == b"good"
    assert logged(running, "/small.bad")["cause"] == "EIO"
    assert metric(running, 'catzilla_static_open_errors_total{mount="site"}') == 2


def test_a_read_error_in_the_middle_closes_the_connection(running: Sidecar) -> None:
    with RawConnection(running.port) as raw:
        raw.send(b"GET /large.half HTTP/1.1\r\nHost: a\r\n\r\n")
        received = raw.rest()
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: 4194304" in head
    assert 1 << 20 <= len(body) < 4 << 20
    line = logged(running, "/large.half")
    assert (line["status"], line["end"], line["cause"]) == (200, "broken", "EIO")
    assert metric(running, 'catzilla_static_truncated_total{mount="site"}') == 1
    still_serves(running)
