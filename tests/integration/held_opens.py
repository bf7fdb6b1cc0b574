"""Opens that the kernel holds until a test lets them go: what a network file system that hangs looks like.

Made of fanotify's permission events (fanotify(7)), which need root. A process that dies lets go of all.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import select
import struct
import threading
from types import TracebackType

_LIBC = ctypes.CDLL(None, use_errno=True)
_FAN_CLOEXEC, _FAN_NONBLOCK, _FAN_CLASS_CONTENT = 0x1, 0x2, 0x4
_FAN_MARK_ADD, _FAN_OPEN_PERM, _FAN_ALLOW = 0x1, 0x10000, 0x1
_AT_FDCWD = -100
_EVENT = struct.Struct("IBBHQii")


class HeldOpens:
    """Holds every open of the files that it is given."""

    def __init__(self) -> None:
        flags = _FAN_CLASS_CONTENT | _FAN_CLOEXEC | _FAN_NONBLOCK
        self._fd: int = _LIBC.fanotify_init(flags, os.O_RDONLY)
        if self._fd < 0:
            raise PermissionError(ctypes.get_errno(), "fanotify's permission events need root")
        self._lock = threading.Lock()
        self._events: list[int] = []
        self._released = False
        self._ending = False
        self.held = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def hold(self, path: pathlib.Path) -> None:
        mask = ctypes.c_uint64(_FAN_OPEN_PERM)
        if _LIBC.fanotify_mark(self._fd, _FAN_MARK_ADD, mask, _AT_FDCWD, bytes(path)) != 0:
            raise OSError(ctypes.get_errno(), f"{path} cannot be marked")

    def release(self) -> None:
        """Lets those go that are held, and all that come."""
        with self._lock:
            self._released = True
            for event in self._events:
                self._allow(event)
            self._events.clear()

    def _allow(self, event: int) -> None:
        os.write(self._fd, struct.pack("iI", event, _FAN_ALLOW))
        os.close(event)

    def _run(self) -> None:
        while not self._ending:
            if not select.select([self._fd], [], [], 0.05)[0]:
                continue
            data = os.read(self._fd, 8192)
            with self._lock:
                for at in range(0, len(data), _EVENT.size):
                    event: int = _EVENT.unpack_from(data, at)[5]
                    self.held += 1
                    if self._released:
                        self._allow(event)
                    else:
                        self._events.append(event)

    def __enter__(self) -> HeldOpens:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        self._ending = True
        self._thread.join()
        os.close(self._fd)
