"""What goes wrong around a running app, with the real sidecar: kills, clients that leave, missing folders."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, SITE, Run, alive, fetch, free_port, pause, pids, real_sidecar, until

pytestmark = pytest.mark.sidecar


def sidecar_of(run: Run) -> int:
    [pid] = [pid for pid, command in run.children().items() if "catzilla-sidecar" in command]
    return pid


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


class Load:
    """Clients that ask until they are stopped, and what they were answered."""

    def __init__(self, run: Run, clients: dict[tuple[str, str], int]) -> None:
        self.statuses: dict[str, Counter[int]] = {path: Counter() for _, path in clients}
        self._run = run
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=client) for client, count in clients.items() for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, method: str, path: str) -> None:
        while not self._stop.is_set():
            self.statuses[path][self._run.get(path, method, b"" if method == "POST" else None).status] += 1

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


# Workers die...


def test_ten_kills_cost_only_the_posts_in_flight_and_no_descriptor(real: Any) -> None:
    run = real(APP + SITE, "--workers", "2").ready()
    sidecar = sidecar_of(run)

    def open_files() -> int:
        return len(os.listdir(f"/proc/{sidecar}/fd"))

    until(lambda: len(pids(run)) == 2, "two workers serve")
    for path in ("/cached", "/assets/a.txt"):
        assert run.get(path).status == 200
    idle = 'catzilla_http_connections{state="idle"} 0\n'
    until(lambda: idle.encode() in fetch(run.ops_port, "/metrics").body, "no client is there")
    before = open_files()
    posters = 3
    load = Load(
        run,
        {("GET", "/slow?seconds=0.05"): 2, ("POST", "/once?seconds=0.2"): posters, ("GET", "/cached"): 1,
         ("GET", "/assets/a.txt"): 1},
    )  # fmt: skip
    killed: set[int] = set()
    for _ in range(10):
        victims = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
        assert not victims & killed
        victim = victims.pop()
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
        until(lambda: not alive(victim), "it is dead")  # noqa: B023
    until(lambda: len(pids(run)) == 2, "the pool is back to size")
    load.stop()
    seen = load.statuses
    assert set(seen["/cached"]) == {200}
    assert set(seen["/assets/a.txt"]) == {200}
    assert set(seen["/slow?seconds=0.05"]) == {200}, seen  # Idempotent: tried again on the other worker.
    posts = seen["/once?seconds=0.2"]
    assert set(posts) <= {200, 502, 503}, posts
    assert 0 < posts[502] + posts[503] <= 10 * posters, posts
    assert posts[200] > 0
    until(lambda: open_files() <= before, f"{before} descriptors again, not {open_files()}")
    assert sidecar_of(run) == sidecar
    assert run.stop() == 0


# Clients leave...


def test_a_client_that_leaves_in_its_upload_is_seen(real: Any) -> None:
    run = real().ready()
    with socket.create_connection(("127.0.0.1", run.port)) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        run.said("upload begins")
    until(lambda: "upload" in json.loads(run.get("/left").body), "the app's stream() raises ClientDisconnect")
    assert run.stop() == 0


def test_a_client_that_leaves_does_not_cancel_the_handler(real: Any) -> None:
    run = real().ready()
    with socket.create_connection(("127.0.0.1", run.port)) as client:
        client.sendall(b"GET /finish HTTP/1.1\r\nHost: x\r\n\r\n")
        run.said("finish begins")
    until(lambda: "finish" in json.loads(run.get("/left").body), "the handler runs to its end, as under uvicorn")
    assert run.stop() == 0


def test_an_app_that_does_not_read_holds_back_the_upload(real: Any) -> None:
    run = real().ready()
    assert run.get("/").status == 200
    processes = [sidecar_of(run), *pids(run)]
    before = {pid: rss(pid) for pid in processes}
    size, sent = 64 << 20, 0
    with socket.create_connection(("127.0.0.1", run.port)) as client:
        client.sendall(f"POST /later?seconds=3 HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        client.settimeout(0.5)
        piece = b"x" * 65536
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += client.send(piece[: size - sent])
        assert sent < 24 << 20, "windows and kernel buffers are full long before the body is sent"
        for pid in processes:
            assert rss(pid) - before[pid] < 16 << 20
        client.settimeout(60)
        while sent < size:
            sent += client.send(piece[: size - sent])
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
        assert answer.endswith(b'{"size":%d}' % size)
    assert run.stop() == 0


# What does not start...


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module\n", "No module named 'no_such_module'"),
        (
            "from contextlib import asynccontextmanager\nfrom catzilla import Catzilla\n"
            "async def lifespan(app):\n    raise OSError('no queue')\n    yield\n"
            "app = Catzilla(lifespan=asynccontextmanager(lifespan))\n",
            "no queue",
        ),
    ],
    ids=["import", "startup"],
)
def test_an_app_that_does_not_start_ends_the_command(real: Any, source: str, said: str) -> None:
    """What it says is the app's own sentence, and nothing about our processes (A17)."""
    run = real(source)
    assert run.process.wait(60) == 1, run.text
    assert said in run.text
    assert "nonsense" not in run.text
    assert "call_soon_threadsafe" not in run.text
    assert "nothing is served: stopping" in run.text
    assert run.children() == {}


def test_nothing_is_published_before_a_worker_is_there(real: Any) -> None:
    """A client of the first moments gets an answer at once, not the queue's timeout."""
    ops = free_port()
    slow_start = (
        "import time, os\nfrom contextlib import asynccontextmanager\nfrom catzilla import Catzilla\n"
        "@asynccontextmanager\nasync def lifespan(app):\n    time.sleep(1)\n    yield\n"
        "app = Catzilla(lifespan=lifespan)\n@app.get('/')\ndef root(): return {'pid': os.getpid()}\n"
        "app.mount_static('/assets', os.path.join(os.path.dirname(__file__), 'assets'))\n"
    )
    run = real(slow_start, "--ops-port", str(ops))
    seen: list[tuple[int, int]] = []
    longest = 0.0
    deadline = time.monotonic() + 30
    while (not seen or seen[-1] != (200, 200)) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            began = time.monotonic()
            ready = fetch(ops, "/readyz").status
            seen.append((ready, fetch(run.port, "/").status))
            longest = max(longest, time.monotonic() - began)
        pause(0.005)  # One look after the other, from the first moment.
    assert seen[-1] == (200, 200), run.text
    assert seen[0][0] == 503
    assert all(status == 200 for ready, status in seen if ready == 200), seen
    answers = [status for _, status in seen]
    assert 404 not in answers[answers.index(503) :], seen  # It is not missing, it is not there yet.
    assert longest < 1.0
    assert run.stop() == 0


def test_a_folder_the_sidecar_does_not_see_ends_the_managed_command(real: Any) -> None:
    run = real(NOT_THERE)
    assert run.process.wait(60) == 1, run.text
    assert "CZ1203" in run.text
    assert "must be visible in its container too" in run.text
    assert run.text.count("refuses the registration") == 1


# The folder is there for the app, and gone when the sidecar looks: as in two containers.
NOT_THERE = (
    APP
    + """
import pathlib, shutil
here = pathlib.Path(__file__).parent / "media"
here.mkdir(exist_ok=True)
app.mount_static("/media", here)
shutil.rmtree(here)
"""
)


# Attached...


class Apart:
    """A sidecar that others run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "run"
        self.directory.mkdir()
        self.port = free_port()
        self.log = directory / "sidecar.txt"
        self.start()

    def start(self) -> None:
        binary = real_sidecar()
        assert binary is not None
        with open(self.log, "a") as output:
            self.process = subprocess.Popen(
                [binary, "--runtime-dir", str(self.directory), "--host", "127.0.0.1", "--port", str(self.port),
                 "--ops-host", "127.0.0.1", "--ops-port", str(free_port())],
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    sidecar = Apart(tmp_path)
    yield sidecar
    if sidecar.process.poll() is None:
        sidecar.process.kill()
        sidecar.process.wait()


def test_a_folder_the_sidecar_does_not_see_is_told_once_until_it_is_there(
    launch: Any, apart: Apart, tmp_path: Path
) -> None:
    run = launch(NOT_THERE, "--attach", "--runtime-dir", str(apart.directory))
    run.said("must be visible in its container too")
    assert f"{tmp_path}/media" in run.text
    pause(4)  # Time for two more tries, of which nobody hears anything.
    assert run.text.count("CZ1203") == 1, run.text
    assert fetch(apart.port, "/").status == 404
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.txt").write_text("there")
    run.said("the sidecar has taken the registration")
    run.ready()
    assert fetch(apart.port, "/media/a.txt").body == b"there"
    assert run.stop() == 0


def test_a_sidecar_that_is_replaced_gets_the_same_workers(launch: Any, apart: Apart) -> None:
    run = launch(APP, "--attach", "--runtime-dir", str(apart.directory), "--workers", "2").ready()
    run.port = apart.port
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(fetch(apart.port, "/slow?seconds=1.5")))
    thread.start()
    run.said("slow begins")
    assert apart.stop() == 0, apart.log.read_text()
    thread.join()
    assert answers[0].status == 200  # GOAWAY: what runs is finished first.
    assert run.process.poll() is None
    apart.start()

    def back() -> bool:
        with contextlib.suppress(OSError):
            return pids(run) == before
        return False

    until(back, "the same workers serve behind the new sidecar")
    assert run.stop() == 0


# Leaving...


def test_sigterm_with_a_stream_and_a_slow_post_in_flight(real: Any) -> None:
    run = real(APP + SITE, "--workers", "2", "--drain-timeout", "3s").ready()
    children = run.children()
    answers: list[Any] = []
    post = threading.Thread(target=lambda: answers.append(run.get("/once?seconds=1.5", "POST", b"")))
    with socket.create_connection(("127.0.0.1", run.port), timeout=30) as stream:
        stream.sendall(b"GET /ticks HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.recv(1000).startswith(b"HTTP/1.1 200")
        post.start()
        run.said("once begins")
        began = time.monotonic()
        run.process.send_signal(signal.SIGTERM)
        run.said("draining: ")
        with contextlib.suppress(OSError):  # A newcomer is refused or gets a whole answer, never half of one.
            assert run.get("/").status in (200, 503)
        assert b"tick" in stream.recv(65536)  # It goes on until its time is up.
        post.join()
        assert answers[0].status == 200
        assert time.monotonic() - began < 3
        assert run.process.wait(30) == 0, run.text
        assert 2.5 < time.monotonic() - began < 12
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            while data := stream.recv(65536):
                rest += data
        assert not rest.endswith(b"0\r\n\r\n"), "a stream that was cut must not look complete"
    assert not [pid for pid in children if alive(pid)]
