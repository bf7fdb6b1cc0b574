"""Autobahn|Testsuite's fuzzing client, which only a Python 2.7 runs: where it is, and one run of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
PACKAGES = Path(os.environ.get("CATZILLA_AUTOBAHN_PACKAGES", TOP / ".deps" / "autobahn"))
# As an installed wstest does, but for packages in a folder: addsitedir() knows namespace packages.
_START = (
    "import site, sys; site.addsitedir(sys.argv.pop(1)); "
    "from autobahntestsuite.wstest import run; run()"
)


@dataclass(frozen=True)
class Verdict:
    """Of one case: how the frames were, and how the connection was closed."""

    case: str
    behavior: str
    closing: str


def find_python2() -> str | None:
    """The first that runs and can install: what CATZILLA_PYTHON2 names, else the one in PATH, or pyenv's."""
    if named := os.environ.get("CATZILLA_PYTHON2"):
        return named
    in_path = shutil.which("python2.7")  # pyenv's shim of that name runs only where it is chosen.
    candidates = [Path(in_path)] if in_path else []
    candidates += sorted(Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7"))
    return next((str(path) for path in candidates if _runs(path)), None)


def _runs(python: Path) -> bool:
    return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0


def run_cases(python2: str, url: str, cases: list[str], folder: Path) -> list[Verdict]:
    """Runs those cases against `url`; the client's pages on each of them are left in `folder`."""
    spec = {
        "outdir": str(folder / "reports"),
        "servers": [{"agent": "catzilla", "url": url}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [python2, "-c", _START, str(PACKAGES), "-m", "fuzzingclient", "-s", "spec.json"]
    with (folder / "wstest.log").open("wb") as log:
        subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True, timeout=3600)
    index: dict[str, Any] = json.loads((folder / "reports" / "index.json").read_text())
    return [
        Verdict(case, told["behavior"], told["behaviorClose"])
        for case, told in index["catzilla"].items()
    ]


if __name__ == "__main__":
    python2 = find_python2()
    print(python2 or "")
    raise SystemExit(0 if python2 else 1)
