"""The tools are packages of their own: `./dev test compat` installs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
# Named: they must be there. Else they are used if they are.
NAMED = os.environ.get("CATZILLA_APM_PACKAGES")
PACKAGES = Path(NAMED or TOP / ".deps" / "apm")
sys.path[:0] = [str(TOP / "python_sdk" / "tests")]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of a process that has the tools."""
    if not (PACKAGES / "sentry_sdk").is_dir():
        missing = f"the APM tools are not installed in {PACKAGES}: ./dev test compat does it"
        if NAMED:
            pytest.fail(missing)
        pytest.skip(missing)
    folders = ("python_sdk/src", "python_sdk/tests", "tests/apm")
    path = os.pathsep.join([*(str(TOP / folder) for folder in folders), str(PACKAGES)])
    clean = {name: value for name, value in os.environ.items() if not _is_of_a_tool(name)}
    return {**clean, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _is_of_a_tool(name: str) -> bool:
    return name.startswith(("OTEL_", "LOGFIRE_", "SENTRY_", "PROMETHEUS_", "FASTAPI_OTEL_"))
