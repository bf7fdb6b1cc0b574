"""--reload: looks at the sources' times, by polling, which works on every file system."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final

_POLL_SECONDS: Final = 0.4
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv", ".mypy_cache", ".pytest_cache"})
_SUFFIXES: Final = (".py", ".pyi", ".toml", ".yaml", ".yml", ".json", ".env", ".html", ".jinja", ".j2")
_FILES_MAX: Final = 20_000


async def watch(directories: list[str], files: list[str], on_change: Callable[[str], None]) -> None:
    """For ever. `on_change` gets a sentence."""
    watcher = Watcher(directories, files)
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        path = await asyncio.get_running_loop().run_in_executor(None, watcher.changed)
        if path is not None:
            on_change(f"{path} has changed")


class Watcher:
    """changed() says which file is new, gone or newer since the last call. At most _FILES_MAX are watched."""

    def __init__(self, directories: list[str], files: list[str]) -> None:
        self._files = files
        self._directories = [os.path.abspath(directory) for directory in directories]
        self._seen = dict(self._scan())

    def changed(self) -> str | None:
        now = dict(self._scan())
        before, self._seen = self._seen, now
        if now == before:
            return None
        for path in sorted(now.keys() | before.keys()):
            if now.get(path) != before.get(path):
                return os.path.relpath(path)
        return None

    def _scan(self) -> Iterator[tuple[str, int]]:
        for path in self._files:
            with contextlib.suppress(OSError):
                yield path, os.stat(path).st_mtime_ns
        count = 0
        for directory in self._directories:
            for root, folders, files in os.walk(directory):
                folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
                for name in files:
                    if name.endswith(_SUFFIXES):
                        path = os.path.join(root, name)
                        try:
                            yield path, os.stat(path).st_mtime_ns
                        except FileNotFoundError:
                            continue
                        count += 1
                        if count >= _FILES_MAX:
                            return
