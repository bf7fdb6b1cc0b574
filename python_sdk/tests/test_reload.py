"""--reload keeps the port and holds requests while new code is loaded; in development broken code shows why."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, Run, fetch, real_sidecar, until
from worker_harness import hello, run, serving, wait_for

from catzilla._worker._error_page import ErrorPage

BROKEN = "def broken():\n    raise RuntimeError('no <database>')\nbroken()\n"


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "app_under_test.py").write_text(text)


def page(answer: Any) -> str:
    headers = dict(answer.headers)
    assert (answer.status, headers["cache-control"]) == (500, "no-store")
    return str(answer.body.decode())


def test_in_development_broken_code_shows_its_traceback_until_it_is_mended(launch: Any, tmp_path: Path) -> None:
    app: Run = launch(APP, verb="dev").ready()
    assert app.get("/").status == 200
    write(tmp_path, BROKEN)
    until(lambda: app.get("/").status == 500, "the page is served")
    text = page(app.get("/any/path", "POST", b"x"))
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'app_under_test.py", line 2, in broken' in text
    assert text.endswith("\nimporting 'app_under_test' failed: RuntimeError: no <database>\n")
    shown = page(app.get("/", headers=[("accept", "text/html,*/*")]))
    assert "<h1>importing &#x27;app_under_test&#x27; failed: RuntimeError: no &lt;database&gt;</h1>" in shown
    write(tmp_path, "1/0\n")  # Another mistake, another page.
    until(lambda: "ZeroDivisionError" in page(app.get("/")), "the newer page is served")
    write(tmp_path, APP.replace("VERSION = 1", "VERSION = 3"))
    until(lambda: app.get("/").status == 200, "the mended code serves")
    assert json.loads(app.get("/").body)["version"] == 3
    until(lambda: len(app.children()) == 2, "a sidecar and a worker are left")
    assert app.stop() == 0, app.text


def test_code_that_is_broken_from_the_beginning_shows_it(launch: Any, tmp_path: Path) -> None:
    app: Run = launch(BROKEN, verb="dev").ready()
    assert "app_under_test:app on the sidecar with the error of its code, which does not start" in app.text
    assert "no <database>" in page(app.get("/"))
    write(tmp_path, APP)
    until(lambda: app.get("/").status == 200, "the mended code serves")
    assert app.stop() == 0, app.text


def test_code_that_ends_its_process_shows_that(launch: Any, tmp_path: Path) -> None:
    app: Run = launch(APP, verb="dev").ready()
    write(tmp_path, "import os\nos._exit(7)\n")
    until(lambda: app.get("/").status == 500, "the page is served")
    assert page(app.get("/")) == "worker 0 exited with 7\n"
    assert app.stop() == 0, app.text


def test_outside_of_development_the_old_code_serves_on(launch: Any, tmp_path: Path) -> None:
    app: Run = launch(APP, "--reload").ready()
    write(tmp_path, BROKEN)
    app.said("no <database>")
    assert json.loads(app.get("/").body)["version"] == 1
    assert app.stop() == 0, app.text


def test_a_page_is_text_for_programs_and_nothing_for_head() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> None: ...

    async def ask(kind: str, method: str = "GET") -> list[Any]:
        sent.clear()
        scope = {"type": kind, "method": method, "headers": [(b"accept", b"application/json")]}
        await ErrorPage("why", "")(scope, receive, send)
        return list(sent)

    async def script() -> None:
        start, body = await ask("http")
        assert body["body"] == b"why\n"
        head, nothing = await ask("http", "HEAD")
        assert head == start
        assert nothing["body"] == b""
        assert await ask("websocket") == [{"type": "websocket.close", "code": 1011}]

    run(script())


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_that_holds_takes_nothing_until_it_is_told_or_time_is_up(tmp_path: Path, told: bool) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            [lane] = pair.link.lanes
            pair.worker.hold(0.2 if not told else 60)
            await wait_for(lambda: lane.ceilings == [0])
            pair.worker.hold(0.2 if not told else 60)  # The next change comes in the meantime.
            if told:
                pair.worker.release()
                pair.worker.release()
            await wait_for(lambda: len(lane.ceilings) == 3)
            assert lane.ceilings[:2] == [0, 0]
            assert lane.ceilings[2] > 1000
            assert (await pair.link.request()).status == 200

    run(script())


WAITS_FOR_A_FILE = """
import os, time
while not os.path.exists("go"):
    time.sleep(0.05)
"""


@pytest.mark.skipif(real_sidecar() is None, reason="the fake one holds nothing")
@pytest.mark.parametrize("hold", ["60s", "0s"])
def test_requests_wait_for_the_new_code(real: Any, tmp_path: Path, hold: str) -> None:
    config = tmp_path / "patient.yaml"
    config.write_text("pools: [{name: app, queue_timeout: 60s}]\n")
    app: Run = real(APP, "--reload-hold", hold, "--config", str(config), "--host", "127.0.0.1", verb="dev").ready()
    versions: list[int] = []

    def ask() -> None:
        answer = app.get("/")
        versions.append(json.loads(answer.body)["version"] if answer.status == 200 else answer.status)

    write(tmp_path, WAITS_FOR_A_FILE + APP.replace("VERSION = 1", "VERSION = 2"))
    app.said("app_under_test.py has changed: a new generation")
    threads = [threading.Thread(target=ask) for _ in range(5)]
    if hold == "0s":
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert versions == [1] * 5
    else:
        # The worker is told a moment after the log: until then some are answered by it.
        while waiting(app) < 1:
            ask_one = threading.Thread(target=ask)
            ask_one.start()
            ask_one.join(0.2)
        versions.clear()
        for thread in threads:
            thread.start()
        until(lambda: waiting(app) >= 6, "they wait")
    (tmp_path / "go").touch()
    until(lambda: json.loads(app.get("/").body)["version"] == 2, "the new code serves")
    until(lambda: hold == "0s" or len(versions) == 6, "all have been answered")
    assert hold == "0s" or versions == [2] * 6
    assert app.stop() == 0, app.text


def waiting(app: Run) -> int:
    text = fetch(app.ops_port, "/metrics").body.decode()
    [line] = [line for line in text.splitlines() if line.startswith('catzilla_pool_queue_depth{pool="app"}')]
    return int(float(line.rpartition(" ")[2]))
