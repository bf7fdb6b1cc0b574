"""Runs a program for which the kernel has no openat2(2), as below older kernels and stricter seccomp profiles.

without_openat2.py PROGRAM ARGUMENT...
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_OPENAT2 = 437  # On every architecture.
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# struct sock_filter: code, jump if true, jump if false, operand.
_FILTER = (
    (0x20, 0, 0, 0),  # Load the call's number,
    (0x15, 0, 1, _OPENAT2),  # if it is openat2's,
    (0x06, 0, 0, _ERRNO | errno.ENOSYS),
    (0x06, 0, 0, _ALLOW),
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def forbid_openat2() -> None:
    code = b"".join(struct.pack("HBBI", *step) for step in _FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(_FILTER), ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no new privileges")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    forbid_openat2()
    os.execv(sys.argv[1], sys.argv[1:])
