"""`catzilla run` as a whole: master, zygote, workers and a sidecar (a fake one, started by the master)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, FAKE, Run, alive, catzilla, fetch, free_port, pids, until


def registrations(run: Run) -> list[dict[str, Any]]:
    lines = run.record.read_text().splitlines() if run.record.exists() else []
    return [json.loads(line) for line in lines]


def reports(run: Run) -> list[dict[str, Any]]:
    return [entry["report"] for entry in registrations(run) if "report" in entry]


def test_one_worker_has_no_zygote(launch: Any) -> None:
    run = launch(APP).ready()
    assert len(pids(run)) == 1
    assert not any("catzilla._master._zygote" in command for command in run.children().values())
    assert run.stop() == 0
    assert "fake sidecar: left in order" in run.text


def test_workers_are_forked_from_a_zygote_and_belong_to_the_master(launch: Any) -> None:
    run = launch(APP, "--workers", "3").ready()
    until(lambda: len(pids(run)) == 3, "three workers serve")
    assert pids(run) <= set(run.children())
    assert json.loads(run.get("/modules").body) == []
    assert run.stop() == 0


def test_the_registration_carries_the_table(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    run = launch(APP + f"app.mount_static('/assets', {str(tmp_path / 'assets')!r})\n", "--name", "shop").ready()
    [registration] = [entry["registration"] for entry in registrations(run) if "registration" in entry]
    assert (registration["app"], registration["workers_expected"]) == ("shop", 1)
    routes = {route["template"]: route for route in registration["table"]["routes"]}
    assert routes["/slow"]["inputs"] == [{"place": "INPUT_PLACE_QUERY", "name": "seconds"}]
    assert routes["/slow"]["lane"] == "LANE_FAST"
    assert routes["/cached"]["cache"] == {"ttl": "5s", "tags": ["t"], "cache": "default"}
    assert registration["caches"] == [{"name": "default"}]
    assert registration["mounts"] == [{"name": "assets", "prefix": "/assets", "root": str(tmp_path / "assets")}]
    assert registration["table"]["unmatched"] == "UNMATCHED_SIDECAR"


def test_a_killed_worker_is_replaced_and_the_others_serve_on(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in (now := pids(run)) and len(now) == 2, "the pool is back to size")
    run.said(f"(pid {victim}) killed by SIGKILL")
    until(lambda: any(w.get("restarts") for w in reports(run)[-1]["workers"]), "the restart is reported")
    assert run.stop() == 0


def test_all_workers_and_the_zygote_killed_at_once(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    for pid, command in run.children().items():
        if "fake_sidecar" not in command:
            os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return len(now := pids(run)) == 2 and not now & before
        return False

    until(back, "two new workers serve")
    assert run.stop() == 0


def test_an_app_that_raises_at_import_is_told_and_tried_again(launch: Any, tmp_path: Path) -> None:
    run = launch("raise RuntimeError('no database')\n", "--workers", "2", "--reload")
    run.said("no database")
    until(lambda: any("no database" in r.get("last_error", "") for r in reports(run)), "the sidecar is told")
    assert registrations(run)[0]["registration"].get("table") is None
    (tmp_path / "app_under_test.py").write_text(APP)
    run.ready()
    assert run.get("/").status == 200
    assert run.text.count("Traceback") == 1  # Said once, not with each try.
    assert run.stop() == 0


STARTUP_FAILS = """
async def lifespan(app):
    raise OSError('no queue')
    yield
from contextlib import asynccontextmanager
app = Catzilla(lifespan=asynccontextmanager(lifespan))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no database')\n", "RuntimeError: no database"),
        ("x = 1\n", "app_under_test"),
        (APP.replace("app = Catzilla()", STARTUP_FAILS), "no queue"),
        ("import os\nos._exit(7)\n", "the app does not start"),
        ("import os\nos.abort()\n", "killed by SIGABRT"),
    ],
    ids=["import", "no-app", "startup", "exits", "aborts"],
)
def test_an_app_that_does_not_start_ends_the_command(launch: Any, source: str, said: str, workers: str) -> None:
    run = launch(source, "--workers", workers)
    assert run.process.wait(30) == 1, run.text
    assert said in run.text
    assert run.text.count("Traceback") <= 2, run.text  # Told once, with the sibling's at most.
    assert run.children() == {}


def test_a_worker_that_never_attaches_ends_the_command_with_the_remedy(launch: Any) -> None:
    run = launch(APP, env={"FAKE_SIDECAR_ADVERTISES": "/nowhere/worker.sock"})
    assert run.process.wait(30) == 1, run.text
    assert "no worker has attached within 10 s" in run.text
    assert "/nowhere/worker.sock must be the sidecar's socket here too" in run.text
    assert "serving" not in run.text


def test_metrics_and_health_listen_where_the_app_does(launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATZILLA_OPS_HOST", raising=False)

    def ops_host(*arguments: str, **environment: str) -> str | None:
        run = launch(APP, *arguments, env=environment).ready()
        command = next(command for command in run.children().values() if "fake_sidecar" in command).split()
        assert run.stop() == 0
        return command[command.index("--ops-host") + 1] if "--ops-host" in command else None

    assert ops_host() == "127.0.0.1"
    assert ops_host("--host", "127.0.0.2") == "127.0.0.2"
    assert ops_host("--ops-host", "0.0.0.0") == "0.0.0.0"
    assert ops_host("--config", "/dev/null") is None  # The file says it, or its default holds.
    assert ops_host(CATZILLA_OPS_HOST="127.0.0.3") == "127.0.0.3"


def test_an_app_that_cannot_be_forked_is_not(launch: Any) -> None:
    run = launch("import grpc\n" + APP, "--workers", "2").ready()
    run.said("the app is not preloaded: the app imports grpc")
    until(lambda: len(pids(run)) == 2, "two workers serve")
    assert reports(run)[-1]["preload_reason"].startswith("the app imports grpc")
    assert not any("catzilla._master._zygote" in command for command in run.children().values())
    assert run.stop() == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(999,), daemon=True).start()", "threads"),
        ("import socket; keep = socket.socket()", "sockets"),
    ],
)
def test_threads_and_sockets_after_import_prevent_forking(launch: Any, line: str, reason: str) -> None:
    run = launch(f"{line}\n{APP}", "--workers", "2").ready()
    run.said(f"opened {reason}" if reason == "sockets" else f"started {reason}")
    assert run.get("/").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("line", "expected"), [("", [10_000, 10, 10]), ("gc.set_threshold(5, 6, 7)", [5, 6, 7])])
def test_the_collector_of_a_worker(launch: Any, workers: str, line: str, expected: list[int]) -> None:
    source = f"import gc\n{line}\n{APP}\n@app.get('/collector')\ndef collector():\n    return gc.get_threshold()\n"
    run = launch(source, "--workers", workers).ready()
    assert json.loads(run.get("/collector").body) == expected


def test_sigterm_lets_requests_finish_and_the_sidecar_leaves_last(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run.get("/slow?seconds=1.5")))
    thread.start()
    run.said("slow begins")
    assert run.stop() == 0
    thread.join()
    assert answers[0].status == 200
    assert run.text.rstrip().endswith("fake sidecar: left in order")
    assert run.children() == {}


def test_a_dead_master_takes_everything_with_it(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    children = run.children()
    run.process.kill()
    run.process.wait()
    until(lambda: not [pid for pid in children if alive(pid)], "no process is left behind")


def test_a_sidecar_that_dies_is_started_again_and_workers_attach_anew(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    [sidecar] = [pid for pid, command in run.children().items() if "fake_sidecar" in command]
    os.kill(sidecar, signal.SIGKILL)
    run.said("the sidecar killed by SIGKILL, starting it again")

    def back() -> bool:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return pids(run) == before
        return False

    until(back, "the same workers serve behind the new sidecar")
    assert run.stop() == 0


def test_workers_are_recycled_after_max_requests_without_a_gap(launch: Any) -> None:
    run = launch(APP, "--workers", "1", "--max-requests", "20").ready()
    seen = set()

    def served_by_three() -> bool:
        answer = run.get("/")
        assert answer.status == 200
        seen.add(json.loads(answer.body)["pid"])
        return len(seen) >= 3

    until(served_by_three, "three workers have served, one after the other")
    assert "is recycled: max_requests" in run.text
    assert run.stop() == 0


def test_sigterm_to_a_worker_replaces_it(launch: Any) -> None:
    run = launch(APP).ready()
    [pid] = pids(run)
    os.kill(pid, signal.SIGTERM)
    until(lambda: pids(run).isdisjoint({pid}), "another worker serves")


def test_reload_brings_new_code_and_keeps_the_old_until_it_serves(launch: Any, tmp_path: Path) -> None:
    run = launch(APP, "--workers", "2", "--reload").ready()
    source = tmp_path / "app_under_test.py"
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(run.get("/").status)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        first = source.stat().st_mtime_ns
        source.write_text(APP.replace("VERSION = 1", "VERSION = 2"))
        os.utime(source, ns=(first + 1, first + 1))  # An edit within one second, of the same size.
        until(lambda: json.loads(run.get("/").body)["version"] == 2, "the new code serves")
        source.write_text("1/0\n")
        run.said("ZeroDivisionError")
        assert json.loads(run.get("/").body)["version"] == 2  # What served before goes on.
        source.write_text(APP.replace("VERSION = 1", "VERSION = 3"))
        until(lambda: json.loads(run.get("/").body)["version"] == 3, "the corrected code serves")
    finally:
        stop.set()
        thread.join()
    assert set(statuses) == {200}
    until(lambda: len(run.children()) <= 4, "the old generations have left")  # Sidecar, zygote, two workers.
    assert run.stop() == 0


def test_what_the_app_prints_is_harmless(launch: Any) -> None:
    run = launch(APP, "--workers", "2").ready()
    for _ in range(4):
        assert run.get("/print").body == b'"ok"'
    assert "a line of the app's" in run.text
    assert "and one on stderr" in run.text


def test_differing_route_tables_are_told(launch: Any) -> None:
    source = "import os\n" + APP + "@app.get(f'/only/{os.getpid()}')\ndef only(): ...\n"
    run = launch("import grpc\n" + source, "--workers", "2")  # Not preloaded: each compiles its own.
    run.said("its route table differs")


def test_a_table_that_is_refused_at_the_switch_is_told_and_waited_for(
    launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SIDECAR_REFUSES", "generation 1 is ready and does not take over")
    run = launch(APP)
    run.said("CZ1507 pools[app]: generation 1 is ready and does not take over")
    assert run.process.poll() is None
    assert run.stop() == 0, run.text


# Attached...


@pytest.fixture
def sidecar(tmp_path: Path) -> Any:
    port = free_port()
    directory = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(FAKE), "--runtime-dir", str(directory), "--port", str(port)],
        env={**os.environ, "FAKE_SIDECAR_RECORD": str(tmp_path / "record.jsonl")},
    )
    until(lambda: (directory / "control.sock").exists(), "the fake sidecar listens")
    yield directory, port
    process.kill()
    process.wait()


def test_attached_to_a_sidecar_that_runs_apart(launch: Any, sidecar: Any) -> None:
    directory, port = sidecar
    run = launch(APP, "--attach", "--control", str(directory / "control.sock"), "--workers", "2")
    run.ready()
    assert fetch(port, "/").status == 200
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(fetch(port, "/slow?seconds=1")))
    thread.start()
    run.said("slow begins")
    assert run.stop(signal.SIGINT) == 0
    thread.join()
    assert answers[0].status == 200
    assert fetch(port, "/").status == 503  # The sidecar stays; the pool is empty.


def test_an_unreachable_control_socket_is_told_with_its_remedy(launch: Any, tmp_path: Path) -> None:
    run = launch(APP, "--attach", "--control", str(tmp_path / "none.sock"))
    run.said("no sidecar answers at unix:")
    assert "is it running? drop --attach to start one" in run.text
    assert run.stop() == 0


# Usage...


def test_a_missing_sidecar_is_told_with_the_remedy(tmp_path: Path) -> None:
    result = catzilla("run", "x:app", PATH="/nonexistent", CATZILLA_BIN_DIR=str(tmp_path), CATZILLA_SIDECAR="")
    assert result.returncode == 1
    assert f"looked for {tmp_path}/catzilla-sidecar" in result.stderr
    assert "--attach" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "x", "--workers", "0"],
        ["run", "x", "--workers", "1000"],
        ["run", "x", "--port", "70000"],
        ["run", "x", "--max-rss", "12parsecs"],
        ["run", "x", "--drain-timeout", "5"],
        ["run", "x", "--name", "no spaces"],
        ["run", "x", "--concurrency", "0"],
        ["run", "x", "--attach", "--port", "1"],
        ["run", "x", "--control", "y"],
        ["fly"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = catzilla(*arguments)
    assert result.returncode == 2, result.stderr
    assert result.stderr


def test_routes_prints_the_table(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(APP)
    result = catzilla("routes", "shown:app", "--app-dir", str(tmp_path))
    assert result.returncode == 0
    assert "GET       /cached" in result.stdout
    assert "5s [t]" in result.stdout
    table = json.loads(catzilla("routes", "shown:app", "--app-dir", str(tmp_path), "-o", "json").stdout)
    assert table["unmatched"] == "sidecar"
    assert catzilla("routes", "nowhere:app").returncode == 1


def test_version_names_its_parts() -> None:
    assert "catzilla 0.1.0" in catzilla("version").stdout
