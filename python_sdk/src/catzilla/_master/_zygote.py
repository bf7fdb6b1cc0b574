"""The zygote: imports the app once and forks workers that share its memory.

    python -m catzilla._master._zygote FD SETTINGS

No threads, no gRPC, no event loop. Its workers are forked twice, so that the master, their subreaper, is their
parent and reaps them. An app that leaves threads, sockets or gRPC behind its import cannot be forked
safely: the zygote says so and exits, and each worker imports the app for itself.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import socket
import sys
import threading
from dataclasses import replace
from typing import Any, Final

from catzilla._exceptions import AppLoadError, CatzillaError
from catzilla._load import code_hash, load
from catzilla._settings import WORKER_ENVIRONMENT, WorkerPlace, WorkerSettings

# The one behind random.random(), which is seeded anew in each worker.
_SHARED_RANDOM: Final = random._inst


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The master decides.
    os.environ[WORKER_ENVIRONMENT] = "1"
    gc.disable()
    channel = socket.socket(fileno=int(arguments[0]))
    channel.set_inheritable(False)
    settings = WorkerSettings.decode(arguments[1])
    before = _sockets()
    try:
        loaded = load(settings)
    except CatzillaError as error:
        details = error.details if isinstance(error, AppLoadError) else ""
        _tell(channel, type="failed", error=str(error), details=details)
        return 3
    reason = _unsafe_because(before)
    if reason:
        _tell(channel, type="loaded", preload=False, reason=reason)
        return 0
    _import_for_workers(settings)
    gc.collect()
    gc.freeze()
    _tell(channel, type="loaded", preload=True, reason="")
    return _serve(loaded.app, replace(settings, target=loaded.target), channel)


def _import_for_workers(settings: WorkerSettings) -> None:
    """What each of them would import and find out for itself is shared, too."""
    import catzilla._routing
    import catzilla._worker._main

    if "fastapi" in sys.modules:
        import catzilla._compile._assign
        import catzilla._worker._threads  # noqa: F401
    code_hash()
    if settings.loop != "asyncio":
        with contextlib.suppress(ImportError):  # Who insists on it is told by the worker.
            import uvloop  # noqa: F401


def _serve(app: Any, settings: WorkerSettings, channel: socket.socket) -> int:
    """Forks a worker for each message, until the master closes the channel."""
    while True:
        try:
            data, fds, _, _ = socket.recv_fds(channel, 4096, 1)
        except ConnectionResetError:
            return 0
        if not data:
            return 0
        index = json.loads(data)["index"]
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            worker = os.fork()
            if worker != 0:
                # Before it could die unheard: who has no pid cannot be waited for.
                with contextlib.suppress(OSError):
                    os.write(fds[0], json.dumps({"type": "started", "pid": worker}).encode() + b"\n")
                os._exit(0)
            channel.close()
            os._exit(_be_worker(app, settings, index, fds[0]))
        os.waitpid(child, 0)
        os.close(fds[0])


def _be_worker(app: Any, settings: WorkerSettings, index: int, fd: int) -> int:
    from catzilla._worker._main import EXIT_FAILED, run_worker

    gc.enable()
    _differ_from_siblings()
    code = EXIT_FAILED
    try:
        code = run_worker(app, settings, WorkerPlace.here(index, "preloaded"), socket.socket(fileno=fd))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # os._exit() runs no atexit handlers, which belong to the zygote; buffers are ours.
        threading._shutdown()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return code


def _differ_from_siblings() -> None:
    """Generators that were seeded while the app was imported would give every worker the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()


def _unsafe_because(before: set[str]) -> str:
    if "grpc" in sys.modules or "grpc._cython.cygrpc" in sys.modules:
        return "the app imports grpc, which does not survive a fork"
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if threads or len(os.listdir("/proc/self/task")) > 1:
        return f"the app has started threads while it was imported: {', '.join(threads) or 'native ones'}"
    if _sockets() - before:
        return "the app has opened sockets while it was imported"
    sqlite3 = sys.modules.get("sqlite3")
    kinds = tuple(filter(None, (getattr(sqlite3, "Connection", None), random.Random)))
    for found in gc.get_objects():
        if not isinstance(found, kinds) or isinstance(found, random.SystemRandom):
            continue
        if isinstance(found, random.Random):
            if found is not _SHARED_RANDOM:
                return "the app has made a random.Random while it was imported: workers would give the same numbers"
        else:
            return "the app has opened an SQLite connection while it was imported, which must not cross a fork"
    return ""


def _sockets() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{fd}")
            if target.startswith("socket:"):
                found.add(target)
    return found


def _tell(channel: socket.socket, **message: Any) -> None:
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
