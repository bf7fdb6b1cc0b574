"""A scenario's page in bench/results/."""

from __future__ import annotations

import datetime
import pathlib
import subprocess

import machine
from measure import VERSIONS

WRK = subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"


HOW = """\
Server on one core, load (wrk) on the other; rounds interleaved; the ratio is taken round by
round. In each round every server kept its connections, gave each request the answer that was asked
for, stayed on its core, and wrote no log that the others did not; else there would be no table."""


def page(title: str, command: str, sections: list[tuple[str, str]], how: str = HOW) -> str:
    day = datetime.date.today().isoformat()
    lines = [f"# {title}", "", f"{day}, {machine.description()}.", ""]
    contenders = sorted(set(VERSIONS.values()))
    if how == HOW:
        contenders.append(WRK.split(" Copyright")[0])
    lines += [
        "Measured: " + "; ".join(contenders) + ".",
        "",
        f"Command: `{command}`",
        "",
        how,
        "",
    ]
    for heading, text in sections:
        lines += [f"## {heading}", "", text, ""]
    VERSIONS.clear()
    return "\n".join(lines)


def save(scenario: str, text: str) -> pathlib.Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.date.today().isoformat()}-{scenario}.md"
    path.write_text(text)
    return path


def write(scenario: str, title: str, command: str, sections: list[tuple[str, str]]) -> None:
    text = page(title, command, sections)
    save(scenario, text)
    print(text)
