"""Other servers that tests start: one process on one port."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
from collections.abc import Iterator

from waiting import eventually


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(folder: pathlib.Path, port: int, *command: str) -> Iterator[None]:
    """Until the port takes connections; then until the block ends."""
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        eventually(lambda: listens(port), 30, (folder / "peer.log").read_text)
        yield
    finally:
        process.terminate()
        process.wait(30)
