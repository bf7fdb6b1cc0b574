"""Files that the file system does not give, or whose size it does not know (C11, C12)."""

from __future__ import annotations

import os
import pathlib
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from app_process import eventually
from held_opens import HeldOpens
from raw_http import RawConnection
from sidecar_process import Sidecar, metric


@pytest.fixture
def held() -> Iterator[HeldOpens]:
    try:
        opens = HeldOpens()
    except PermissionError as why:
        pytest.skip(str(why))
    with opens:
        yield opens


def two_mounts(folder: pathlib.Path, timeout: str) -> str:
    for name in ("sick", "well"):
        (folder / name).mkdir(exist_ok=True)
    for i in range(40):
        (folder / "sick" / f"{i}.txt").write_text("at last")
        (folder / "well" / f"{i}.txt").write_text("well")
    return f"""
limits: {{file_timeout: {timeout}}}
telemetry: {{access_log: true}}
mounts:
  - {{name: sick, prefix: /sick, root: {folder}/sick}}
  - {{name: well, prefix: /well, root: {folder}/well}}
"""


def answered(connection: RawConnection) -> bool:
    return bool(select.select([connection.socket], [], [], 0)[0])


def test_c12_a_mount_that_hangs_is_503_and_harms_no_other(
    held: HeldOpens, tmp_path: pathlib.Path
) -> None:
    config = two_mounts(tmp_path, "3s")
    for i in range(30):
        held.hold(tmp_path / "sick" / f"{i}.txt")
    with Sidecar(tmp_path, config) as sidecar, ExitStack() as stack:
        waiting = []
        for i in range(10):
            client = stack.enter_context(RawConnection(sidecar.port, seconds=30))
            client.send(f"GET /sick/{i}.txt HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            waiting.append(client)
        eventually(lambda: held.held >= 3)
        # More than the threads that open files, none of which is in the cache.
        with RawConnection(sidecar.port) as other:
            for i in range(40):
                assert other.get(f"/well/{i}.txt").body == b"well"
        assert not any(answered(client) for client in waiting), "the others waited for a deadline"
        for client in waiting:
            answer = client.read()
            assert answer.status == 503
            assert answer.header("retry-after") is not None
        eventually(lambda: "ETIMEDOUT" in sidecar.stdout.read_text())
        assert metric(sidecar, 'catzilla_static_late_total{mount="sick"}') == 10
        eventually(lambda: metric(sidecar, "catzilla_static_threads_stuck") == 3)
        with RawConnection(sidecar.port, seconds=30) as client:
            assert client.get("/sick/39.txt").body == b"at last", "what does not hang is served"
            # One more, and the mount is not tried any more.
            assert client.get("/sick/20.txt").status == 503
            eventually(lambda: metric(sidecar, "catzilla_static_threads_stuck") == 4)
            assert client.get("/sick/38.txt").status == 503
            assert client.get("/well/0.txt").status == 200
        assert metric(sidecar, "catzilla_static_threads_written_off_total") == 4
        held.release()
        eventually(lambda: metric(sidecar, "catzilla_static_threads_stuck") == 0)
        with RawConnection(sidecar.port) as client:
            for i in (0, 20, 29, 38):
                assert client.get(f"/sick/{i}.txt").body == b"at last"


def test_c12_the_timeout_is_live(held: HeldOpens, tmp_path: pathlib.Path) -> None:
    config = two_mounts(tmp_path, "10m")
    changed = "server_name: changed\n" + two_mounts(tmp_path, "200ms")
    held.hold(tmp_path / "sick" / "0.txt")  # From here on nobody here may open it.
    with Sidecar(tmp_path, config) as sidecar:
        sidecar.config.write_text(changed)
        os.kill(sidecar.pid, signal.SIGHUP)
        with RawConnection(sidecar.port, seconds=30) as client:
            eventually(lambda: client.get("/well/0.txt").header("server") == "changed")
            assert client.get("/sick/0.txt").status == 503
        held.release()


def test_c12_leaving_does_not_wait_for_it(held: HeldOpens, tmp_path: pathlib.Path) -> None:
    config = "drain: {timeout: 2s}" + two_mounts(tmp_path, "1s")
    held.hold(tmp_path / "sick" / "0.txt")
    sidecar = Sidecar(tmp_path, config).start()
    with RawConnection(sidecar.port, seconds=30) as client:
        assert client.get("/sick/0.txt").status == 503
    # It cannot end as it would like to, and says so; but it ends.
    assert sidecar.stop(seconds=25) in (0, 1)


def test_c11_a_file_without_a_size_is_read_to_its_end(tmp_path: pathlib.Path) -> None:
    config = """
mounts:
  - {name: process, prefix: /process, root: /proc/self}
  - {name: kernel, prefix: /kernel, root: /proc/sys/kernel}
"""
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as client:
        for _ in range(2):
            assert client.get("/kernel/ostype").body == b"Linux\n"
            answer = client.get("/process/status")
            assert answer.status == 200
            assert f"Pid:\t{sidecar.pid}\n".encode() in answer.body
            assert answer.header("content-length") == str(len(answer.body))
