"""Files as answers: what `http.response.pathsend` names is opened here, and sent by the sidecar.

The descriptor goes along with its SENDFILE frame (SCM_RIGHTS), so that the sidecar needs no path, no right to it and
no share of the app's file system.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable
from io import FileIO
from typing import Final, TypeAlias

from catzilla._worker._inherit import forget, keep_from_children

PIECE_BYTES: Final = 64 * 1024
_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY  # A FIFO must not hold the thread.
# The kernel has no room for a descriptor on its way, now.
_LATER: Final = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})
_LATER_SECONDS: Final = 0.02


class FileFrame(bytes):
    """A SENDFILE frame and the file that goes along; whoever writes it closes that."""

    file: FileIO


Part: TypeAlias = tuple[bytes, FileIO | None]  # Bytes, and the file that goes along.


def open_file(path: str | os.PathLike[str], inline_max: int) -> tuple[FileIO | None, int, bytes]:
    """The file and its size; what has up to `inline_max` bytes is read instead: None, size, bytes. Blocks.

    An object, so that it is closed if whoever asked for it has been cancelled meanwhile.
    Raises OSError, and RuntimeError for what is no regular file.
    """
    file = FileIO(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS))
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise RuntimeError(f"{os.fspath(path)!r} is to be sent and is no regular file")
        if status.st_size > inline_max:
            return file, status.st_size, b""
        body = _read(file.fileno(), inline_max)
    except BaseException:
        file.close()
        raise
    file.close()
    return None, len(body), body


def _read(fd: int, most: int) -> bytes:
    pieces = []
    while most > 0 and (piece := os.read(fd, most)):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


class FrameWriter:
    """Writes what a lane says, where some of it carries descriptors. The transport's own buffer goes first.

    Owns the descriptors it is given and one of its own for the same socket: event loops let nobody else write to a
    transport's. Threads: the loop's.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, on_idle: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_idle = on_idle  # What was held back has gone.
        self._transport = transport
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        self._held: deque[Part] = deque()
        self._waits = False  # For room in the socket...
        self._stalled = False  # ...or for the kernel.
        self._later: asyncio.TimerHandle | None = None
        keep_from_children(self._socket.fileno())

    @property
    def busy(self) -> bool:
        """Something is held back: all that comes must come through here."""
        return bool(self._held)

    def write(self, parts: Iterable[Part]) -> None:
        self._held.extend(parts)
        if self._later is None:
            self._go()

    def close(self) -> None:
        """What is held back is dropped."""
        self._wait(False)
        if self._later is not None:
            self._later.cancel()
        close_all(self._held)
        self._held.clear()
        forget(self._socket.fileno())
        self._socket.close()

    def _go(self) -> None:
        held = self._held
        while held:
            data, file = held[0]
            sent = 0
            if self._transport.get_write_buffer_size():
                sent = -1
            elif file is not None:
                sent = self._pass(data, file)
            if sent < 0:
                self._stalled = True
                self._wait(self._later is None)
                return
            held.popleft()
            if sent < len(data):
                self._transport.write(data[sent:])
        self._wait(False)
        if self._stalled:
            self._stalled = False
            self._on_idle()

    def _pass(self, data: bytes, file: FileIO) -> int:
        """How many bytes have left, with the descriptor; -1: none could."""
        rights = struct.pack("i", file.fileno())
        try:
            sent = self._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except (BlockingIOError, InterruptedError):
            return -1
        except OSError as error:
            if error.errno in _LATER:
                self._later = self._loop.call_later(_LATER_SECONDS, self._again)
                return -1
            # The connection is lost: the transport says so to the lane, which closes this.
            self._transport.abort()
            sent = len(data)
        file.close()
        return sent

    def _again(self) -> None:
        self._later = None
        self._go()

    def _wait(self, waits: bool) -> None:
        if waits != self._waits:
            self._waits = waits
            if waits:
                self._loop.add_writer(self._socket.fileno(), self._go)
            else:
                self._loop.remove_writer(self._socket.fileno())


def close_all(parts: Iterable[Part]) -> None:
    for _, file in parts:
        if file is not None:
            file.close()
