"""Directories and files are swapped for links to the outside while they are served: nothing outside is ever read."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from app_process import eventually
from sidecar_process import Sidecar, metric, program
from swapper import FIRST, SECOND, SECRET, make_race_tree

REQUESTS_MIN = 100_000
CONNECTIONS = 4
PIPELINED = 32
SWAPS_MIN = 1_000  # Of each kind.
TOLD_OPENS_MIN = 100  # A storm of changes counts as one for a moment.
# Name, then what the mount says beside it: opened for every request, by each way to send a file.
MOUNTS = {
    "never": "symlinks: never, revalidate: 0s, invalidation: ttl",
    "inside": "symlinks: inside, revalidate: 0s, invalidation: ttl",
    "large": "symlinks: inside, revalidate: 0s, invalidation: ttl, max_cached_file: 0B",
    "told": "symlinks: inside, revalidate: 1s, invalidation: immediate",
}
PATHS = {  # And what may be seen there.
    "tree/file": {FIRST},
    "tree/inner/file": {FIRST},
    "plain/file": {FIRST, SECOND},
    "links/now/file": {FIRST, SECOND},
    "up/moving/link": {FIRST},
}
Seen = collections.Counter[tuple[str, str, int, int]]  # Mount, path, status, bytes of the body.


class Swapper:
    def __init__(self, folder: pathlib.Path, *kinds: str) -> None:
        program = pathlib.Path(__file__).with_name("swapper.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(folder), *kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def stop(self) -> int:
        """How often it has swapped each of its kinds."""
        swaps, _ = self.process.communicate(b"enough\n", timeout=30)
        assert self.process.returncode == 0
        return int(swaps)


class WalkingSidecar(Sidecar):
    """One that has to walk every path by hand, name by name."""

    def command(self) -> list[str]:
        wrapper = pathlib.Path(__file__).with_name("without_openat2.py")
        return [sys.executable, str(wrapper), *super().command()]


@pytest.fixture(params=["openat2", "walk"])
def sidecar(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    site = make_race_tree(tmp_path)
    mounts = "".join(
        f"  - {{name: {name}, prefix: /{name}, root: {site}, {settings}}}\n"
        for name, settings in MOUNTS.items()
    )
    config = (
        f"limits: {{file_cache_memory: 64KiB}}\ntelemetry: {{access_log: false}}\nmounts:\n{mounts}"
    )
    kind = WalkingSidecar if request.param == "walk" else Sidecar
    with kind(tmp_path, config) as running:
        eventually(lambda: resolves_by(running) == {request.param})
        yield running


def resolves_by(sidecar: Sidecar) -> set[str]:
    """What its mounts keep paths inside the root with."""
    command = [str(program("catzillactl")), "--address", sidecar.control, "stats", "-o", "json"]
    told = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    mounts = json.loads(told).get("stats", {}).get("mounts", [])  # None in the very first moment.
    return {mount["resolve"] for mount in mounts}


def read_answer(stream: socket.SocketIO, pending: bytearray) -> tuple[int, bytes]:
    while (end := pending.find(b"\r\n\r\n")) < 0:
        _fill(stream, pending)
    head = bytes(pending[: end + 2])
    found = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    assert found is not None, head
    whole = end + 4 + int(found.group(1))
    while len(pending) < whole:
        _fill(stream, pending)
    body = bytes(pending[end + 4 : whole])
    del pending[:whole]
    assert head.startswith(b"HTTP/1.1 ")
    return int(head[9:12]), body


def _fill(stream: socket.SocketIO, pending: bytearray) -> None:
    data = stream.read(1 << 18)
    assert data, f"closed after {bytes(pending[-200:])!r}"
    assert SECRET not in data
    pending += data


def ask(port: int, requests: int, seen: Seen) -> None:
    asked = [(mount, path) for mount in MOUNTS for path in PATHS]
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        stream = socket.SocketIO(connection, "r")
        pending = bytearray()
        for first in range(0, requests, PIPELINED):
            batch = [asked[(first + n) % len(asked)] for n in range(PIPELINED)]
            connection.sendall(
                b"".join(
                    b"GET /%s/%s HTTP/1.1\r\nHost: a\r\n\r\n" % (m.encode(), p.encode())
                    for m, p in batch
                )
            )
            for mount, path in batch:
                status, body = read_answer(stream, pending)
                assert SECRET not in body, (mount, path, status)
                if status == 200:
                    assert body in PATHS[path], (mount, path, len(body), body[:40])
                seen[mount, path, status, len(body) if status == 200 else 0] += 1


def in_threads(port: int) -> Seen:
    each, errors = [Seen() for _ in range(CONNECTIONS)], []

    def run(seen: Seen) -> None:
        try:
            ask(port, REQUESTS_MIN // CONNECTIONS + PIPELINED, seen)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seen,)) for seen in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(each, Seen())


def test_nothing_outside_is_ever_served(sidecar: Sidecar) -> None:
    descriptors = sidecar.open_descriptors()
    swappers = [Swapper(sidecar.folder, "tree", "up"), Swapper(sidecar.folder, "plain", "links")]
    try:
        seen = in_threads(sidecar.port)
    finally:
        swaps = []
        for swapper in swappers:
            with contextlib.suppress(OSError):
                swaps.append(swapper.stop())

    assert seen.total() >= REQUESTS_MIN
    assert {status for _, _, status, _ in seen} <= {200, 403, 404}, seen
    assert min(swaps) >= SWAPS_MIN, swaps
    opened = {
        mount: metric(sidecar, f'catzilla_static_lookups_total{{mount="{mount}",result="miss"}}')
        for mount in MOUNTS
    }
    for mount in MOUNTS:
        asked = sum(count for key, count in seen.items() if key[0] == mount)
        assert opened[mount] > (TOLD_OPENS_MIN if mount == "told" else asked / 2), (mount, asked)
    for mount, path in ((mount, path) for mount in MOUNTS for path in PATHS):
        outcomes = {key[2:]: count for key, count in seen.items() if key[:2] == (mount, path)}
        links_only = mount == "never" and path in ("links/now/file", "up/moving/link")
        expected = {(404, 0)} | (
            set() if links_only else {(200, len(good)) for good in PATHS[path]}
        )
        assert set(outcomes) - {(403, 0)} == expected, (mount, path, outcomes)
    # At most a file of each path is kept open, and the root of each mount.
    kept = len(MOUNTS) * (len(PATHS) + 1)
    eventually(lambda: sidecar.open_descriptors() <= descriptors + kept)
