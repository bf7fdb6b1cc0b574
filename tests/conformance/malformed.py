"""Reads malformed.txt: requests with the one answer each gets. Its first lines say how it is written."""

from __future__ import annotations

import dataclasses
import pathlib
import re

TABLE = pathlib.Path(__file__).with_name("malformed.txt")

_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "s": " ", "0": "\0", "\\": "\\"}
_PIECE = re.compile(r"\{(\d+)\*(.*?)\}|\\x([0-9a-f]{2})|\\(.)")


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    status: int | None  # None: accepted...
    requests: int  # ...as so many.
    data: bytes


def unescape(text: str) -> str:
    def piece(found: re.Match[str]) -> str:
        count, repeated, hexadecimal, letter = found.groups()
        if count is not None:
            return unescape(repeated) * int(count)
        return chr(int(hexadecimal, 16)) if hexadecimal is not None else _ESCAPES[letter]

    return _PIECE.sub(piece, text)


def read_cases() -> list[Case]:
    cases = []
    for line in TABLE.read_text(encoding="ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        answer, name, text = line.split(maxsplit=2)
        data = unescape(text).encode("latin-1")
        if answer.startswith("ok"):
            cases.append(Case(name, None, int(answer[2:] or 1), data))
        else:
            cases.append(Case(name, int(answer), 0, data))
    return cases
