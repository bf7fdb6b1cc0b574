"""Packages of their own, and a Python 2.7: `./dev test websockets` installs the ones and looks for the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# Named: they must be there. Else they are used if they are.
NAMED = os.environ.get("CATZILLA_WEBSOCKET_PACKAGES")
PACKAGES = Path(NAMED or TOP / ".deps" / "websockets")
sys.path[:0] = [str(TOP / "tests" / "integration")]
sys.path.append(str(PACKAGES))


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the servers that tests start, too."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOP / "python_sdk/src"), str(PACKAGES)]))


@pytest.fixture(scope="session")
def installed() -> None:
    if (PACKAGES / "socketio").is_dir():
        return
    missing = (
        f"Socket.IO and Django Channels are not in {PACKAGES}: ./dev test websockets installs them"
    )
    if NAMED:
        pytest.fail(missing)
    pytest.skip(missing)
