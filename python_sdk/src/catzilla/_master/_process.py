"""Starting and reaping processes. The master reaps all: it is the subreaper of what its zygotes fork."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from typing import Final

from catzilla._settings import WORKER_ENVIRONMENT

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
# Dies with its master, without code between fork and exec: that would run beside gRPC's threads.
_LAUNCHER: Final = (
    "import ctypes, os, sys;"
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGTERM)});"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def become_subreaper() -> bool:
    """Orphaned grandchildren become ours. False where the kernel or a sandbox refuses it."""
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def start_python(module: str, channel: socket.socket, *arguments: str) -> int:
    """`python -m module FD arguments…`; the child owns `channel` from now on."""
    fd = channel.fileno()
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(fd), *arguments],
        pass_fds=(fd,),
        env={**os.environ, WORKER_ENVIRONMENT: "1"},
    )
    channel.close()
    return _forget(process)


def start_dependent(command: list[str], environment: dict[str, str]) -> int:
    """A program that gets SIGTERM when this process dies, and no Ctrl-C of the terminal's."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _LAUNCHER, *command], env=environment, process_group=0
    )
    return _forget(process)


def _forget(process: subprocess.Popen[bytes]) -> int:
    pid: int = process.pid
    process.returncode = 0  # Ours to reap; Popen must neither wait nor warn.
    return pid


_REAPED_MAX: Final = 1024


class Reaper:
    """Collects what has exited; the exit status of a pid can be awaited."""

    def __init__(self) -> None:
        self._status: dict[int, int] = {}
        self._waiters: dict[int, asyncio.Future[int]] = {}
        self._reaped: dict[int, None] = {}  # The last ones: their numbers may be somebody else's by now.

    def collect(self) -> None:
        """On SIGCHLD."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                code = os.waitstatus_to_exitcode(status)
                self._reaped[pid] = None
                while len(self._reaped) > _REAPED_MAX:
                    del self._reaped[next(iter(self._reaped))]
                waiter = self._waiters.pop(pid, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(code)
                else:
                    self._status[pid] = code
                    while len(self._status) > 256:  # Grandchildren nobody asks for.
                        del self._status[next(iter(self._status))]

    async def wait(self, pid: int) -> int:
        """REQUIRES: pid is a child of ours, and nobody else waits for it."""
        self.collect()
        if pid in self._status:
            return self._status.pop(pid)
        self._reaped.pop(pid, None)  # The number has been given out again.
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiters[pid] = waiter
        return await waiter

    def signal(self, pid: int, number: int) -> None:
        """To a process that somebody waits for, never to one that has been reaped: its pid may be another's."""
        if pid and pid not in self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
