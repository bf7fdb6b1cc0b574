"""The ASGI lifespan of the app: once before the first request, once behind the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from catzilla._exceptions import AppLoadError
from catzilla._text import DETAILS_MAX, describe, safe_text
from catzilla._worker._exchange import ASGIApp

log = logging.getLogger("catzilla.error")


class Lifespan:
    """Modes: "auto" accepts apps that know no lifespan, "on" does not, "off" never asks."""

    def __init__(self, app: ASGIApp, mode: str = "auto") -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._mode = mode
        self._to_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._started: asyncio.Future[str | None] | None = None
        self._stopped: asyncio.Future[str | None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Raises AppLoadError with what the app said."""
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._task = loop.create_task(self._run())
        self._to_app.put_nowait({"type": "lifespan.startup"})
        failure = await self._started
        if failure is not None:
            raise AppLoadError("the app's startup failed", failure)

    async def shutdown(self) -> None:
        """Never raises: the process is leaving, whatever the app says."""
        if self._task is None or self._task.done() or self._stopped is None:
            return
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        failure = await self._stopped
        if failure:
            log.error("the app's shutdown failed:\n%s", failure)
        await asyncio.wait([self._task], timeout=5)

    async def _run(self) -> None:
        assert self._started is not None
        assert self._stopped is not None
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        failure: str | None = None
        try:
            await self._app(scope, self._to_app.get, self._send)
        except BaseException as error:
            if not self._started.done():
                if self._mode == "auto" and not isinstance(error, asyncio.CancelledError):
                    log.info("the app knows no lifespan (%s)", describe(error))
                else:
                    failure = describe(error)
            elif not self._stopped.done() and self._started.result() is None:
                failure = describe(error)
        for future in (self._started, self._stopped):
            if not future.done():
                future.set_result(failure)

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        assert self._started is not None
        assert self._stopped is not None
        kind = message["type"]
        future = self._started if kind.startswith("lifespan.startup.") else self._stopped
        if not future.done():
            said = safe_text(message.get("message", "") or kind, DETAILS_MAX)
            future.set_result(said if kind.endswith(".failed") else None)
