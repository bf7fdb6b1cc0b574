"""One app, served in both ways: by the SDK's workers, and by uvicorn as a server of an upstream pool."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from app_process import AppProcess
from processes import running
from scripted_upstream import config
from sidecar_process import Sidecar, free_port

Serve = Callable[[Path, str], contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def by_workers(folder: Path, source: str) -> Iterator[int]:
    with AppProcess(folder, source, "--workers", "1") as app:
        yield app.port


@contextlib.contextmanager
def _by_uvicorn(folder: Path, source: str, protocol: str) -> Iterator[int]:
    (folder / "peer_app.py").write_text(source)
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "peer_app:app", "--port", str(port))
    with (
        running(folder, port, *command, "--ws", protocol),
        Sidecar(folder, config(f"127.0.0.1:{port}")) as sidecar,
    ):
        yield sidecar.port


def by_uvicorn_websockets(folder: Path, source: str) -> contextlib.AbstractContextManager[int]:
    return _by_uvicorn(folder, source, "websockets-sansio")


def by_uvicorn_wsproto(folder: Path, source: str) -> contextlib.AbstractContextManager[int]:
    return _by_uvicorn(folder, source, "wsproto")


WAYS: list[Serve] = [by_workers, by_uvicorn_websockets, by_uvicorn_wsproto]
