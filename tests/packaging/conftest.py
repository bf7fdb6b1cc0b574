"""Fixtures of the packaging tests: pinned Go tools, and where the built programs are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from go_tools import ROOT, go_tool

sys.path.append(str(ROOT / "tests" / "integration"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: minutes on a cold cache; ./dev test runs it once")


@pytest.fixture(scope="session")
def helm() -> Path:
    return go_tool("helm")


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    return go_tool("kubeconform")


@pytest.fixture(scope="session")
def sidecar_program() -> Path:
    folder = Path(os.environ.get("CATZILLA_BIN_DIR", ROOT / "build" / "release" / "bin"))
    program = folder / "catzilla-sidecar"
    if not program.exists():
        pytest.fail(f"{program} is not built: run ./dev build, or set CATZILLA_BIN_DIR")
    return program
