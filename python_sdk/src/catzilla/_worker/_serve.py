"""A worker process's link as a whole: its control connection, one lane per loop of the sidecar, its counters.

Threads: the loop's, but for the control_...() methods, which the control connection's thread calls.
Limits:  what is in flight is bounded by credits, what is buffered by the windows both sides announce.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import platform
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from catzilla._exceptions import LinkError
from catzilla._settings import Ticket, WorkerPlace, WorkerSettings, __version__
from catzilla._text import describe
from catzilla._worker import _frames as frames
from catzilla._worker._control import ControlConnection
from catzilla._worker._exchange import ASGIApp
from catzilla._worker._lane import Lane
from catzilla._worker._offers import extensions_for
from catzilla._worker._protocol import HEAD_BYTES_MAX, STREAM_WINDOW, Phase
from catzilla._worker._stacks import dump, log_stacks

if TYPE_CHECKING:  # Only apps of FastAPI have compiled routes: others do not import it.
    from catzilla._compile._compiled import CompiledApp
    from catzilla._worker._threads import Threads

log = logging.getLogger("catzilla.worker")

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ATTACH_TIMEOUT: Final = 10.0
_SWITCH_INTERVAL: Final = 0.0005
_LEVEL_ERROR: Final = 3  # Of a LOG frame.

# What a link's end means: (GOAWAY code or 0, was it clean, a sentence).
LinkEnded = Callable[[int, bool, str], None]


def rss_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE


class Worker:
    """Serves one app over one link. attach() may be called again once the link has ended."""

    def __init__(
        self,
        app: ASGIApp,
        settings: WorkerSettings,
        place: WorkerPlace,
        *,
        state: dict[str, Any],
        table_hash: bytes,
        vary: dict[int, bytes] | None = None,
        framework: str = "",
        compiled: CompiledApp | None = None,
        guard: Callable[[], int] | None = None,
        on_changed: Callable[[], None] = lambda: None,
        on_ended: LinkEnded,
        on_recycle: Callable[[str], None],
    ) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.state = state
        self.vary = vary or {}
        self.extensions = extensions_for(app, pathsend=settings.pathsend, debug=settings.log_level == "debug")
        self.compiled = compiled
        self.threads: Threads | None = None
        if compiled is not None:
            from catzilla._worker._threads import Threads

            self.threads = Threads(self.loop)
            compiled.hop = self.threads.call
            if compiled.threaded:  # The loop and the threads hand over to each other all the time.
                sys.setswitchinterval(_SWITCH_INTERVAL)
        # Counters, written by the loop.
        self.requests = 0
        self.exceptions = 0
        self.active = 0
        self._settings = settings
        self._place = place
        self._table_hash = table_hash
        self._framework = framework
        self._guard = guard  # None: what no route takes comes to us anyway.
        self._guarded = guard() if guard is not None else 0
        self._on_changed = on_changed
        self._on_ended = on_ended
        self._on_recycle = on_recycle
        self._lanes: list[Lane] = []
        self._control: ControlConnection | None = None
        self._goaway = 0
        self._ended = True
        self._idle: asyncio.Event | None = None  # Of drain(): no handler runs.
        self._recycling = False
        self._held: asyncio.TimerHandle | None = None  # Until requests are taken again.
        self._lag_us = 0
        self._gc_us = 0
        self._gc_began = 0
        self._started = time.monotonic()
        jitter = settings.max_requests_jitter
        self._requests_max = settings.max_requests + (random.randint(0, jitter) if jitter else 0)
        gc.callbacks.append(self._on_gc)

    # The link's life...

    async def attach(self, ticket: Ticket) -> frames.HelloAck:
        """Opens the control connection, then the lanes. Raises LinkError; nothing is open then."""
        control = ControlConnection(ticket.socket, lambda: self._hello(ticket, frames.PURPOSE_CONTROL, 0), self)
        ack = await self.loop.run_in_executor(None, control.connect)
        self._control, self._goaway, self._ended = control, 0, False
        control.start()
        try:
            async with asyncio.timeout(_ATTACH_TIMEOUT):
                for index in range(ack.loop_count):
                    hello = self._hello(ticket, frames.PURPOSE_LANE, index)
                    lane = Lane(self, hello)
                    self._lanes.append(lane)
                    await self.loop.create_unix_connection(lambda lane=lane: lane, ticket.socket)  # type: ignore[misc]
                    await lane.attached
        except (OSError, TimeoutError) as error:
            self._close()
            raise LinkError(f"{ticket.socket}: {error or 'no answer to HELLO'}") from None
        except LinkError:
            self._close()
            raise
        return ack

    async def drain(self, code: int, sentence: str, timeout: float) -> bool:
        """Takes nothing new and waits until what runs has returned. False: time was up first."""
        if not self._ended and self._control is not None:
            self._control.goaway(code, sentence)
        for lane in self._lanes:
            lane.goaway(code, sentence)
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(timeout):
                if self.active:
                    await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self._close()
            if self.threads is not None:
                self.threads.close()
        return True

    @property
    def attached(self) -> bool:
        return not self._ended

    def failed(self, what: str, error: BaseException) -> None:
        """An exception has left the app. Its traceback is in our log, one line of it in the sidecar's."""
        self.exceptions += 1
        if self._control is not None:
            self._control.log(_LEVEL_ERROR, f"{what}: {describe(error)}")

    def _close(self) -> None:
        self._ended = True
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.close()
        if self._control is not None:
            self._control.close()
            self._control = None

    def _end(self, clean: bool, reason: str, code: int = 0) -> None:
        if not self._ended:
            self._close()
            self._on_ended(code or self._goaway, clean, reason)

    # From lanes...

    def lane_lost(self, lane: Lane, error: LinkError) -> None:
        if lane not in self._lanes:
            return
        self._lanes.remove(lane)
        if not lane.attached.done() or lane.attached.exception() is not None:
            return  # attach() raises it.
        if not lane.drained:
            # One lane less is a loop of the sidecar without this worker: start over with all of them.
            self._end(False, str(error), error.code)
        elif not self._lanes:
            self._end(True, "drained")

    def on_goaway(self, code: int, lane: Lane | None) -> None:
        self._goaway = code
        if code == frames.GOAWAY_RECYCLE:
            self.want_recycle("asked by the sidecar")
        if lane is None:  # On the control connection: it means every lane.
            for other in self._lanes:
                if other.protocol.phase is Phase.SERVING:
                    other.protocol.phase = Phase.DRAINING
                    other.schedule()

    def hold(self, seconds: float) -> None:
        """New code is on its way: requests wait for it in front of us, but for no longer than this."""
        if self._held is not None:
            self._held.cancel()
        self._held = self.loop.call_later(seconds, self.release)
        self._set_ceiling(0)

    def release(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self._set_ceiling(self._settings.in_flight_max)

    def _set_ceiling(self, credits: int) -> None:
        for lane in self._lanes:
            if lane.protocol.phase is Phase.SERVING:
                lane.protocol.set_ceiling(credits)
                lane.schedule()
                return

    def begun(self) -> None:
        """A handler runs."""
        self.active += 1

    def settled(self) -> None:
        """A handler has returned."""
        self.requests += 1
        self.active -= 1
        if self._idle is not None and not self.active:
            self._idle.set()
        if self._requests_max and self.requests >= self._requests_max:
            self.want_recycle(f"max_requests: {self.requests} served")

    def want_recycle(self, reason: str) -> None:
        """Asks the master for a successor, once. We serve until it is there."""
        if not self._recycling:
            self._recycling = True
            self._on_recycle(reason)

    # From the control connection, on its thread...

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has closed: nobody is left to be told.
            self.loop.call_soon_threadsafe(call, *arguments)

    def control_goaway(self, code: int, sentence: str) -> None:
        self._on_loop(self.on_goaway, code, None)
        if code == frames.GOAWAY_RECYCLE:  # A request is past its hard deadline: the master is about to kill us.
            log_stacks(log, "the sidecar wants this process replaced", self.loop)

    def control_cancel(self, lane_id: int, stream_id: int) -> None:
        self._on_loop(self._cancel, lane_id, stream_id)

    def control_dump(self) -> str:
        return dump(self.loop)

    def control_lost(self, reason: str) -> None:
        self._on_loop(self._control_lost, reason)

    def control_tick(self) -> frames.Stats:
        self._on_loop(self._probe, time.monotonic_ns())
        if self._guard is not None:
            self._on_loop(self._look_at_routes)
        if self.compiled is not None:
            self._on_loop(self.compiled.look_for_tools)
        rss = rss_bytes()
        settings = self._settings
        if settings.max_rss and rss > settings.max_rss:
            self._on_loop(self.want_recycle, f"max_rss: {rss >> 20} MiB")
        if settings.max_lifetime and time.monotonic() - self._started > settings.max_lifetime:
            self._on_loop(self.want_recycle, f"max_lifetime: {settings.max_lifetime:g} s")
        lag, self._lag_us = self._lag_us, 0
        return frames.Stats(
            rss_bytes=rss,
            requests=self.requests,
            exceptions=self.exceptions,
            active=self.active,
            detached=sum(lane.detached for lane in tuple(self._lanes)),
            loop_lag_us=min(lag, 0xFFFFFFFF),
            threads=threading.active_count(),
            gc_us=self._gc_us,
            wall_us=time.time_ns() // 1000,
        )

    def _cancel(self, lane_id: int, stream_id: int) -> None:
        for lane in self._lanes:
            if lane.protocol.ack is not None and lane.protocol.ack.lane_id == lane_id:
                lane.cancel(stream_id)

    def _control_lost(self, reason: str) -> None:
        # While lanes drain they are allowed to outlive it.
        if self._goaway == 0:
            self._end(False, reason)

    def _probe(self, sent_ns: int) -> None:
        self._lag_us = max(self._lag_us, (time.monotonic_ns() - sent_ns) // 1000)

    def _look_at_routes(self) -> None:
        """Once the app has changed under its table, it must see what no route of that table takes."""
        if self._guard is not None and self._guard() != self._guarded:
            self._guard = None
            self._on_changed()

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            self._gc_began = now
        elif self._gc_began:
            self._gc_us += (now - self._gc_began) // 1000

    def _hello(self, ticket: Ticket, purpose: int, loop_index: int) -> frames.Hello:
        lane = purpose == frames.PURPOSE_LANE
        return frames.Hello(
            capabilities=frames.CAPABILITIES,
            purpose=purpose,
            lane_kind=frames.LANE_EVENT_LOOP if lane else frames.LANE_NONE,
            loop_index=loop_index,
            token=bytes.fromhex(ticket.token),
            epoch=ticket.epoch,
            generation=ticket.generation,
            table_hash=self._table_hash,
            pid=self._place.pid,
            worker_index=self._place.index,
            start_time_us=self._place.start_time_us,
            in_flight_max=self._settings.in_flight_max,
            stream_window=STREAM_WINDOW,
            connection_window=frames.WINDOW_MAX,  # No stream holds up another.
            head_bytes_max=HEAD_BYTES_MAX,
            data_bytes_max=frames.DATA_BYTES_MAX,
            monotonic_us=time.monotonic_ns() // 1000,
            wall_us=time.time_ns() // 1000,
            rss_bytes=rss_bytes(),
            pool=ticket.pool,
            sdk=__version__,
            python=platform.python_version(),
            framework=self._framework,
            note=self._place.note[:512],
        )

    def __repr__(self) -> str:
        return f"<Worker {self._place.index} pid={self._place.pid} lanes={len(self._lanes)} active={self.active}>"
