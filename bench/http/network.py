"""A loopback of the bench's own, with Linux's default congestion control.

What a large answer costs depends on it: with bbr, timers pace it, and another process's core may do the sending.
A network namespace leaves the machine's own setting alone. It takes root; without, the machine's setting is used, and
the tables name it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys

_SETTING = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
_WANTED = "cubic"
_INSIDE = "CATZILLA_BENCH_NETWORK"


def enter() -> None:
    """Runs this program anew in a namespace, if it may, and returns there; or returns at once."""
    if _INSIDE not in os.environ:
        unshare = shutil.which("unshare")
        if (
            unshare
            and subprocess.run([unshare, "--net", "true"], capture_output=True).returncode == 0
        ):
            os.environ[_INSIDE] = "1"
            os.execv(unshare, [unshare, "--net", sys.executable, *sys.argv])
        return
    _bring_up_loopback()
    with contextlib.suppress(
        OSError
    ):  # Read-only in some containers; the tables name what is in force.
        _SETTING.write_text(_WANTED)


def congestion_control() -> str:
    return _SETTING.read_text().strip()


def _bring_up_loopback() -> None:
    get_flags, set_flags, up = 0x8913, 0x8914, 1  # netdevice(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, get_flags, request), 16)
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", flags | up))
