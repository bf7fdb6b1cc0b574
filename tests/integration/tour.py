"""Reads the transcripts of a Markdown page and replays them in one shell.

A transcript is a ```console block: a line `$ command` (continued by lines that begin with `> `),
then what it prints. A line `...` stands for any number of lines, `...` inside a line for any text.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

END = "-- end of a command --"


@dataclasses.dataclass(frozen=True)
class Step:
    line: int
    command: str
    expected: list[str]


def read_steps(text: str) -> Iterator[Step]:
    inside = False
    line, command, expected = 0, "", list[str]()
    for number, content in enumerate([*text.splitlines(), "```"], start=1):
        if content.startswith("```"):
            if inside and command:
                yield Step(line, command, expected)
            inside, command, expected = content == "```console", "", []
        elif not inside:
            continue
        elif content.startswith("$ "):
            if command:
                yield Step(line, command, expected)
            line, command, expected = number, content[2:], []
        elif content.startswith("> ") and not expected:
            command += "\n" + content[2:]
        else:
            expected.append(content)


def matches(expected: list[str], actual: list[str]) -> bool:
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(matches(expected[1:], actual[skip:]) for skip in range(len(actual) + 1))
    if not actual:
        return False
    pattern = ".*".join(re.escape(part) for part in expected[0].split("..."))
    return re.fullmatch(pattern, actual[0]) is not None and matches(expected[1:], actual[1:])


class Shell:
    """One `sh` for all commands, so that what one sets the next can use."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["sh"], cwd=folder, env=dict(environment), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # The newline before the mark: not every answer ends with one.
        self._process.stdin.write(f"{command}\nprintf '\\n%s\\n' '{END}'\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line == f"{END}\n":
                break
            lines.append(line.removesuffix("\n").removesuffix("\r"))
        else:
            raise RuntimeError(f"the shell ended while running: {command}")
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
