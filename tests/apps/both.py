"""The same app under uvicorn and under `catzilla run` with a real sidecar; one script asks both, and is compared."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from app_process import AppProcess
from raw_http import Answer
from sidecar_process import free_port
from visitor import Visitor
from waiting import eventually

Script = Callable[[Visitor], None]

# What a server says of itself, not the app. Everything else must be equal, with its order.
SERVERS_OWN = {
    "date": "the clock's",
    "server": "each names itself",
    "x-request-id": "the sidecar's, to find the request again in its log",
    "connection": "of one hop: an app's `keep-alive` ends at the sidecar",
}
FRAMING = ("content-length", "transfer-encoding")
# Statuses whose reasons are RFC 9110's with us; Python 3.11 still has those of before.
RENAMED = (413, 414, 416, 422)
# What differs from one run of the same server to the next: a group is what is left out of the comparison.
ANY_RUN = {
    "gzip": r"(?s)\A\x1f\x8b\x08.(.{4})",  # The time in its header.
    "expires": r"(?i)\bexpires=([^;]+ GMT)",  # A cookie's, by the clock.
}


@dataclasses.dataclass
class Both:
    ours: int  # Ports.
    theirs: int


@contextlib.contextmanager
def both(folder: Path, module: str, environment: dict[str, str], *arguments: str) -> Iterator[Both]:
    """Each in a folder of its own, which it works in: `module` has the app, and `prepare` may fill the folder."""
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
        prepare = f"import {module} as m; getattr(m, 'prepare', bool)()"
        subprocess.run(
            [sys.executable, "-c", prepare],
            cwd=folder / name,
            env={**os.environ, **environment},
            check=True,
            timeout=120,
        )
    with uvicorn(folder / "theirs", module, environment) as theirs:
        source = f"from {module} import app\n"
        with AppProcess(folder / "ours", source, *arguments, environment=environment) as app:
            yield Both(app.port, theirs)


@contextlib.contextmanager
def uvicorn(folder: Path, module: str, environment: dict[str, str]) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port)]
    log = folder / "uvicorn.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.HTTPError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
        return "Application startup complete" in log.read_text()

    try:
        eventually(answers, 60, log.read_text)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def assert_same(servers: Both, script: Script, differs: Mapping[str, str]) -> None:
    """`differs` has a pattern for each thing that differs from run to run."""
    ours, theirs = (_visit(port, script) for port in (servers.ours, servers.theirs))
    patterns = {**ANY_RUN, **differs}
    told: list[str] = []
    for mine, other in zip(ours.steps, theirs.steps, strict=True):
        assert mine.asked == other.asked
        told += differences(mine.asked, mine.answer, other.answer, patterns)
    assert not told, "\n".join(told)


def _visit(port: int, script: Script) -> Visitor:
    with Visitor(port) as visitor:
        script(visitor)
    return visitor


def differences(
    asked: str, ours: Answer, theirs: Answer, patterns: Mapping[str, str]
) -> Iterator[str]:
    for what in ("status", "reason", "informational"):
        if what == "reason" and theirs.status in RENAMED:
            continue
        if getattr(ours, what) != getattr(theirs, what):
            yield f"{asked}: {what}: {getattr(ours, what)}, uvicorn {getattr(theirs, what)}"
    left_out = {*SERVERS_OWN, *(FRAMING if _both_right(ours, theirs) else ())}
    mine, other = (_fields(answer, left_out, patterns) for answer in (ours, theirs))
    if mine != other:
        yield f"{asked}: fields: {[f for f in mine if f not in other]}, uvicorn {[f for f in other if f not in mine]}"
        yield f"  of {mine}\n  and {other}"
    bodies = [_blanked(answer.body.decode("latin-1"), patterns) for answer in (ours, theirs)]
    if bodies[0] != bodies[1]:
        at = next(
            (i for i, (a, b) in enumerate(zip(*bodies, strict=False)) if a != b), len(bodies[0])
        )
        shown = [body[max(0, at - 60) : at + 120] for body in bodies]
        yield f"{asked}: body at {at}: {shown[0]!r}, uvicorn {shown[1]!r}"


def _both_right(ours: Answer, theirs: Answer) -> bool:
    """Framing that differs, and is right on both sides.

    Ours has a length where uvicorn's is chunked: the app did not tell it, but the body was there as a whole. And two
    lengths may differ, as what is left out of the bodies does.
    """
    if all(ours.header(name) == theirs.header(name) for name in FRAMING):
        return False
    right, other = (one.header("content-length") == str(len(one.body)) for one in (ours, theirs))
    return right and (other or theirs.header("transfer-encoding") == "chunked")


def _fields(
    answer: Answer, left_out: set[str], patterns: Mapping[str, str]
) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in answer.headers if name not in left_out]
    # Frameworks make Allow from sets.
    kept = [(k, ", ".join(sorted(v.split(", "))) if k == "allow" else v) for k, v in kept]
    return [(name, _blanked(f"{name}={value}", patterns)) for name, value in kept]


def _blanked(text: str, patterns: Mapping[str, str]) -> str:
    for name, pattern in patterns.items():
        text = re.sub(pattern, functools.partial(_blank, name), text)
    return text


def _blank(name: str, match: re.Match[str]) -> str:
    """The match with its group's text left out."""
    begin, end = (place - match.start() for place in match.span(1))
    return f"{match.group()[:begin]}<{name}>{match.group()[end:]}"
