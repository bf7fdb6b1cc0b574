"""A machine without memory for the cache, or without descriptors: what can be served is, and the log says why not."""

from __future__ import annotations

import json
import pathlib
import re
import resource

import pytest
from app_process import eventually
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, program

BODIES = {f"hungry{n}.bin": f"hungry{n}.bin".encode() * 70_000 for n in range(40)}

# AddressSanitizer reserves terabytes, and UndefinedBehaviorSanitizer needs a descriptor to look at an object.
pytestmark = pytest.mark.skipif(
    "asan" in str(program("catzilla-sidecar")), reason="needs a build without sanitizers"
)


def open_errors(sidecar: Sidecar) -> float:
    return metric(sidecar, 'catzilla_static_open_errors_total{mount="site"}')


def address_space(pid: int) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmSize:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def started(sidecar: Sidecar) -> None:
    """The files are served before the control plane is there, which needs memory and descriptors of its own."""
    eventually(lambda: "control plane on" in sidecar.log())


def test_files_that_find_no_memory_are_sent_from_the_disk(tmp_path: pathlib.Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for name, body in BODIES.items():
        (site / name).write_bytes(body)
    config = f"mounts: [{{name: site, prefix: /, root: {site}, revalidate: 100ms}}]\n"
    with Sidecar(tmp_path, config) as sidecar:
        started(sidecar)
        before = resource.prlimit(sidecar.pid, resource.RLIMIT_AS)
        limit = address_space(sidecar.pid) + (16 << 20)
        resource.prlimit(sidecar.pid, resource.RLIMIT_AS, (limit, before[1]))
        with RawConnection(sidecar.port) as raw:
            answers = {name: raw.get(f"/{name}") for name in BODIES}
        resource.prlimit(sidecar.pid, resource.RLIMIT_AS, before)

        # Where there is none even for a file's head: 503.
        assert {answer.status for answer in answers.values()} <= {200, 503}
        sent = {name: answer for name, answer in answers.items() if answer.status == 200}
        assert {name for name, answer in sent.items() if answer.body != BODIES[name]} == set()
        # A small file's tag is of its bytes, which nobody had in memory.
        untagged = [name for name, answer in sent.items() if answer.header("etag") is None]
        assert untagged
        assert open_errors(sidecar) >= len(untagged)
        with RawConnection(sidecar.port) as raw:
            eventually(lambda: all(raw.get(f"/{name}").header("etag") for name in BODIES))


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_503(
    tmp_path: pathlib.Path,
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for name in ("known.txt", "other.txt"):
        (site / name).write_text(name)
    config = f"telemetry: {{access_log: true}}\nmounts: [{{name: site, prefix: /, root: {site}, revalidate: 1m}}]\n"
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as raw:
        started(sidecar)
        assert raw.get("/known.txt").status == 200
        before = resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (4, before[1]))
        refused = raw.get("/other.txt")
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        assert (
            raw.get("/known.txt").body == b"known.txt"
        )  # Of what is known nothing must be opened.
        resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, before)
        assert raw.get("/other.txt").body == b"other.txt"

        def causes() -> list[str]:
            lines = map(json.loads, sidecar.stdout.read_text().splitlines())
            return [line["cause"] for line in lines if line["status"] == 503]

        eventually(lambda: causes() == ["EMFILE"])
