"""`catzilla run` with the real sidecar: what only both together can show. Needs CATZILLA_BIN_DIR."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, SITE, Run, alive, fetch, free_port, pause, pids, real_sidecar, until

pytestmark = pytest.mark.sidecar


def served_by(run: Run, path: str) -> str:
    lines = [json.loads(line) for line in run.text.splitlines() if line.startswith("{")]
    return [line["served_by"] for line in lines if line["target"] == path][-1]


def test_files_come_from_the_sidecar_and_the_rest_from_python(real: Any) -> None:
    run = real().ready()
    answer = run.get("/assets/a.txt")
    assert (answer.status, answer.body) == (200, b"static")
    assert ("cache-control", "max-age=60") in answer.headers
    assert run.get("/").status == 200
    assert run.get("/nothing").body == b'{"detail":"Not Found"}'
    until(lambda: '"/nothing"' in run.text, "the access log")
    assert served_by(run, "/").startswith("worker")
    assert not served_by(run, "/assets/a.txt").startswith("worker")
    assert run.stop() == 0, run.text


def test_middleware_keeps_files_in_python(real: Any) -> None:
    middleware = """
from starlette.middleware.gzip import GZipMiddleware
app.add_middleware(GZipMiddleware)
"""
    run = real(APP + SITE + middleware).ready()
    assert run.get("/assets/a.txt").body == b"static"
    until(lambda: '"/assets/a.txt"' in run.text, "the access log")
    assert served_by(run, "/assets/a.txt").startswith("worker")


def test_cookies_are_those_that_starlette_reads(real: Any) -> None:
    """It strips text, to which NEL and the no-break space are blank: the compiled lanes take what the sidecar found."""
    source = """
from typing import Annotated
from fastapi import Cookie, Request

@app.get("/cookie")
async def cookie(request: Request, session: Annotated[str, Cookie()] = "none"):
    return [session, request.cookies.get("session", "none")]
"""
    run = real(APP + source).ready()
    for value in ("session=\xa01\x85", "\x85session\xa0=1; x=2", "a\xa0=2;session=\xa0", "session=a\xa0b"):
        taken, read = json.loads(run.get("/cookie", headers=[("Cookie", value.encode("latin-1"))]).body)
        assert taken == read, value


def test_a_cached_route_does_not_wake_python(real: Any) -> None:
    source = APP.replace("    return 1\n", "    return time.time_ns()\n")
    run = real(source).ready()
    first = run.get("/cached")
    again = run.get("/cached")
    assert first.status == 200
    assert again.body == first.body
    assert any(name == "cache-status" and "hit" in value for name, value in again.headers)


def test_a_dead_worker_takes_only_what_it_ran(real: Any) -> None:
    run = real(APP + SITE, "--workers", "2").ready()
    until(lambda: len(pids(run)) == 2, "two workers serve")
    stop = threading.Event()
    dynamic: list[int] = []
    static: list[int] = []

    def load(path: str, statuses: list[int]) -> None:
        while not stop.is_set():
            statuses.append(run.get(path).status)

    threads = [threading.Thread(target=load, args=("/", dynamic)) for _ in range(4)]
    threads.append(threading.Thread(target=load, args=("/assets/a.txt", static)))
    for thread in threads:
        thread.start()
    for _ in range(3):
        victims = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
        victim = victims.pop()
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim), "it is dead")  # noqa: B023
    stop.set()
    for thread in threads:
        thread.join()
    # GET is idempotent: it is tried again on the other worker.
    assert set(dynamic) == {200}, {status: dynamic.count(status) for status in set(dynamic)}
    assert set(static) == {200}
    assert run.stop() == 0


def test_a_post_in_flight_on_a_killed_worker_fails_and_is_not_repeated(real: Any) -> None:
    run = real(APP + SITE).ready()
    [pid] = pids(run)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run.get("/once?seconds=5", "POST", b"")))
    thread.start()
    run.said("once begins")
    os.kill(pid, signal.SIGKILL)
    thread.join()
    assert answers[0].status == 502
    until(lambda: run.get("/").status == 200, "the next is served")


def test_an_app_that_does_not_import_leaves_files_flowing(real: Any, tmp_path: Path) -> None:
    run = real(APP + SITE, "--reload").ready()
    source = tmp_path / "app_under_test.py"
    source.write_text("1/0\n")
    run.said("ZeroDivisionError")
    assert run.get("/assets/a.txt").status == 200
    assert run.get("/").status == 200  # The old code goes on.
    source.write_text((APP + SITE).replace("VERSION = 1", "VERSION = 2"))
    until(lambda: json.loads(run.get("/").body)["version"] == 2, "the corrected code serves")
    assert run.stop() == 0


def test_reload_under_load_loses_nothing(real: Any, tmp_path: Path) -> None:
    run = real(APP + SITE, "--reload", "--workers", "2").ready()
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(run.get("/slow?seconds=0.05").status)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in (2, 3):
        (tmp_path / "app_under_test.py").write_text((APP + SITE).replace("VERSION = 1", f"VERSION = {version}"))
        until(lambda: json.loads(run.get("/").body).get("version") == version, "the new code serves")  # noqa: B023
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert run.stop() == 0


def test_recycling_under_load_loses_nothing(real: Any) -> None:
    run = real(APP, "--max-requests", "50", "--max-requests-jitter", "20").ready()
    seen: set[int] = set()

    def served_by_three() -> bool:
        answer = run.get("/")
        assert answer.status == 200
        seen.add(json.loads(answer.body)["pid"])
        return len(seen) >= 3

    until(served_by_three, "three workers have served, one after the other")
    assert run.stop() == 0


def test_sigterm_finishes_what_runs_and_exits_in_order(real: Any) -> None:
    run = real(APP, "--workers", "2").ready()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run.get("/slow?seconds=1.5")))
    thread.start()
    run.said("slow begins")
    assert run.stop() == 0, run.text
    thread.join()
    assert answers[0].status == 200
    with pytest.raises(OSError):
        run.get("/")


def test_a_killed_sidecar_comes_back_with_the_same_workers(real: Any) -> None:
    run = real(APP, "--workers", "2").ready()
    before = until(lambda: len(found := pids(run)) == 2 and found, "two workers serve")
    [sidecar] = [pid for pid, command in run.children().items() if "catzilla-sidecar" in command]
    os.kill(sidecar, signal.SIGKILL)

    def back() -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return pids(run) == before
        return False

    until(back, "the same workers serve behind the new sidecar")
    assert run.stop() == 0


def test_a_taken_port_is_told_and_ends_the_command(launch: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = launch(APP, "--port", str(taken.getsockname()[1]), sidecar=real_sidecar())
        assert run.process.wait(30) != 0
    assert "the sidecar exited with" in run.text


def test_a_client_that_leaves_is_seen(real: Any) -> None:
    run = real().ready()
    for path in ("/wait", "/ticks"):
        with socket.create_connection(("127.0.0.1", run.port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if path == "/ticks":
                client.recv(1000)
            else:
                run.said("wait begins")
        until(lambda: path[1:] in json.loads(run.get("/left").body), f"{path} sees the disconnect")  # noqa: B023


def test_a_large_upload_keeps_the_worker_small(real: Any) -> None:
    run = real().ready()
    connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
    piece = b"x" * (1 << 20)
    connection.request("POST", "/swallow", body=(piece for _ in range(60)), headers={"Content-Length": str(60 << 20)})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["size"] == 60 << 20
    before = json.loads(run.get("/swallow", "POST", b"x").body)["rss"]
    assert answer["rss"] - before < 16 << 20


def test_a_slow_reader_holds_back_the_app(real: Any) -> None:
    run = real().ready()

    def rss() -> int:
        return sum(
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
            for pid in run.children()
            if Path(f"/proc/{pid}/statm").exists()
        )

    assert run.get("/").status == 200
    before = rss()
    with socket.create_connection(("127.0.0.1", run.port)) as client:
        client.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")  # 256 MiB, and nobody reads.
        pause(1.5)
        assert rss() - before < 32 << 20
        assert run.get("/").status == 200


def test_attached_apps_come_and_go_while_files_flow(launch: Any, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.txt").write_text("static")
    port, directory = free_port(), tmp_path / "run"
    directory.mkdir()
    sidecar = real_sidecar()
    assert sidecar is not None
    with open(tmp_path / "sidecar.txt", "w") as output:
        command = [sidecar, "--runtime-dir", str(directory), "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--ops-port", str(free_port())],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: (directory / "control.sock").exists(), "the sidecar is up")
        run = launch(APP + SITE, "--attach", "--runtime-dir", str(directory)).ready()
        assert fetch(port, "/").status == 200
        second = launch(APP + SITE, "--attach", "--runtime-dir", str(directory))
        second.said("ALREADY_EXISTS")
        assert "--takeover" in second.text
        second.stop()
        assert run.stop(signal.SIGINT) == 0
        assert fetch(port, "/").status == 503
        assert fetch(port, "/assets/a.txt").status == 200  # Orphaned, not gone.
        again = launch(APP + SITE, "--attach", "--runtime-dir", str(directory), "--takeover").ready()
        assert fetch(port, "/").status == 200
        assert again.stop() == 0
    finally:
        process.terminate()
        assert process.wait(30) == 0
