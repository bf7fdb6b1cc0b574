"""Processes that die, leave and are replaced, with the real sidecar: each test names the fault it keeps away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, Run, alive, fetch, free_port, pids, real_sidecar, until

pytestmark = pytest.mark.sidecar

POOLED = (
    APP
    + """
import concurrent.futures, multiprocessing, os

@app.get("/fork")
def fork():
    global pool
    pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    for _ in range(4):
        pool.submit(os.getpid).result()
    return {"children": list(pool._processes), "pid": os.getpid()}
"""
)


@contextlib.contextmanager
def killed_at_last(pids: list[int]) -> Iterator[None]:
    """Children of an executor whose process is killed live on: nobody tells them."""
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_s14_a_worker_is_replaced_though_its_children_live_on(real: Any, workers: int) -> None:
    run: Run = real(POOLED, "--workers", str(workers)).ready()
    until(lambda: len(pids(run)) == workers, "all workers serve")
    told = json.loads(run.get("/fork").body)
    with killed_at_last(told["children"]):
        os.kill(told["pid"], signal.SIGKILL)
        until(lambda: told["pid"] not in pids(run) and len(pids(run)) == workers, "its place is filled")
        assert all(run.get("/").status == 200 for _ in range(20))
        assert run.stop() == 0, run.text


def test_s14_children_hold_none_of_our_sockets(real: Any) -> None:
    run: Run = real(POOLED).ready()
    told = json.loads(run.get("/fork").body)
    with killed_at_last(told["children"]):
        share_nothing(told)


def share_nothing(told: Any) -> None:
    for child in told["children"]:
        links = {os.readlink(link) for link in Path(f"/proc/{child}/fd").iterdir() if link.is_symlink()}
        theirs = {link for link in links if link.startswith("socket:")}
        ours = {os.readlink(link) for link in Path(f"/proc/{told['pid']}/fd").iterdir() if link.is_symlink()}
        # But for the pair that an event loop wakes itself with; the link, the lanes and the master's channel are more.
        assert len(theirs & ours) <= 2


def test_s13_a_signal_to_the_whole_group_forks_nothing(real: Any) -> None:
    run: Run = real(APP, "--workers", "2", "--drain-timeout", "10s").ready()
    until(lambda: len(pids(run)) == 2, "two workers serve")
    before = pids(run)
    for pid in [run.process.pid, *run.children()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert run.process.wait(30) == 0, run.text
    assert "is recycled" not in run.text
    assert "starting another" not in run.text
    assert not any(alive(pid) for pid in before)


def test_o11_a_sidecar_that_was_told_to_drain_takes_the_app_along(real: Any) -> None:
    run: Run = real(APP).ready()
    [sidecar] = [pid for pid, command in run.children().items() if "catzilla-sidecar" in command]
    os.kill(sidecar, signal.SIGTERM)
    assert run.process.wait(30) == 0, run.text
    assert "starting it again" not in run.text


LATE = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/add")
async def add():
    app.get("/late")(add)
    return "added"
"""


def test_a5_a_route_that_comes_late_is_found(real: Any) -> None:
    run: Run = real(LATE).ready()
    assert run.get("/late").body == b'{"detail":"Not Found"}'
    assert run.get("/add").status == 200
    until(lambda: run.get("/late").status == 200, "the app answers for unknown paths")
    assert run.text.count("the app has changed") == 1
    assert run.get("/nowhere").body == b'{"detail":"Not Found"}'
    assert run.stop() == 0, run.text


def test_o11_sighup_brings_fresh_workers(real: Any) -> None:
    run: Run = real(APP).ready()
    before = pids(run)
    os.kill(run.process.pid, signal.SIGHUP)
    until(lambda: pids(run) and not pids(run) & before, "fresh workers serve")
    assert run.stop() == 0, run.text


def test_o6_sigquit_ends_gracefully(real: Any) -> None:
    run: Run = real(APP).ready()
    os.kill(run.process.pid, signal.SIGQUIT)
    assert run.process.wait(30) == 0, run.text


FACTORY = """
from fastapi import FastAPI

def create_app():
    app = FastAPI()

    @app.get("/")
    def root():
        return "made"

    return app
"""


def test_a3_a_factory_is_asked_for(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(FACTORY)
    run: Run = launch("made:create_app", sidecar=real_sidecar())
    assert run.process.wait(30) == 1
    assert "add --factory" in run.text


def test_a3_a_factory_is_called(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(FACTORY)
    run: Run = launch("made:create_app", "--factory", sidecar=real_sidecar()).ready()
    assert run.get("/").body == b'"made"'


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("import random\nSOURCE = random.Random(7)\n", "random.Random"),
        ("import sqlite3\nDATABASE = sqlite3.connect(':memory:')\n", "SQLite"),
    ],
)
def test_a11_what_must_not_cross_a_fork_turns_preloading_off(real: Any, lines: str, reason: str) -> None:
    run: Run = real(APP + lines, "--workers", "2").ready()
    assert "is not preloaded" in run.text
    assert reason in run.text


def test_a11_siblings_draw_different_numbers(real: Any) -> None:
    source = APP + "\nimport os, random\n@app.get('/random')\ndef draw(): return [os.getpid(), random.random()]\n"
    run: Run = real(source, "--workers", "2").ready()
    assert "not preloaded" not in run.text
    until(lambda: len(pids(run)) == 2, "two workers serve")
    drawn: dict[int, float] = {}

    def both() -> bool:
        pid, number = json.loads(run.get("/random").body)
        drawn.setdefault(pid, number)
        return len(drawn) == 2

    until(both, "both have drawn")
    assert len(set(drawn.values())) == 2


def test_a11_preloading_can_be_turned_off(real: Any) -> None:
    run: Run = real(APP, "--workers", "2", "--no-preload").ready()
    until(lambda: len(pids(run)) == 2, "two workers serve")
    assert not any("_zygote" in command for command in run.children().values())


@pytest.mark.parametrize("both_insist", [False, True])
def test_s15_who_is_replaced_finishes_and_leaves_in_peace(tmp_path: Path, launch: Any, both_insist: bool) -> None:
    """A has a request in flight while B takes over; A ends well, whoever of them insists."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    port = free_port()
    flags = ("--host", "127.0.0.1", "--port", str(port), "--ops-host", "127.0.0.1", "--ops-port", str(free_port()))
    binary = real_sidecar()
    assert binary is not None
    with subprocess.Popen([binary, "--runtime-dir", str(directory), *flags]) as sidecar:
        try:
            until((directory / "control.sock").exists, "the sidecar listens")
            attach = ("--attach", "--runtime-dir", str(directory))
            takeover = ("--takeover",) if both_insist else ()
            first: Run = launch(APP, *attach, *takeover).ready()
            [before] = {json.loads(fetch(port, "/").body)["pid"]}
            answers: list[int] = []
            asking = threading.Thread(target=lambda: answers.append(fetch(port, "/slow?seconds=3").status))
            asking.start()
            second: Run = launch(APP, *attach, "--takeover").ready()
            assert first.process.wait(30) == 0, first.text
            asking.join()
            assert answers == [200]
            assert "finishing what is under way" in first.text
            assert second.process.poll() is None, second.text
            assert json.loads(fetch(port, "/").body)["pid"] != before
            assert second.stop() == 0, second.text
        finally:
            sidecar.terminate()
