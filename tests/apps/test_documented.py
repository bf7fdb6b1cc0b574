"""What docs/compatibility.md says was tried is what the locks pin, and each of it has a test."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def test_the_versions_of_the_table() -> None:
    page = (TOP / "docs/compatibility.md").read_text()
    table = page.partition("# Compatibility with other frameworks")[2]
    told = {
        name.lower(): version for name, version in re.findall(r"^\| (\S+) (\d\S*) \|", table, re.M)
    }
    locks = [(TOP / "dev.d" / f"{name}.lock").read_text() for name in ("apps", "requirements")]
    pinned = dict(re.findall(r"^(\S+)==(\S+)", "\n".join(locks), re.M))
    assert told == {name: pinned[name] for name in told}
    tests = {path.stem.removeprefix("test_") for path in TOP.glob("tests/apps/test_*.py")}
    assert {name.removeprefix("python-").replace("-", "_") for name in told} == tests - {
        "both",
        "documented",
    }
