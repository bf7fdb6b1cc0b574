"""The frameworks are packages of their own: `./dev test compat` installs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# Named: they must be there. Else they are used if they are.
NAMED = os.environ.get("CATZILLA_APPS_PACKAGES")
PACKAGES = Path(NAMED or TOP / ".deps" / "apps")
sys.path[:0] = [str(TOP / "tests" / "integration")]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of a process that serves one of the apps."""
    if not (PACKAGES / "django").is_dir():
        missing = f"the frameworks are not installed in {PACKAGES}: ./dev test compat does it"
        if NAMED:
            pytest.fail(missing)
        pytest.skip(missing)
    path = os.pathsep.join([str(TOP / "python_sdk/src"), str(TOP / "tests/apps"), str(PACKAGES)])
    # Allow and the like are made from sets.
    return {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC"}
