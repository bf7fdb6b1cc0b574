"""From a request's path to what the mount has there. Blocks: for a thread.

Links are walked by hand, as the sidecar's resolver walks them: "inside" follows a link as long as no step leaves the
root; an absolute link does, even one that points back in.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

from catzilla._static._listing import ENTRIES_MAX, NAMES_READ_MAX, ListedFile, Listing
from catzilla._static._options import StaticOptions
from catzilla._static._rules import Rules

_LINKS_MAX: Final = 40
_NAME_BYTES_MAX: Final = 255
_PATH_BYTES_MAX: Final = 4095
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY  # A FIFO must not hold the thread.
_STATUS: Final = {
    errno.EACCES: 403, errno.EPERM: 403,
    errno.EMFILE: 503, errno.ENFILE: 503, errno.ENOMEM: 503, errno.EAGAIN: 503,
} | dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.ENXIO,
                   errno.ENODEV, errno.EISDIR), 404)  # fmt: skip


@dataclass(frozen=True, slots=True)
class File:
    name: str  # Below the root.
    path: str
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class Directory:
    """Asked for without its slash."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    is_missing: bool = False  # What a one-page app's own path looks like; a refused name does not.


Found = File | Directory | Listing | Refusal


class Files:
    """One mount's tree. Threads: any. Owns nothing open."""

    def __init__(self, root: str, options: StaticOptions, rules: Rules) -> None:
        self._root = root
        self._options = options
        self._rules = rules

    def find(self, path: str, *, as_directory: bool = False) -> Found:
        """`path` is relative, without empty and dot segments; `as_directory`: it was asked for with a slash."""
        try:
            refused = self._judge(path)
            if refused:
                return Refusal(refused)
            return self._look(path, as_directory)
        except OSError as error:
            status = _STATUS.get(error.errno or 0, 500)
            return Refusal(status, is_missing=status == 404)
        except ValueError:  # No name of this system's: lone surrogates.
            return Refusal(404)

    def _judge(self, path: str) -> int:
        if any(c < " " or c in "\x7f\\" for c in path):
            return 400
        names = path.split("/")
        too_long = len(os.fsencode(path)) > _PATH_BYTES_MAX or any(len(os.fsencode(n)) > _NAME_BYTES_MAX for n in names)
        return 404 if too_long or any(map(self._is_hidden, names)) else 0

    def _is_hidden(self, name: str) -> bool:
        return name.startswith(".") and not self._options.hidden_files and name != ".well-known"

    def _look(self, path: str, as_directory: bool) -> Found:
        if not self._rules.allows_path(path):
            raise _missing(path)
        if as_directory:
            return self._index(path)
        target, status = self._open(path)
        if stat.S_ISDIR(status.st_mode):
            return Directory()
        if not self._rules.allows_file(path, status.st_size):
            raise _missing(path)
        return File(path, target, status)

    def _index(self, path: str) -> Found:
        wrong: OSError = _missing(path)
        for index in self._options.indexes:
            name = f"{path}/{index}" if path else index
            try:
                target, status = self._open(name)
            except OSError as error:
                wrong = error
                if _STATUS.get(error.errno or 0) != 404:
                    raise
                continue
            if stat.S_ISREG(status.st_mode) and self._rules.allows_file(name, status.st_size):
                return File(name, target, status)
        if self._options.directory_listing == "off":
            raise wrong
        return self._list(path)

    def _open(self, path: str) -> tuple[str, os.stat_result]:
        target = self._locate(path)
        descriptor = os.open(target, _READ)  # Not only stat: it may be there and not be ours to read.
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise _missing(path)
        return target, status

    def _locate(self, path: str) -> str:
        if self._options.symlinks == "anywhere":
            return os.path.join(self._root, path)
        links = 0
        reached: list[str] = []
        pending = path.split("/")[::-1]
        while pending:
            name = pending.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not reached:
                    raise OSError(errno.EXDEV, "leads out of the root", path)
                reached.pop()
                continue
            here = os.path.join(self._root, *reached, name)
            if not stat.S_ISLNK(os.lstat(here).st_mode):
                reached.append(name)
                continue
            links += 1
            if self._options.symlinks == "never" or links > _LINKS_MAX:
                raise OSError(errno.ELOOP, "is a link, or too many of them", path)
            target = os.readlink(here)
            if target.startswith("/"):
                raise OSError(errno.EXDEV, "leads out of the root", path)
            pending += target.split("/")[::-1]
        return os.path.join(self._root, *reached)

    # What a directory shows is what would be served...

    def _list(self, path: str) -> Listing:
        target, status = self._open(path)
        if not stat.S_ISDIR(status.st_mode):
            raise _missing(path)
        names: list[str] = []
        with os.scandir(target) as entries:
            for entry in entries:
                if len(names) == NAMES_READ_MAX:
                    break
                names.append(entry.name)
        cut = len(names) == NAMES_READ_MAX
        files: list[ListedFile] = []
        for name in sorted(names, key=os.fsencode):
            file = self._listed(f"{path}/{name}" if path else name, name)
            if file is None:
                continue
            if len(files) == ENTRIES_MAX:
                cut = True
                break
            files.append(file)
        files.sort(key=lambda file: (not file.is_directory, os.fsencode(file.name)))
        return Listing(path, files, cut)

    def _listed(self, path: str, name: str) -> ListedFile | None:
        if self._judge(name) or not self._rules.allows_path(path):
            return None
        try:
            _, status = self._open(path)
        except OSError:
            return None
        is_directory = stat.S_ISDIR(status.st_mode)
        if not is_directory and not self._rules.allows_file(path, status.st_size):
            return None
        return ListedFile(name, is_directory, 0 if is_directory else status.st_size, int(status.st_mtime))


def _missing(path: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, "is not served", path)
