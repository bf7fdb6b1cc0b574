#!/usr/bin/env python3
"""Runs FastAPI's tests under each setting, compares, reports. `./dev test compat` calls it.

The first run is FastAPI under its own transport, whose answers the others are held against.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from report import report
from verdict import Listed, Run, judge, read_list

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
TUTORIAL = "tests/test_tutorial"
# Fewer would mean that tests are lost on the way: a package that they ask for and do without.
TUTORIAL_PASSES = 1398
# Not about serving: translations and releases of FastAPI's own documents, its command, measurements.
NOT_OURS = (
    "tests/benchmarks",
    "tests/memory_benchmarks",
    "tests/test_fastapi_cli.py",
    "tests/test_prepare_release.py",
    "tests/test_translate.py",
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fastapi", type=Path, default=TOP / ".deps" / "compat" / "fastapi")
    parser.add_argument("--packages", type=Path, default=TOP / ".deps" / "compat" / "packages")
    parser.add_argument("--out", type=Path, default=TOP / "build" / "compat")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--all", action="store_true", help="also without lanes, and all of the suite"
    )
    parser.add_argument("tests", nargs="*", help="instead of the tutorial's")
    options = parser.parse_args()
    for name in ("fastapi", "packages", "out"):
        setattr(options, name, getattr(options, name).resolve())
    return options


def run_tests(run: Run, options: argparse.Namespace, tests: list[str]) -> None:
    folder = options.out / f"{run.mode}-{run.lanes}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [TOP / "python_sdk" / "src", HERE, options.packages]
    environment = {
        **os.environ,
        "COMPAT_MODE": run.mode,
        "COMPAT_OUT": str(folder),
        "CATZILLA_LANES": run.lanes,
        "PYTHONHASHSEED": "0",  # Sets are told in one order.
        "PYDANTIC_DISABLE_PLUGINS": "__all__",  # That of a package would keep every route from being compiled.
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
    }
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "compat_plugin", "-p", "no:cacheprovider"),
        *("-n", str(options.jobs), "--dist", "loadgroup", "--timeout", "120"),
        *(f"--ignore={options.fastapi / path}" for path in NOT_OURS),
        *tests,
    ]
    began = time.monotonic()
    with (folder / "pytest.log").open("wb") as log:
        subprocess.run(
            command, cwd=options.fastapi, env=environment, stdout=log, stderr=log, check=False
        )
    run.seconds = time.monotonic() - began
    if not (folder / "outcomes.json").exists():
        raise SystemExit(
            f"{run.name}: pytest did not run:\n{(folder / 'pytest.log').read_text()[-4000:]}"
        )
    run.read(folder)
    print(f"   {run.name:<20} {run.count('passed')} passed, {run.seconds:.0f} s", flush=True)


def main() -> int:
    options = arguments()
    runs = [Run("genuine", "on"), Run("frames", "on"), Run("live", "on")]
    tests = options.tests or [TUTORIAL]
    if options.all:
        runs += [Run("frames", "off"), Run("live", "off")]
        tests = options.tests or ["tests"]
    for run in runs:
        run_tests(run, options, tests)
    listed: list[Listed] = read_list((HERE / "expected.txt").read_text())
    genuine = runs[0]
    if not options.all:
        parts = tests if options.tests else [TUTORIAL]
        listed = [entry for entry in listed if entry.test.startswith(tuple(parts))]
    wrong = [
        f"FastAPI itself: {test} {outcome}"
        for test, outcome in genuine.outcomes.items()
        if outcome not in ("passed", "xfailed", "skipped")
    ]
    passed = sum(
        1
        for test, outcome in genuine.outcomes.items()
        if outcome == "passed" and test.startswith(TUTORIAL)
    )
    if not options.tests and passed != TUTORIAL_PASSES:
        wrong.append(f"FastAPI itself: {passed} tests of the tutorial pass, not {TUTORIAL_PASSES}")
    for run in runs[1:]:
        wrong += judge(genuine, run, listed)
    what = f"{len(genuine.outcomes)} tests below {', '.join(tests)}."
    text = report(runs, listed, wrong, what)
    (options.out / "report.md").write_text(text)
    print(f"\n{text}\nlogs: {options.out}/*/pytest.log")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
