"""pytest's plugin under which FastAPI's tests run: `fastapi.FastAPI` is `catzilla.Catzilla`, and COMPAT_MODE says
through what requests go: "genuine" (Starlette's own transport), "frames" (the SDK's lane) or "live" (a sidecar).

COMPAT_OUT is the folder for what was seen.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE),
    str(HERE.parents[1] / "python_sdk" / "tests"),
    str(HERE.parent / "integration"),
]

import pytest

MODE = os.environ.get("COMPAT_MODE", "genuine")
LANES = os.environ.get("CATZILLA_LANES", "on")
OUT = Path(os.environ.get("COMPAT_OUT", "/tmp/compat"))


def alias_fastapi() -> None:
    import catzilla
    import fastapi.applications
    from catzilla import _routing  # Before: it goes by FastAPI's own.

    # A table is told when the app starts, not while a test has put something in the place of json.dumps().
    vars(_routing)["json"] = SimpleNamespace(dumps=json.dumps)
    fastapi.FastAPI = fastapi.applications.FastAPI = catzilla.FastAPI  # type: ignore[misc]


def folder_of_its_own(worker: str) -> None:
    """Tests make and remove files where they stand; FastAPI's do it under one another's feet."""
    here, folder = Path.cwd(), OUT / f"work-{worker}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("docs", "docs_src", "scripts", "tests", "pyproject.toml"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(here / name)
    os.chdir(folder)


class Plugin:
    def __init__(self, worker: str) -> None:
        import transport
        from recording import Recording
        from starlette import testclient

        self._worker = worker
        folder_of_its_own(worker)
        self._recording = Recording(OUT, worker)
        kind: Any = transport.RecordingTransport if MODE == "genuine" else transport.Transport
        kind.recording = self._recording
        if MODE != "genuine":
            from modes import make_mode
            from watched import tap_lanes

            tap_lanes()
            transport.count_async_clients()
            kind.mode = make_mode(MODE, LANES)
        testclient._TestClientTransport = kind  # type: ignore[misc]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._recording.close()
        if MODE == "genuine":
            return
        import transport
        import watched

        transport.Transport.mode.close()
        transport.common.close()
        counts = {
            "answers": [[*key, count] for key, count in sorted(watched.answers.items())],
            "reasons": dict(watched.reasons),
            "left": dict(watched.left),
            "kept": dict(transport.Transport.kept),
        }
        (OUT / f"counts-{self._worker}.json").write_text(json.dumps(counts))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        random.seed(item.nodeid)  # What is drawn is drawn in every mode.


class Outcomes:
    """Where the tests run, or in the process that hands them out."""

    def __init__(self) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = report.nodeid.partition("@workdir_lock")[0]
        before = self._seen.get(test, "")
        if report.failed:
            self._seen[test] = "failed"
        elif report.when == "call" and before != "failed":
            expected = "xpassed" if report.passed else "xfailed"
            self._seen[test] = expected if hasattr(report, "wasxfail") else report.outcome
        elif report.skipped and not before:
            self._seen[test] = "xfailed" if hasattr(report, "wasxfail") else "skipped"

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._seen[report.nodeid] = "failed"

    def pytest_unconfigure(self) -> None:
        (OUT / "outcomes.json").write_text(json.dumps(self._seen, indent=0, sort_keys=True))


def pytest_configure(config: pytest.Config) -> None:
    alias_fastapi()
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    if worker or not config.getoption("numprocesses", None):
        config.pluginmanager.register(Plugin(worker or "only"))
    if not worker:
        config.pluginmanager.register(Outcomes())
