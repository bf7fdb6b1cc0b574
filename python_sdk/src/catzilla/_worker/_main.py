"""The life of a worker process: start the app, compile its table, attach when told, serve, leave in order.

    starting --startup complete--> ready --ticket--> attached --link lost--> ready
                                     \\________ stop, superseded, recycled, master gone: drain, shutdown, exit

It talks to its master in lines of JSON over one socket pair: see catzilla/_master/_messages.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from typing import Any, Final

from catzilla._exceptions import AppLoadError, CatzillaError, LinkError
from catzilla._load import code_hash, load
from catzilla._log import PatientHandler
from catzilla._settings import WORKER_ENVIRONMENT, Ticket, WorkerPlace, WorkerSettings
from catzilla._text import describe, log_exception
from catzilla._worker import _frames as frames
from catzilla._worker._inherit import keep_from_children
from catzilla._worker._lifespan import Lifespan
from catzilla._worker._serve import Worker

log = logging.getLogger("catzilla.worker")

EXIT_FAILED: Final = 3  # The app does not start: retry later, with patience.
_LINE_MAX: Final = 64 << 20
_RETRY: Final = (0.05, 0.1, 0.25)  # A look at a local socket costs nothing; the sidecar may be back at any time.
_COMPLAIN_AFTER: Final = 20
# Refusals that only the master can do something about, or nobody.
_FOR_MASTER: Final = frozenset({frames.GOAWAY_TOKEN, frames.GOAWAY_GENERATION})
_FATAL: Final = frozenset({frames.GOAWAY_TABLE})


class WorkerProcess:
    """One per process."""

    def __init__(self, app: Any, settings: WorkerSettings, place: WorkerPlace) -> None:
        self._app = app
        self._settings = settings
        self._place = place
        self._ticket: Ticket | None = None
        self._attaching: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._leave: tuple[int, str] = (frames.GOAWAY_DRAINING, "")
        self._drain_timeout = settings.drain_timeout
        self._exit_code = 0

    async def run(self, channel: socket.socket) -> int:
        keep_from_children(channel.fileno())
        reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=_LINE_MAX)
        self._tell(type="started", pid=self._place.pid)
        lifespan = Lifespan(self._app, self._settings.lifespan)
        try:
            await lifespan.startup()
            self._make_worker(lifespan)
        except CatzillaError as error:
            return await self._fail(error)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._worker.want_recycle, "SIGTERM")
        listening = loop.create_task(self._listen(reader))
        await self._leaving.wait()
        code, sentence = self._leave
        if self._attaching is not None:
            self._attaching.cancel()
        if not await self._worker.drain(code, sentence, self._drain_timeout):
            log.warning(
                "leaving with requests unfinished: drain_timeout (%g s) has passed", self._settings.drain_timeout
            )
        await lifespan.shutdown()
        listening.cancel()
        self._writer.close()
        return self._exit_code

    def _make_worker(self, lifespan: Lifespan) -> None:
        from catzilla._compile._assign import compiled_app
        from catzilla._routing import compile_table, guard_of

        table = compile_table(self._app, lanes=self._settings.lanes == "on")  # Now: start-up may have added routes.
        self._worker = Worker(
            self._app,
            self._settings,
            self._place,
            state=lifespan.state,
            table_hash=table.hash,
            vary=table.vary,
            framework=_framework(),
            compiled=compiled_app(self._app, table.compiled),
            guard=(lambda: guard_of(self._app)) if table.unmatched == "sidecar" else None,
            on_changed=lambda: self._tell(type="changed"),
            on_ended=self._link_ended,
            on_recycle=lambda reason: self._tell(type="recycle", reason=reason),
        )
        # Compiled routes live as long as we do: no collection needs to walk through them, however many there are.
        gc.collect()
        gc.freeze()
        self._tell(
            type="ready",
            hash=table.hash.hex(),
            table=json.loads(table.encode()),
            code_hash=code_hash(),
            framework=_framework(),
            target=self._settings.target,
            docs=_docs(self._app),
        )

    async def _fail(self, error: CatzillaError) -> int:
        details = error.details if isinstance(error, AppLoadError) else ""
        self._tell(type="failed", error=str(error), details=details)
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self._writer.close()
        return EXIT_FAILED

    # From the master...

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        # A master that dies with unread messages of ours shows as a reset, not as an end.
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                message = json.loads(line)
                if message["type"] == "attach":
                    self._ticket = Ticket(**message["ticket"])
                    self._attach()
                elif message["type"] == "hold":
                    self._worker.hold(message["seconds"])
                elif message["type"] == "release":
                    self._worker.release()
                elif message["type"] == "stop":
                    if message.get("drain_timeout") is not None:
                        self._drain_timeout = message["drain_timeout"]
                    self._stop(message.get("code", frames.GOAWAY_DRAINING), message.get("reason", ""))
        self._stop(frames.GOAWAY_DRAINING, "the master has gone")

    def _stop(self, code: int, reason: str) -> None:
        if not self._leaving.is_set():
            self._leave = (code, reason)
            self._leaving.set()

    def _tell(self, **message: Any) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    # The link...

    def _attach(self) -> None:
        if not self._worker.attached and (self._attaching is None or self._attaching.done()):
            self._attaching = asyncio.get_running_loop().create_task(self._attach_until())

    async def _attach_until(self) -> None:
        """Tries until it holds, or until only the master can help."""
        tries = 0
        while not self._leaving.is_set():
            ticket = self._ticket
            assert ticket is not None
            try:
                ack = await self._worker.attach(ticket)
            except LinkError as error:
                self._tell(type="refused", code=error.code, reason=str(error), generation=ticket.generation)
                if error.code == frames.GOAWAY_SUPERSEDED:
                    self._stop(frames.GOAWAY_DRAINING, "superseded")
                if error.code in _FATAL:
                    self._exit_code = EXIT_FAILED
                    self._stop(frames.GOAWAY_DRAINING, str(error))
                if error.code in _FOR_MASTER and ticket == self._ticket:
                    return
                if tries == _COMPLAIN_AFTER:
                    log.warning("cannot attach to the sidecar, trying on: %s", error)
                await asyncio.sleep(_RETRY[min(tries, len(_RETRY) - 1)])
                tries += 1
            else:
                self._tell(type="attached", generation=ticket.generation, sidecar=ack.sidecar, worker_id=ack.worker_id)
                return

    def _link_ended(self, code: int, clean: bool, reason: str) -> None:
        self._tell(type="detached", code=code, clean=clean, reason=reason)
        if clean and code in (frames.GOAWAY_SUPERSEDED, frames.GOAWAY_RECYCLE):
            self._stop(frames.GOAWAY_DRAINING, reason)
        elif not clean:
            self._attach()  # With the ticket we have; the master brings another if that is over.

    def __repr__(self) -> str:
        return f"<WorkerProcess {self._place}>"


def run_worker(app: Any, settings: WorkerSettings, place: WorkerPlace, channel: socket.socket) -> int:
    """Serves until it may leave; the process's exit code."""
    configure_logging(settings.log_level)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings.loop)) as runner:

            async def main() -> int:
                return await WorkerProcess(app, settings, place).run(channel)

            return runner.run(main())
    finally:
        for handler in logging.getLogger("catzilla").handlers:
            handler.flush()


def configure_logging(level: str) -> None:
    """To standard error, unless the app has configured its own logging."""
    logger = logging.getLogger("catzilla")
    logger.setLevel(level.upper())
    if not logger.handlers and not logging.getLogger().handlers:
        handler = PatientHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s [pid %(process)d]"))
        logger.addHandler(handler)


def _loop_factory(kind: str) -> Any:
    if kind == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if kind == "uvloop":
            raise AppLoadError("--loop uvloop: uvloop is not installed: pip install catzilla[uvloop]") from None
        return None
    return uvloop.new_event_loop


def _framework() -> str:
    fastapi = sys.modules.get("fastapi")
    return f"fastapi {fastapi.__version__}" if fastapi is not None else "asgi"


def _docs(app: Any) -> str:
    """The path of the documentation's page, if there is one."""
    path = getattr(app, "docs_url", None) if getattr(app, "openapi_url", None) else None
    return path if isinstance(path, str) else ""


def main(arguments: list[str]) -> int:
    """python -m catzilla._worker FD INDEX NOTE SETTINGS: a worker of its own, without a zygote."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The master decides.
    os.environ[WORKER_ENVIRONMENT] = "1"
    channel = socket.socket(fileno=int(arguments[0]))
    channel.set_inheritable(False)
    place = WorkerPlace.here(int(arguments[1]), arguments[2])
    settings = WorkerSettings.decode(arguments[3])
    gc.disable()
    try:
        loaded = load(settings)
        gc.collect()
        gc.freeze()
        gc.enable()
        return run_worker(loaded.app, replace(settings, target=loaded.target), place, channel)
    except CatzillaError as error:
        details = error.details if isinstance(error, AppLoadError) else ""
        message = {"type": "failed", "error": str(error), "details": details}
    except Exception as error:
        log_exception(log, "the worker failed", error)
        message = {"type": "failed", "error": describe(error), "details": ""}
    with contextlib.suppress(OSError):
        channel.sendall(json.dumps(message).encode() + b"\n")
    return EXIT_FAILED
