"""`catzillactl worker`: who answers, fresh workers without a gap, and where each of them stands."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
from typing import Any

import pytest
from app_process import AppProcess, eventually
from raw_http import RawConnection
from scripted_app import Code, Master, Worker, workers
from sidecar_process import Sidecar, metric, program

APP = """
import asyncio, os, threading, time
from catzilla import Catzilla

app = Catzilla()
VERSION = 1

@app.get("/")
async def root():
    return {"pid": os.getpid(), "version": VERSION}

@app.get("/held")
async def held_by_this_handler():
    print("held begins", flush=True)
    time.sleep(4)
    return {}

@app.get("/waits")
async def waits_for_long():
    print("waits begins", flush=True)
    await asyncio.sleep(3)
    return {}

@app.get("/plain", response_model=None)
async def plain(count: int = 1):
    return count
"""


def ctl(control: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(program("catzillactl")), "--address", control, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def of(app: AppProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ctl(f"unix:{app.runtime}/control.sock", *arguments)


def pools(app: AppProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(app.ctl("worker", "ls", "-o", "json"))["pools"]
    return found


def ready(app: AppProcess) -> list[int]:
    [pool] = pools(app)
    return [
        one["pid"] for one in pool.get("workers", []) if one.get("state") == "WORKER_STATE_READY"
    ]


def wait_for_workers(app: AppProcess, count: int) -> set[int]:
    eventually(lambda: len(ready(app)) == count, 60, app.log)
    return set(ready(app))


class Load:
    """Clients that ask without a pause; every second one on a new connection each time."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.statuses: list[int] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number % 2 == 0,)) for number in range(clients)
        ]

    def _run(self, keeps: bool) -> None:
        raw = RawConnection(self._port, seconds=30)
        while not self._stop.is_set():
            self.statuses.append(raw.get("/").status)
            if not keeps:
                raw.close()
                raw = RawConnection(self._port, seconds=30)
        raw.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_ls_shows_lanes_and_saturation(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, "--workers", "1") as app:
        text = app.ctl("worker", "ls")
        lanes = re.search(r"lanes: (\d+) fast, (\d+) stack, (\d+) slow", app.log())
        assert lanes is not None
        fast, stack, slow = lanes.groups()
        assert f"pool app: lanes {fast} fast, {stack} stack, {slow} slow; queue 0/" in text
        assert "saturated no; not preloaded: one worker needs none" in text
        [pool] = pools(app)
        # What is 0 or false is not printed.
        assert pool["lanes"] == {"fast": int(fast)}
        assert "saturated" not in pool
        assert metric(app, 'catzilla_pool_saturated{pool="app"}') == 0


def test_a_pool_that_saturates_says_so_everywhere(tmp_path: pathlib.Path) -> None:
    config = "pools: [{name: shop, credits_per_worker: 1, max_queue: 1}]\n"
    with Sidecar(tmp_path, config, arguments=("--loops", "1")) as sidecar:
        code = Code("v1", {"/a": ""})
        with Master(sidecar.runtime) as master:
            ticket = master.register(code)
            worker = Worker(code, ticket, pid=1, holds=True)
            master.switched(ticket)
            listed = ctl(sidecar.control, "worker", "ls").stdout
            assert "saturated no" in listed
            with workers(worker):
                held = [RawConnection(sidecar.port, seconds=30) for _ in range(3)]
                for raw in held:
                    raw.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n")
                answers = [held.pop().read() for _ in range(1)]
                assert answers[0].status == 503
                listed = ctl(sidecar.control, "worker", "ls").stdout
                assert "saturated yes" in listed
                assert metric(sidecar, 'catzilla_pool_saturated{pool="shop"}') == 1
                assert metric(
                    sidecar, 'catzilla_pool_rejected_total{pool="shop",reason="queue_full"}'
                )
                eventually(lambda: "pool shop is saturated" in sidecar.log())
                worker.release()
                for raw in held:
                    assert raw.read().status == 200
                    raw.close()


def test_dump_tells_where_a_worker_is_held_up_and_who_does_not_answer(
    tmp_path: pathlib.Path,
) -> None:
    with AppProcess(tmp_path, APP, "--workers", "2") as app:
        first, second = sorted(wait_for_workers(app, 2))
        with app.connect() as holding, app.connect() as waiting:
            waiting.send(b"GET /waits HTTP/1.1\r\nHost: t\r\n\r\n")
            eventually(lambda: "waits begins" in app.log())
            holding.send(b"GET /held HTTP/1.1\r\nHost: t\r\n\r\n")
            eventually(lambda: "held begins" in app.log())
            text = app.ctl("worker", "dump")
            assert f"worker {first} of pool app, generation 1\n  thread " in text
            assert f"worker {second} of pool app" in text
            assert "held_by_this_handler (" in text
            assert "waits_for_long (" in text
            os.kill(second, signal.SIGSTOP)
            try:
                made = of(app, "worker", "dump", "app")
            finally:
                os.kill(second, signal.SIGCONT)
            assert made.returncode == 1
            assert f"worker {first} of pool app" in made.stdout
            assert f"worker {second}: no answer within 2000 ms: it is stopped" in made.stderr
            assert holding.read().status == waiting.read().status == 200
        machine = json.loads(app.ctl("worker", "dump", "--worker", str(first), "-o", "json"))
        assert [one["pid"] for one in machine["workers"]] == [first]
        assert "thread MainThread" in machine["workers"][0]["stacks"]
        for arguments, said in (
            (("--worker", "1"), "no attached worker has the pid 1"),
            (("other",), 'no pool is named "other"'),
        ):
            made = of(app, "worker", "dump", *arguments)
            assert (made.returncode, said in made.stderr) == (4, True), made.stderr


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_restart_under_load_fails_no_request(tmp_path: pathlib.Path, count: str) -> None:
    with AppProcess(tmp_path, APP, "--workers", count) as app:
        before = wait_for_workers(app, int(count))
        with Load(app.port) as load:
            for _ in range(3):
                made = of(app, "worker", "restart", "--wait", "--wait-timeout", "90s")
                assert made.returncode == 0, made.stderr + app.log()
                plural = "s" if count != "1" else ""
                assert made.stdout == f"pool app: {count} worker{plural} replaced\n"
                now = set(ready(app))
                assert len(now) == int(count)
                assert not now & before
                before = now
            seen = len(load.statuses)
            eventually(lambda: len(load.statuses) > seen + 100)
        assert set(load.statuses) == {200}


def test_one_worker_is_replaced_and_the_other_stays(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, "--workers", "2") as app:
        before = wait_for_workers(app, 2)
        old, kept = sorted(before)
        with Load(app.port, clients=2) as load:
            made = of(app, "worker", "restart", "app", "--worker", str(old), "--wait")
            assert made.returncode == 0, made.stderr + app.log()
        assert set(load.statuses) == {200}
        now = set(ready(app))
        assert kept in now
        assert old not in now
        made = of(app, "worker", "restart", "--worker", "1")
        assert made.returncode == 4
        assert "no worker that serves has the pid 1" in made.stderr


def test_a_worker_that_hears_nothing_is_replaced_too(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, "--workers", "2", "--drain-timeout", "1s") as app:
        stopped, _ = sorted(wait_for_workers(app, 2))
        os.kill(stopped, signal.SIGSTOP)
        made = of(app, "worker", "restart", "--worker", str(stopped))
        assert made.returncode == 0, made.stderr
        eventually(lambda: stopped not in ready(app) and len(ready(app)) == 2, 30, app.log)
        eventually(lambda: f"(pid {stopped}) does not leave: killed" in app.log(), 30, app.log)


def test_code_that_does_not_start_shows_its_traceback_and_the_old_serves(
    tmp_path: pathlib.Path,
) -> None:
    with AppProcess(tmp_path, APP, "--workers", "1") as app:
        wait_for_workers(app, 1)
        (tmp_path / "app_under_test.py").write_text(
            "def broken():\n    raise RuntimeError('no \\x1b[31mdatabase')\nbroken()\n"
        )
        made = of(app, "worker", "restart", "--wait", "--wait-timeout", "3s")
        assert made.returncode == 9
        assert "do not serve within 3s" in made.stderr
        listed = of(app, "worker", "ls")
        assert "RuntimeError" in listed.stderr
        assert 'app_under_test.py", line 2, in broken' in listed.stderr
        assert "\x1b" not in listed.stderr
        [pool] = pools(app)
        assert pool["last_traceback"].count("in broken") == 1
        with app.connect() as raw:
            assert raw.get("/").status == 200


def test_a_crash_loop_shows_its_restarts_and_its_traceback(tmp_path: pathlib.Path) -> None:
    source = APP.replace(
        "VERSION = 1",
        "VERSION = 1\n"
        "@app.on_event('startup')\n"
        "def startup():\n"
        "    if os.path.exists('broken'):\n"
        "        raise OSError('no queue')\n",
    )
    with AppProcess(tmp_path, source, "--workers", "2") as app:
        before = wait_for_workers(app, 2)
        (tmp_path / "broken").touch()
        os.kill(min(before), signal.SIGKILL)

        def told() -> bool:
            made = of(app, "worker", "ls")
            return "no queue" in made.stderr and "in startup" in made.stderr

        eventually(told, 60, app.log)
        assert "failed" in app.ctl("worker", "ls")
        [pool] = pools(app)
        assert max(one.get("restarts", 0) for one in pool["workers"]) >= 1
        with app.connect() as raw:
            assert raw.get("/").status == 200  # The other one answers.
        (tmp_path / "broken").unlink()
        wait_for_workers(app, 2)


def test_a_pool_without_its_supervisor_cannot_be_restarted(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path, "{}\n") as sidecar:
        made = ctl(sidecar.control, "worker", "restart")
        assert (made.returncode, "no app has registered" in made.stderr) == (4, True), made.stderr
        code = Code("v1", {"/a": ""})
        with Master(sidecar.runtime) as master:
            ticket = master.register(code)
            worker = Worker(code, ticket, pid=41)
            master.switched(ticket)
            made = ctl(sidecar.control, "worker", "restart", "shop", "--worker", "41")
            assert (made.returncode, made.stdout) == (0, "pool shop: 1 worker will be replaced\n")
            event = master.expect("recycle").recycle
            assert (event.pid, event.hard) == (41, False)
            assert event.reason.startswith("asked for by uid ")
            made = ctl(sidecar.control, "worker", "dump")
            assert made.returncode == 1  # It is of an older SDK.
            assert "worker 41: its Python package (0.1.0) does not tell" in made.stderr
        with workers(worker):
            made = ctl(sidecar.control, "worker", "restart", "shop")
            assert made.returncode != 0
            assert 'the supervisor of pool "shop" is not connected' in made.stderr
