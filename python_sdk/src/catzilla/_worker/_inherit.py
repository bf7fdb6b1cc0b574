"""Descriptors of ours do not live on in processes that the app forks.

A ProcessPoolExecutor or multiprocessing forks without exec: its children would hold the ends of our sockets, and
nobody could see any more that this process has died. In such a child each of them becomes /dev/null; its number stays
taken, so that Python objects that still name it close nothing of the child's own.
"""

from __future__ import annotations

import os

_ours: set[int] = set()


def keep_from_children(fd: int) -> None:
    _ours.add(fd)


def forget(fd: int) -> None:
    """REQUIRES: called before the descriptor is closed, or its number may be somebody else's."""
    _ours.discard(fd)


def _after_fork() -> None:
    if not _ours:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in _ours:
        os.dup2(null, fd, inheritable=False)
    os.close(null)
    _ours.clear()


os.register_at_fork(after_in_child=_after_fork)
