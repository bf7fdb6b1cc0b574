"""Python environments of the app bench: one for the FastAPI servers, one for each other peer.

Made once from requirements/*.lock, each file checked against its hash, into .deps/bench/; a changed lock makes it anew.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCKS = pathlib.Path(__file__).resolve().parent / "requirements"
HOME = ROOT / ".deps" / "bench"
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


class NotInstalled(RuntimeError):
    """Why a peer cannot be had on this machine."""


def _version(python: str) -> str:
    told = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
    )
    return told.stdout.strip()


def version_of(python: str) -> tuple[int, int]:
    major, minor = _version(python).split(".")
    return int(major), int(minor)


def interpreter(asked: str) -> str:
    """The program of a version ("3.13") or of a path; a version manager's shim may stand for nothing."""
    if not re.fullmatch(r"\d\.\d+", asked):
        if not _version(asked):
            raise NotInstalled(f"{asked} is no Python")
        return asked
    if asked == OWN:
        return sys.executable
    versions = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    managed = [str(found) for found in versions.glob(f"{asked}*/bin/python{asked}")]
    for name in (shutil.which(f"python{asked}"), *managed):
        if name is not None and _version(name) == asked:
            return name
    raise NotInstalled(f"there is no python{asked} on this machine")


def _paths(lock: str, python: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The environment's Python, and the file beside that says what became of making it."""
    folder = HOME / f"{lock}-python{_version(python)}"
    return folder / "bin" / "python", folder.with_suffix(folder.suffix + ".made")


def _wanted(lock: str) -> str:
    return hashlib.sha256((LOCKS / f"{lock}.lock").read_bytes()).hexdigest()


def _install(lock: str, python: str, program: pathlib.Path) -> str:
    """Empty, or what went wrong."""
    steps = [
        [python, "-m", "venv", "--clear", str(program.parents[1])],
        [
            *(str(program), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"),
            *("--require-hashes", "-r", str(LOCKS / f"{lock}.lock")),
        ],
    ]
    for step in steps:
        told = subprocess.run(step, capture_output=True, text=True)
        if told.returncode != 0:
            said = (told.stdout + told.stderr).strip().splitlines()
            return "\n".join(said[-3:]) or f"{step[0]} ended with {told.returncode}"
    return ""


def prepare(lock: str, python: str) -> None:
    """Makes the environment, if it is not there as the lock wants it; needs the network that the bench leaves."""
    program, made = _paths(lock, python)
    if made.exists() and made.read_text() == _wanted(lock):
        return
    HOME.mkdir(parents=True, exist_ok=True)
    print(f"   {program.parents[1].name}: installing, once", file=sys.stderr, flush=True)
    made.write_text(_install(lock, python, program) or _wanted(lock))


def environment(lock: str, python: str) -> str:
    """The Python that has what a lock lists; raises NotInstalled with what pip said."""
    program, made = _paths(lock, python)
    said = made.read_text() if made.exists() else "not installed"
    if said != _wanted(lock):
        raise NotInstalled(said)
    return str(program)
