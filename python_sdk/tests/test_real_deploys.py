"""New code and fresh workers under a running master: `catzilla deploy`, SIGUSR2, SIGHUP; with the real sidecar."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, Run, alive, catzilla, pids, until

from catzilla._master._run_files import RunFiles, find_runs


def deploy(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    return catzilla("deploy", "--pid", str(run.process.pid), *arguments)


def write(tmp_path: Path, version: int) -> None:
    (tmp_path / "app_under_test.py").write_text(APP.replace("VERSION = 1", f"VERSION = {version}"))


def version(run: Run) -> int:
    return int(json.loads(run.get("/").body)["version"])


class Load:
    """Some hundred requests per second, each client at its own pace, half of them on connections that are kept."""

    def __init__(self, port: int, clients: int = 8, pace: float = 0.02) -> None:
        self._port, self._pace = port, pace
        self._stop = threading.Event()
        self.answers: list[tuple[str, int]] = []
        self.versions: set[int] = set()
        self._threads = [threading.Thread(target=self._run, args=(n % 2 == 0,)) for n in range(clients)]

    def _run(self, kept: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        count = 0
        while not self._stop.wait(self._pace):
            count += 1
            method, path = ("POST", "/once") if count % 10 == 0 else ("GET", "/")
            try:
                connection.request(method, path)
                response = connection.getresponse()
                body = response.read()
                self.answers.append((method, response.status))
                if path == "/" and response.status == 200:
                    self.versions.add(json.loads(body)["version"])
            except (OSError, http.client.HTTPException) as error:
                self.answers.append((f"{method}: {error!r}", 0))
                connection.close()
            if not kept:
                connection.close()
        connection.close()

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.rate = len(self.answers) / (time.monotonic() - self._began)


POSTS = """
@app.post("/once")
async def once():
    await asyncio.sleep(0.01)
    return VERSION
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_three_deploys_under_load_fail_no_request(real: Any, tmp_path: Path, workers: str) -> None:
    run: Run = real(APP + POSTS, "--workers", workers).ready()
    source = tmp_path / "app_under_test.py"
    with Load(run.port) as load:
        until(lambda: len(load.answers) > 100, "the load flows")
        for number in (2, 3, 4):
            source.write_text((APP + POSTS).replace("VERSION = 1", f"VERSION = {number}"))
            result = deploy(run)
            assert result.returncode == 0, result.stderr + run.text
            assert f"generation {number} serves: app_under_test:app, {workers} worker" in result.stdout
            assert version(run) == number  # From the moment that the command says so.
        seen = len(load.answers)
        until(lambda: len(load.answers) > seen + 100, "the load goes on")
    failed = [answer for answer in load.answers if answer[1] != 200]
    assert not failed, f"{len(failed)} of {len(load.answers)}: {failed[:5]}"
    assert load.versions == {1, 2, 3, 4}
    assert load.rate > 100
    until(lambda: len(run.children()) <= 2 + int(workers), "the old generations have left")
    assert run.stop() == 0, run.text


# What only the sidecar judges.
REFUSED = """
from pathlib import Path
app.mount_static("/assets", Path(__file__).parent / "assets", revalidate="5parsecs")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1/0\n", "ZeroDivisionError"),
        ("x = 1\n", "has no 'app'"),
        ("import os\nos._exit(7)\n", "exited with 7"),
        (
            "from contextlib import asynccontextmanager\nfrom catzilla import Catzilla\n@asynccontextmanager\n"
            "async def lifespan(app):\n    raise OSError('no queue')\n    yield\napp = Catzilla(lifespan=lifespan)\n",
            "no queue",
        ),
        (APP + "app.mount_static('/assets', '/nowhere/at/all')\n", "/nowhere/at/all"),
        (APP + REFUSED, "the sidecar refuses it: the registration of app is refused: error CZ"),
    ],
    ids=["import", "no-app", "exits", "startup", "folder", "refused"],
)
def test_code_that_does_not_start_leaves_the_old_one(
    real: Any, tmp_path: Path, source: str, said: str, workers: str
) -> None:
    run: Run = real(APP, "--workers", workers).ready()
    before = until(lambda: len(found := pids(run)) == int(workers) and found, "all workers serve")
    (tmp_path / "app_under_test.py").write_text(source)
    result = deploy(run)
    assert result.returncode == 1, result.stdout + run.text
    assert said in result.stderr
    assert "what served before goes on" in result.stderr
    assert version(run) == 1
    assert pids(run) <= before
    write(tmp_path, 3)
    result = deploy(run)
    assert result.returncode == 0, result.stderr + run.text
    assert version(run) == 3
    until(lambda: len(run.children()) <= 2 + int(workers), "all that failed has left")
    assert run.stop() == 0, run.text


DIES = """
import asyncio, os
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    asyncio.get_running_loop().call_soon(os._exit, 7)
    yield
"""


def test_workers_that_die_before_they_serve_leave_the_old_ones(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP, "--workers", "2").ready()
    (tmp_path / "app_under_test.py").write_text(DIES + APP.replace("Catzilla()", "Catzilla(lifespan=lifespan)"))
    result = deploy(run)
    assert result.returncode == 1, result.stdout + run.text
    assert "exited with 7" in result.stderr
    before = pids(run)
    with Load(run.port, clients=2) as load:
        os.kill(min(before), signal.SIGTERM)  # Whoever comes instead is of the old code, too.
        until(lambda: len(now := pids(run)) == 2 and min(before) not in now, "another worker serves")
        write(tmp_path, 3)
        assert deploy(run).returncode == 0, run.text
    assert {status for method, status in load.answers if method.startswith("GET")} == {200}
    assert load.versions == {1, 3}
    until(lambda: len(run.children()) <= 4, "all that failed has left")
    assert run.stop() == 0, run.text


def test_a_traceback_reaches_who_deploys(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP).ready()
    (tmp_path / "app_under_test.py").write_text("def broken():\n    raise RuntimeError('no database')\nbroken()\n")
    result = deploy(run)
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert 'app_under_test.py", line 2, in broken' in result.stderr
    assert run.text.count("no database") >= 1
    assert run.stop() == 0


def test_sigusr2_alone_deploys(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP, "--workers", "2").ready()
    write(tmp_path, 2)
    os.kill(run.process.pid, signal.SIGUSR2)
    until(lambda: version(run) == 2, "the new code serves")
    run.said("generation 2 has taken over")
    assert run.stop() == 0


def test_a_request_of_the_old_code_is_finished(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP).ready()
    [old] = pids(run)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run.get("/slow?seconds=2")))
    thread.start()
    run.said("slow begins")
    write(tmp_path, 2)
    assert deploy(run).returncode == 0
    assert version(run) == 2
    thread.join()
    assert json.loads(answers[0].body)["pid"] == old
    until(lambda: not alive(old), "the old worker has left")
    assert run.stop() == 0


def test_deploys_at_the_same_time_all_end_well(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP).ready()
    write(tmp_path, 2)
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: results.append(deploy(run))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results] == [0, 0, 0], [result.stderr for result in results]
    assert version(run) == 2
    until(lambda: len(run.children()) == 2, "those that gave way have left", 20)  # Long before their time is up.
    assert run.stop() == 0


def test_signals_at_once_are_one_deploy(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP, "--workers", "1").ready()
    write(tmp_path, 2)
    for _ in range(20):
        os.kill(run.process.pid, signal.SIGUSR2)
    until(lambda: version(run) == 2, "the new code serves")
    until(lambda: len(run.children()) == 2, "those that gave way have left", 20)
    assert run.stop() == 0, run.text


def test_sighup_brings_workers_of_the_same_code(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP, "--workers", "2").ready()
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    write(tmp_path, 2)
    with Load(run.port, clients=2) as load:
        os.kill(run.process.pid, signal.SIGHUP)
        until(lambda: len(now := pids(run)) == 2 and not now & before, "fresh workers serve")
        until(lambda: not any(alive(pid) for pid in before), "the old ones have left")
    assert {status for method, status in load.answers if method.startswith("GET")} == {200}
    assert version(run) == 1  # The zygote has imported it; `catzilla deploy` brings what is there now.
    assert "generation 2" not in run.text
    assert deploy(run).returncode == 0
    assert version(run) == 2
    assert run.stop() == 0


def test_a_reload_that_is_refused_leaves_the_old_code(real: Any, tmp_path: Path) -> None:
    run: Run = real(APP, "--reload").ready()
    source = tmp_path / "app_under_test.py"
    source.write_text(APP + REFUSED)
    run.said("generation 2 is given up, generation 1 serves on")
    assert version(run) == 1
    write(tmp_path, 3)
    until(lambda: version(run) == 3, "the corrected code serves")
    assert run.stop() == 0, run.text


def test_the_master_is_found_by_its_runtime_directory_and_name(real: Any, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    run: Run = real(APP, "--name", "shop", "--runtime-dir", str(runtime)).ready()
    assert (runtime / "master-shop.pid").read_text() == f"{run.process.pid}\n"
    assert os.stat(runtime / "master-shop.json").st_mode & 0o777 == 0o600
    write(tmp_path, 2)
    assert catzilla("deploy", "--runtime-dir", str(runtime)).returncode == 0
    assert catzilla("deploy", CATZILLA_RUNTIME_DIR=str(runtime), CATZILLA_NAME="shop").returncode == 0
    assert version(run) == 2
    wrong = catzilla("deploy", "--runtime-dir", str(runtime), "--name", "other")
    assert wrong.returncode == 2
    assert f"there is shop (pid {run.process.pid})" in wrong.stderr
    assert run.stop() == 0
    assert not list(runtime.glob("master-*"))


def test_attached_masters_are_found_too(real: Any, launch: Any, tmp_path: Path) -> None:
    owner: Run = real(APP, "--runtime-dir", str(tmp_path / "run")).ready()
    sockets = tmp_path / "run" / "control.sock"
    (tmp_path / "second.py").write_text("from fastapi import FastAPI\napp = FastAPI(docs_url=None)\n")
    beside: Run = launch("second:app", "--attach", "--control", str(sockets), "--name", "second").ready()
    assert (tmp_path / "run" / "master-second.pid").read_text() == f"{beside.process.pid}\n"
    several = catzilla("deploy", "--runtime-dir", str(tmp_path / "run"))
    assert several.returncode == 2
    assert "choose one with --name or --pid" in several.stderr
    for name, run in (("app", owner), ("second", beside)):
        result = catzilla("deploy", "--runtime-dir", str(tmp_path / "run"), "--name", name)
        assert result.returncode == 0, result.stderr
        run.said("generation 2 has taken over")
    assert beside.stop() == 0
    assert owner.stop() == 0


def test_a_directory_that_cannot_be_written_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = RunFiles("/proc/nowhere", "shop")
    files.tell(1, "serving", "well")
    [found] = find_runs(None, "/nowhere").values()
    assert (found.app, found.pid, found.generations[1].text) == ("shop", os.getpid(), "well")
    for number in range(2, 40):
        files.tell(number, "starting")
    [found] = find_runs(None, "/nowhere").values()
    assert (len(found.generations), found.newest) == (16, 39)
    files.remove()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    helpless = RunFiles("/proc/nowhere", "shop")  # It serves all the same.
    helpless.tell(1, "serving")
    helpless.remove()


def test_a_pid_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        state = {"app": "app", "pid": other.pid, "born": 1, "generations": {}}
        (tmp_path / "master-app.json").write_text(json.dumps(state))
        result = catzilla("deploy", "--runtime-dir", str(tmp_path))
        assert (result.returncode, other.poll()) == (2, None)
        assert "no `catzilla run` was found" in result.stderr
        assert catzilla("deploy", "--pid", str(other.pid), "--runtime-dir", str(tmp_path)).returncode == 2
        (tmp_path / "master-app.json").write_text("{}")
        assert catzilla("deploy", "--runtime-dir", str(tmp_path)).returncode == 2
        assert other.poll() is None
        other.kill()
