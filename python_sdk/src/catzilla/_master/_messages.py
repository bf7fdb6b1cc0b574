"""Lines of JSON between the master and its children, over one socket pair each.

worker → master   started{pid} ready{hash, table, code_hash, framework, target, docs}
                  attached{generation, sidecar, worker_id} detached{code, clean, reason} refused{code, reason}
                  recycle{reason} failed{error, details} changed{}
master → worker   attach{ticket} stop{code, reason, drain_timeout} hold{seconds} release{}
zygote → master   loaded{preload, reason} failed{error, details}
master → zygote   fork{index} with the worker's end of its socket pair
A closed pair means that the other process is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

log = logging.getLogger("catzilla.master")

Message = dict[str, Any]
_LINE_MAX: Final = 64 << 20


class Channel:
    """The master's end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[bytes] = []  # Until the writer is there.
        self._task: asyncio.Task[None] | None = None

    def listen(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._read(on_message, on_closed))

    def send(self, **message: Any) -> None:
        line = json.dumps(message).encode() + b"\n"
        if self._writer is None:
            self._unsent.append(line)
        elif not self._writer.is_closing():
            self._writer.write(line)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()
        else:
            self.socket.close()

    async def drained(self, timeout: float) -> None:
        """Waits until the other end has said everything: it has closed, or `timeout` seconds have passed."""
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait([self._task], timeout=timeout)

    async def _read(self, on_message: Callable[[Message], None], on_closed: Callable[[], None]) -> None:
        reader, self._writer = await asyncio.open_unix_connection(sock=self.socket, limit=_LINE_MAX)
        self._writer.writelines(self._unsent)
        try:
            while line := await reader.readline():
                on_message(json.loads(line))
        except OSError:
            pass  # It died with messages of ours unread: a reset instead of an end.
        except ValueError as error:
            log.error("a child speaks nonsense: %s", error)
        self._writer.close()
        on_closed()
