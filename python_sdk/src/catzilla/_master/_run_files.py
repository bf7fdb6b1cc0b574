"""What a running master leaves in its runtime directory, for `catzilla deploy`: master-NAME.pid, and
master-NAME.json with how its generations fare.

Written by the master, whole each time; read by others, who trust neither a pid that is another process's by now nor a
file that is not the process's owner's.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

STARTING: Final = "starting"
SERVING: Final = "serving"
FAILED: Final = "failed"
REPLACED: Final = "replaced"  # By a newer one, before it served.
_KEPT: Final = 16
_PREFIX: Final = "catzilla-"
_FILE: Final = "master-"


@dataclass(slots=True)
class Fate:
    """Of one generation. `text` is for people, `details` a traceback."""

    state: str
    text: str = ""
    details: str = ""


@dataclass(slots=True)
class RunState:
    app: str
    pid: int
    born: int  # The process's start, in ticks of the kernel.
    generations: dict[int, Fate] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        return max(self.generations, default=0)


class RunFiles:
    """The master's side. A directory that cannot be written is replaced by a private one, which others look through."""

    def __init__(self, directory: str, app: str) -> None:
        self._state = RunState(app, os.getpid(), _born(os.getpid()))
        self._private = ""
        self._directory = directory
        try:
            self._write()
        except OSError:
            with contextlib.suppress(OSError):  # Nothing can be written anywhere: SIGUSR2 and the log remain.
                self._private = self._directory = tempfile.mkdtemp(prefix=_PREFIX)
                self._write()

    def tell(self, generation: int, state: str, text: str = "", details: str = "") -> None:
        fates = self._state.generations
        fates[generation] = Fate(state, text, details)
        while len(fates) > _KEPT:
            del fates[min(fates)]
        with contextlib.suppress(OSError):  # A full disk takes nothing from who is served.
            self._write()

    def fate(self, generation: int) -> str:
        return self._state.generations[generation].state if generation in self._state.generations else ""

    def remove(self) -> None:
        """But not those of a successor of the same name."""
        for path in self._paths:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(path.read_text()) in (self._state.pid, asdict_of(self._state)):
                    path.unlink()
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)

    @property
    def _paths(self) -> tuple[Path, Path]:
        base = os.path.join(self._directory, f"{_FILE}{self._state.app}")
        return Path(f"{base}.pid"), Path(f"{base}.json")

    def _write(self) -> None:
        pid, state = self._paths
        _replace(pid, f"{self._state.pid}\n")
        _replace(state, json.dumps(asdict_of(self._state)))


def asdict_of(state: RunState) -> dict[str, object]:
    """As JSON has it: with texts for keys."""
    whole = asdict(state)
    whole["generations"] = {str(number): fate for number, fate in whole["generations"].items()}
    return whole


def read_run(path: str) -> RunState | None:
    """None: there is no such master (any more)."""
    try:
        found = json.loads(Path(path).read_text())
        fates = {int(number): Fate(**fate) for number, fate in found.pop("generations").items()}
        state = RunState(**found, generations=fates)
        if _born(state.pid) != state.born or os.stat(f"/proc/{state.pid}").st_uid != os.stat(path).st_uid:
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return state


def find_runs(directory: str | None, fallback: str) -> dict[str, RunState]:
    """By path. Not told a directory: those of `fallback`, and of private ones that are our own user's."""
    folders = [directory] if directory else [fallback, *_private_directories()]
    paths = [path for folder in folders for path in sorted(glob.glob(f"{glob.escape(folder)}/{_FILE}*.json"))]
    return {path: state for path in paths if (state := read_run(path)) is not None}


def _private_directories() -> list[str]:
    found = []
    for folder in sorted(glob.glob(f"{glob.escape(tempfile.gettempdir())}/{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if os.lstat(folder).st_uid == os.geteuid() and not os.path.islink(folder):
                found.append(folder)
    return found


def _born(pid: int) -> int:
    """Raises OSError if there is no such process. One that has ended, but was not reaped, is none."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError
    return int(fields[19])


def _replace(path: Path, text: str) -> None:
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # For its owner only.
    with os.fdopen(fd, "w") as file:
        file.write(text)
    os.replace(name, path)
