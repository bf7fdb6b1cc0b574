"""Fixtures; the rest of what tests share is in sdk_harness.py."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, SITE, Run, real_sidecar

# Files that say nothing without the real thing.
_REAL = [
    "test_real_sidecar.py",
    "test_real_deploys.py",
    "test_real_faults.py",
    "test_real_leaving.py",
    "test_real_static.py",
]
collect_ignore = [] if real_sidecar() else _REAL


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Any]:
    """launch(source or target, *arguments) -> Run. Whatever still runs at the end is killed."""
    runs: list[Run] = []

    def start(source: str, *arguments: str, **options: Any) -> Run:
        if "\n" in source:
            (tmp_path / "app_under_test.py").write_text(source)
            source = "app_under_test:app"
        run = Run(tmp_path, source, *arguments, **options)
        runs.append(run)
        return run

    yield start
    for run in runs:
        children = run.children()
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def real(launch: Any, tmp_path: Path) -> Any:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.txt").write_text("static")

    def start(source: str = APP + SITE, *arguments: str, **options: Any) -> Run:
        run: Run = launch(source, *arguments, sidecar=real_sidecar(), **options)
        return run

    return start
