"""The hot path over a real socket asks the heap for nothing, counted by the allocator itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, program

pytestmark = pytest.mark.skipif(
    "asan" in str(program("catzilla-sidecar")),
    reason="the sanitizers bring an allocator of their own",
)
REQUESTS = 20_000
# What the sidecar does by itself meanwhile: heartbeats, and the scrapes that count, a few thousand each.
BACKGROUND_MAX = REQUESTS // 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("allocations")
    public = folder / "public"
    public.mkdir()
    (public / "1k.bin").write_bytes(b"x" * 1024)
    config = f"""
telemetry: {{access_log: true}}
mounts: [{{name: files, prefix: /, root: {public}, revalidate: 60s}}]
"""
    with Sidecar(folder, config, arguments=("--loops", "1")) as running:
        yield running


def allocations(sidecar: Sidecar) -> float:
    return metric(sidecar, "catzilla_heap_allocations_total")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("", 200),
        ("Range: bytes=10-19\r\n", 206),
        ("If-Modified-Since: Tue, 19 Jan 2038 03:14:07 GMT\r\n", 304),
        ("Accept: */*\r\nUser-Agent: test\r\nAccept-Language: en\r\nCookie: a=b\r\n", 200),
    ],
    ids=["plain", "range", "not modified", "as a browser asks"],
)
@pytest.mark.parametrize("depth", [1, 16])
def test_a_hot_file_allocates_nothing(site: Sidecar, fields: str, status: int, depth: int) -> None:
    request = f"GET /1k.bin HTTP/1.1\r\nHost: t\r\n{fields}\r\n".encode()

    def ask(times: int) -> None:
        for _ in range(times // depth):
            raw.send(request * depth)
            for _ in range(depth):
                assert raw.read().status == status

    with RawConnection(site.port) as raw:
        ask(160)  # Whatever grows once has grown.
        allocations(site)
        before = allocations(site)
        idle = allocations(site) - before  # What counting itself takes.
        before = allocations(site)
        ask(REQUESTS)
        spent = allocations(site) - before - idle
    assert spent < BACKGROUND_MAX, f"{spent} allocations for {REQUESTS} requests"
