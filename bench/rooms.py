"""The rooms' own benchmarks (Google Benchmark), as one table in bench/results/.

Usage: python bench/rooms.py [--repetitions N] [ROOM...]
Needs a release build (`./dev build`). Repetitions are interleaved at random by the library; what
counts is CPU time, its median and its spread.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROOMS = ("route", "http", "files", "cache", "base", "worker")


def run(room: str, repetitions: int) -> list[dict[str, float | str]]:
    program = ROOT / "build" / "release" / "bin" / f"catzilla_{room}_bench"
    if not program.exists():
        sys.exit(f"{program} is not built: run ./dev build")
    made = subprocess.run(
        [
            str(program),
            "--benchmark_format=json",
            f"--benchmark_repetitions={repetitions}",
            "--benchmark_enable_random_interleaving=true",
            "--benchmark_report_aggregates_only=true",
            "--benchmark_min_time=0.2",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    found: list[dict[str, float | str]] = json.loads(made.stdout)["benchmarks"]
    return found


def table(rows: list[dict[str, float | str]]) -> list[str]:
    by_name: dict[str, dict[str, float]] = {}
    order = ("family_index", "per_family_instance_index")
    for row in sorted(rows, key=lambda row: [float(row[index]) for index in order]):
        name = str(row["run_name"])
        by_name.setdefault(name, {})[str(row["aggregate_name"])] = float(row["cpu_time"])
    lines = ["| benchmark | CPU ns (median) | coefficient of variation |", "| --- | ---: | ---: |"]
    for name, figures in by_name.items():
        spread = 100 * figures["cv"] if "cv" in figures else 0.0
        lines.append(f"| {name} | {figures['median']:,.1f} | {spread:.1f} % |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", choices=[[], *ROOMS])
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    day = datetime.date.today().isoformat()
    command = " ".join(["python", "bench/rooms.py", *sys.argv[1:]])
    lines = ["# What the rooms cost on their own", ""]
    lines += [f"{day}, {platform.machine()}, Linux {platform.release()}.", ""]
    lines += [f"Command: `{command}`", ""]
    for room in options.rooms or ROOMS:
        lines += [f"## {room}", "", *table(run(room, options.repetitions)), ""]
    path = ROOT / "bench" / "results" / f"{day}-rooms.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))
    print(path.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
