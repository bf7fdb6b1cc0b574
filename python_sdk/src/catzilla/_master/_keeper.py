"""The sidecar as our child: started again when it dies, asked to leave, and buried last.

kept --exits 0--> left;  kept --dies before anything was served--> failed;  kept --dies--> kept, after a pause
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from typing import Final

from catzilla._master import _process
from catzilla._master._changes import Changes
from catzilla._master._sidecar import Sidecar

log = logging.getLogger("catzilla.master")

_BACKOFF: Final = (0.2, 1.0, 2.0, 5.0)
_STEADY: Final = 20.0  # Who lived for so long begins the row anew.
_AT_ONCE: Final = 10.0  # Who ends within this, before anything was served, has said why.
# More than drain.delay and drain.timeout of the sidecar take by default.
GRACE: Final = 60.0


class SidecarKeeper:
    def __init__(self, sidecar: Sidecar, reaper: _process.Reaper, changes: Changes) -> None:
        self._sidecar = sidecar
        self._reaper = reaper
        self._changes = changes

    @property
    def alive(self) -> bool:
        return bool(self._sidecar.pid)

    async def keep(self, *, leaving: Callable[[], bool], served: Callable[[], bool]) -> int:
        """Until it has left: 0 if it has drained, or we leave. Otherwise it failed before it served, with this code."""
        failures = 0
        while True:
            began = time.monotonic()
            self._sidecar.start()
            code = await self._reaper.wait(self._sidecar.pid)
            self._sidecar.pid = 0
            self._changes.tell()
            lived = time.monotonic() - began
            if leaving():
                return 0
            if code == 0:
                # It was told to drain, and has: `catzillactl drain`, or a signal that was meant for all of us.
                log.info("the sidecar has drained and left: leaving with it")
                return 0
            if not served() and lived < _AT_ONCE and code >= 0:
                # A taken port, a bad configuration. Trying again would say it again.
                log.error("the sidecar %s before it served: its message is above", _process.describe_exit(code))
                return code
            failures = 0 if lived > _STEADY else failures + 1
            pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
            log.error("the sidecar %s, starting it again in %g s", _process.describe_exit(code), pause)
            await asyncio.sleep(pause)

    def signal(self, number: int) -> None:
        self._reaper.signal(self._sidecar.pid, number)

    async def bury(self, impatient: Callable[[], bool]) -> None:
        """It leaves last, by itself or not."""
        await self._changes.until(lambda: not self.alive or impatient(), GRACE)
        self.signal(signal.SIGKILL)
        self._sidecar.clean_up()

    def __repr__(self) -> str:
        return f"<SidecarKeeper {self._sidecar!r}>"
