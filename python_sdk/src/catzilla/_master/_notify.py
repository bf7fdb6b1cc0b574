"""Tells systemd how we fare: sd_notify(3), a datagram of lines to $NOTIFY_SOCKET.

Never blocks and never fails: whoever does not listen misses it. Without NOTIFY_SOCKET it does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

from catzilla._text import one_line

_VARIABLE: Final = "NOTIFY_SOCKET"
_STATUS_MAX: Final = 400


class Notifier:
    """Takes the variable out of the environment: what our children say is not for systemd."""

    def __init__(self) -> None:
        path = os.environ.pop(_VARIABLE, "")
        self._address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else os.fsencode(path)
        self._socket: socket.socket | None = None
        self._reloading = False
        if path.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def ready(self, status: str) -> None:
        self._reloading = False
        self._send("READY=1", _status(status))

    def reloading(self, why: str) -> None:
        self._reloading = True
        # With the time a unit of Type=notify-reload is content, too.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", _status(why))

    def reloaded(self, status: str) -> None:
        """If that is what systemd waits for."""
        if self._reloading:
            self.ready(status)

    def stopping(self, why: str) -> None:
        self._send("STOPPING=1", _status(why))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)


def _status(text: str) -> str:
    return f"STATUS={one_line(text, _STATUS_MAX)}"
