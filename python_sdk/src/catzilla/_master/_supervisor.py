"""The master process: one sidecar (its child, or not), one lease, generations of workers.

    starting --registered, first worker attached, routes switched--> serving
    serving --SIGTERM, SIGINT, superseded--> stopping --> gone;  starting --nothing can be served--> stopping

Stopping, managed: the sidecar gets SIGTERM and drains; workers serve until its GOAWAY, or until `drain_timeout` has
passed since it began to drain; then they leave, and the sidecar is waited for last. Stopping, attached: workers go on
for `drain_delay` or until GOAWAY, then say GOAWAY themselves and finish what they have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
import uuid
from dataclasses import replace
from typing import Any, Final

from catzilla._exceptions import SidecarError
from catzilla._master import _lease, _process
from catzilla._master import _run_files as run_files
from catzilla._master._announce import log_lanes, remedy_for, start_line
from catzilla._master._changes import Changes
from catzilla._master._first_worker import FirstWorker
from catzilla._master._generation import Generation, GenerationEvents
from catzilla._master._keeper import GRACE, SidecarKeeper
from catzilla._master._notify import Notifier
from catzilla._master._options import MasterOptions
from catzilla._master._registration import registration_of
from catzilla._master._reload import watch
from catzilla._master._report import report_of
from catzilla._proto import common_pb2 as common
from catzilla._proto import route_service_pb2 as pb
from catzilla._settings import Ticket, WorkerSettings
from catzilla._text import last_lines, one_line
from catzilla._worker import _frames as frames

log = logging.getLogger("catzilla.master")

_UNREACHABLE_AFTER: Final = 5.0  # Then it is said.
_TAKEOVER_REFUSED: Final = "CZ1507"
_SUPERSEDED: Final = "superseded"
_PAGE_MAX: Final = 32 * 1024  # Of the traceback on the error page: it goes there by way of a command line.
_CRASHES_MAX: Final = 3  # Of processes that die before they have said anything.


class Master(GenerationEvents):
    def __init__(self, options: MasterOptions) -> None:
        self._options = options
        self._instance_id = uuid.uuid4().hex
        self._reaper = _process.Reaper()
        self._generations: list[Generation] = []
        self._numbers = 0
        self._waiting: list[Generation] = []  # Registered, in order, their answers pending.
        self._stop = asyncio.Event()
        self._impatient = False  # A second signal has come.
        self._changes = Changes()  # Of what the end waits for.
        self._drains_since: float | None = None  # The sidecar takes no new requests.
        self._exit_code = 0
        self._announced = False
        self._lost_at = time.monotonic()
        self._complaint = ""  # What was said last of a registration that does not hold.
        self._first_worker = FirstWorker(self._give_up)
        sidecar = options.sidecar
        self._sidecar = None if sidecar is None else SidecarKeeper(sidecar, self._reaper, self._changes)
        self._service = Notifier()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Until a signal says so. Raises SidecarError if the sidecar does not start at all."""
        self._loop = loop = asyncio.get_running_loop()
        _process.become_subreaper()
        loop.add_signal_handler(signal.SIGCHLD, self._reaper.collect)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._refresh, "SIGHUP")
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        loop.add_signal_handler(signal.SIGUSR2, self._reload, "SIGUSR2", True)
        self._files = run_files.RunFiles(self._options.runtime_directory, self._options.app)
        self._lease = _lease.Lease(self._options.address, self._notify)
        if self._sidecar is not None:
            self._spawn_task(self._keep_sidecar(self._sidecar))
        self._lease.start()
        if self._options.reload:
            # To Python's own cache of bytecode, two versions of one size and one second are the same.
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            self._spawn_task(watch(self._options.reload_directories, self._options.reload_files, self._reload))
        self._start_generation()
        await self._stop.wait()
        self._service.stopping("finishing what is under way")
        await self._shut_down()
        self._files.remove()
        self._service.close()
        return self._exit_code

    # Generations...

    def _start_generation(self, settings: WorkerSettings | None = None, *, one_try: bool = False) -> None:
        self._numbers += 1
        generation = Generation(self._numbers, settings or self._options.worker, self._reaper, self, one_try=one_try)
        self._generations.append(generation)
        self._files.tell(generation.number, run_files.STARTING)
        generation.start()

    def on_table(self, generation: Generation) -> None:
        self._register(generation)

    def on_changed(self, generation: Generation) -> None:
        self._changes.tell()
        self._report()
        if generation.table is None and generation.crashes >= _CRASHES_MAX and self._ends_with_its_app:
            self._give_up(f"the app does not start: {generation.last_words}")
        hopeless = generation.crashes >= _CRASHES_MAX
        if hopeless and not self._show(generation, generation.last_words, "") and generation.one_try:
            self._abandon(generation, generation.last_words)

    def on_refused(self, generation: Generation, code: int, reason: str) -> None:
        if (
            code in (frames.GOAWAY_TOKEN, frames.GOAWAY_GENERATION)
            and generation is self._newest
            and not generation.retiring
        ):
            # The sidecar knows this generation no longer: ask for it anew, unless that is on its way.
            if generation not in self._waiting:
                self._register(generation)
        elif code and reason != self._first_worker.refusal:
            log.warning("the sidecar refuses a worker: %s", reason)
        self._first_worker.refusal = reason

    def on_failed(self, generation: Generation, error: str, details: str) -> None:
        if generation.retiring:
            return  # A newer one is on its way.
        log.error("%s%s", error, f"\n{details}" if details else "")
        if self._ends_with_its_app:
            self._give_up("nothing is served: stopping (with --reload it would wait for a change)")
            return
        if not generation.switched:
            self._files.tell(generation.number, run_files.FAILED, error, details)
        if self._show(generation, error, details):
            return
        for other in self._generations:
            other.release()
        if generation.one_try and self._abandon(generation, error, details):
            return
        self._service.reloaded(f"generation {generation.number} does not start: {error}")
        if generation is self._newest and not any(other.table for other in self._generations):
            # Nothing has been registered yet: let the sidecar show why.
            self._lease.register(self._registration(generation))
            self._waiting.append(generation)

    def _show(self, generation: Generation, error: str, details: str) -> bool:
        """In development: why it does not start, to everybody who asks, until there is newer code. True: it comes."""
        shows = self._options.development and self._options.reload
        if not shows or generation.switched or generation.retiring or generation.is_page:
            return False
        for other in list(self._generations):
            if other is generation or (other.is_page and not other.switched):
                self._retire(other, "it does not start")
        page = (one_line(error), last_lines(details, _PAGE_MAX))
        self._start_generation(replace(self._options.worker, workers=1, preload=False, lifespan="off", error_page=page))
        self._service.reloaded(f"generation {generation.number} does not start: {error}")
        return True

    def _abandon(self, generation: Generation, error: str, details: str = "") -> bool:
        """Its code does not start, or is refused. False: there is no other that serves, so it must try on."""
        serving = next((one for one in reversed(self._generations) if one.switched and not one.retiring), None)
        if serving is None or generation.switched or generation.retiring:
            return False
        log.error("generation %d is given up, generation %d serves on", generation.number, serving.number)
        self._service.reloaded(f"generation {serving.number} serves on: {error}")
        self._files.tell(generation.number, run_files.FAILED, error, details)
        self._retire(generation, "it does not start")
        if generation.table is not None:
            self._register(serving)
        return True

    @property
    def _fails_fast(self) -> bool:
        """Our own sidecar has nothing but this app, and somebody waits at the terminal or restarts us."""
        return self._options.sidecar is not None and not self._announced

    @property
    def _ends_with_its_app(self) -> bool:
        """With --reload the next version may start."""
        return self._fails_fast and not self._options.reload

    def _give_up(self, why: str) -> None:
        if not self._stop.is_set():
            log.error("%s", why)
            self._exit_code = 1
            self._stop.set()

    @property
    def _newest(self) -> Generation:
        return next((one for one in reversed(self._generations) if not one.retiring), self._generations[-1])

    def _register(self, generation: Generation) -> None:
        if self._stop.is_set():
            return  # Who leaves, or was superseded, takes nothing back.
        self._waiting.append(generation)
        self._lease.register(self._registration(generation))

    def _registration(self, generation: Generation) -> pb.Registration:
        return registration_of(self._options, self._instance_id, generation)

    def _report(self) -> None:
        self._lease.report(report_of(self._generations))

    def _retire(self, generation: Generation, reason: str) -> None:
        """Once for each, however many events tell that its time is over."""
        if not generation.retiring:
            if self._files.fate(generation.number) == run_files.STARTING:
                self._files.tell(generation.number, run_files.REPLACED)
            generation.retire(reason)
            self._spawn_task(self._leave(generation))

    async def _leave(self, generation: Generation) -> None:
        await generation.stopped(self._options.worker.drain_timeout + 5)
        self._generations.remove(generation)
        self._report()

    # The lease...

    def _notify(self, event: _lease.Event) -> None:
        """On the lease's thread."""
        with contextlib.suppress(RuntimeError):  # The loop has closed.
            self._loop.call_soon_threadsafe(self._on_lease, event)

    def _on_lease(self, event: _lease.Event) -> None:
        if isinstance(event, _lease.Connected):
            # The lease has said its last registration again; only that one is answered.
            self._waiting = [self._waiting[-1] if self._waiting else self._newest_registered()]
        elif isinstance(event, _lease.Lost):
            self._on_lost(event)
        else:
            kind = event.WhichOneof("event")
            handle = getattr(self, f"_on_{kind}", None) if kind else None
            if handle is not None:
                handle(getattr(event, str(kind)))

    def _newest_registered(self) -> Generation:
        for generation in reversed(self._generations):
            if generation.table is not None and not generation.retiring:
                return generation
        return self._newest

    def _on_lost(self, event: _lease.Lost) -> None:
        self._waiting = []
        if self._stop.is_set():
            return
        self._first_worker.wait_no_more()
        if event.code == "UNREACHABLE":
            if time.monotonic() - self._lost_at > _UNREACHABLE_AFTER:
                remedy = (
                    "it is starting, or failed above"
                    if self._options.sidecar
                    else "is it running? drop --attach to start one"
                )
                self._complain(f"{event.details}: {remedy}", logging.WARNING)
            return
        self._lost_at = time.monotonic()
        if event.code in ("OK", "UNAVAILABLE", "CANCELLED"):
            log.info("the registration has ended (%s), registering again", event.details or event.code)
            return
        if event.code == "FAILED_PRECONDITION" and event.details.startswith(_SUPERSEDED):
            self._step_down(event.details)
            return
        self._complain(f"the sidecar refuses the registration: {event.code}: {event.details}{remedy_for(event)}")
        if event.code in ("INVALID_ARGUMENT", "PERMISSION_DENIED"):
            if self._fails_fast:
                self._give_up("nothing is served: stopping")
            elif self._newest.table is not None:  # It is the one that has been registered last.
                self._abandon(self._newest, f"the sidecar refuses it: {event.details}{remedy_for(event)}")

    def _complain(self, complaint: str, level: int = logging.ERROR) -> None:
        """One line for each change of state, not for each try."""
        if complaint != self._complaint:
            self._complaint = complaint
            log.log(level, "%s%s", complaint, "" if self._fails_fast else "; trying on")

    def _on_registered(self, event: pb.Registered) -> None:
        for diagnostic in event.diagnostics:
            log.warning("%s %s: %s (%s)", diagnostic.code, diagnostic.path, diagnostic.message, diagnostic.hint)
        if self._complaint:
            self._complaint = ""
            log.info("the sidecar has taken the registration")
        generation = self._waiting.pop(0) if self._waiting else self._newest_registered()
        if not event.attach_token or generation.retiring:
            return
        ticket = Ticket(
            pool=event.pool,
            epoch=event.generation.boot_epoch,
            generation=event.generation.number,
            token=event.attach_token.hex(),
            socket=event.worker_socket,
        )
        generation.attach(ticket)
        self._first_worker.expect(generation)

    def _on_workers_ready(self, event: pb.WorkersReady) -> None:
        if not event.switched:
            return
        for generation in list(self._generations):
            if not generation.is_known_as(event.generation.boot_epoch, event.generation.number):
                continue
            fresh = not generation.switched
            generation.switched = True
            if fresh:
                what = f"{generation.target}, {generation.what}"
                self._files.tell(generation.number, run_files.SERVING, what)
                if self._announced:
                    self._service.reloaded(f"serving {what}")
                    log.info("generation %d has taken over: %s", generation.number, what)
                    if self._options.development:
                        log_lanes(generation)
            if not self._announced:
                self._announced = True
                self._first_worker.come()
                self._spawn_task(self._announce(generation))
            for older in list(self._generations):
                if older.number < generation.number and not older.retiring:
                    self._retire(older, "superseded")

    def _on_recycle(self, event: pb.Recycle) -> None:
        """An operator wants fresh workers, or the sidecar: of one that does not react."""
        if not event.pid:
            self._refresh(f"worker restart, {event.reason}")
            return
        log.warning("the sidecar wants worker %d replaced: %s", event.pid, event.reason)
        for generation in self._generations:
            if event.hard:
                generation.kill(event.pid)
            elif generation.recycle(event.pid, event.reason):
                return

    def _on_superseded(self, event: pb.Superseded) -> None:
        self._step_down(f"superseded by instance {event.by_instance_id}")

    def _step_down(self, why: str) -> None:
        """Another instance answers now. That is no failure: what we have is finished, then we go."""
        if not self._stop.is_set():
            log.warning("another instance has taken over this app (%s): finishing what is under way", why)
            self._leave_now()

    def _on_drain(self, event: pb.DrainRequested) -> None:
        self._drains_since = time.monotonic()
        self._changes.tell()
        if not self._stop.is_set():
            log.info("the sidecar drains: %s", event.reason)

    def _on_notice(self, event: pb.Notice) -> None:
        for one in event.diagnostics:
            if one.code == _TAKEOVER_REFUSED:
                self._first_worker.wait_no_more()  # They have attached. It is the operator's turn now.
                if not self._newest.switched:
                    self._files.tell(self._newest.number, run_files.FAILED, one.message)
            level = logging.ERROR if one.severity == common.SEVERITY_ERROR else logging.WARNING
            log.log(level, "%s %s: %s%s", one.code, one.path, one.message, f" ({one.hint})" if one.hint else "")

    # The sidecar, if it is ours...

    async def _keep_sidecar(self, keeper: SidecarKeeper) -> None:
        code = await keeper.keep(leaving=self._stop.is_set, served=lambda: self._announced)
        if code:
            self._exit_code = code
            self._stop.set()
        elif not self._stop.is_set():
            self._leave_now()

    async def _announce(self, generation: Generation) -> None:
        status = await self._loop.run_in_executor(None, self._lease.status)
        line = start_line(generation, status)
        log.info("%s", line)
        self._service.ready(line)
        if self._options.development:
            log_lanes(generation)

    # The end...

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._impatient = True
            self._changes.tell()
        self._leave_now()

    def _leave_now(self) -> None:
        """Leaving is a state: nothing is registered or started any more, whatever dies on the way."""
        self._lease.stand_down()
        for generation in self._generations:
            generation.stop_respawning()
        self._stop.set()

    def _reopen_logs(self) -> None:
        if self._sidecar is not None:
            self._sidecar.signal(signal.SIGUSR1)

    async def _shut_down(self) -> None:
        sidecar = self._sidecar
        workers = self._options.worker
        if sidecar is not None and sidecar.alive:
            sidecar.signal(signal.SIGTERM)
            await self._until_detached(GRACE)
        elif self._options.drain_delay and not self._exit_code:
            await self._until_detached(self._options.drain_delay)
        # What the sidecar has waited for already has had its time.
        left = workers.drain_timeout
        if sidecar is not None and self._drains_since is not None:
            left = max(0.0, self._drains_since + left - time.monotonic())
        self._leave_now()  # However the end began.
        for generation in self._generations:
            generation.retire("stopping", left)
        grace = 0.5 if self._impatient else left + 5
        await asyncio.gather(*(generation.stopped(grace) for generation in self._generations))
        self._lease.close()
        for task in self._tasks:
            if sidecar is None or not sidecar.alive:
                task.cancel()
        if sidecar is not None:
            await sidecar.bury(lambda: self._impatient)
        for task in self._tasks:
            task.cancel()

    async def _until_detached(self, timeout: float) -> None:
        """Workers serve until the sidecar has said GOAWAY to all of them."""
        sidecar = self._sidecar
        deadline = time.monotonic() + timeout

        def over() -> bool:
            gone = sidecar is not None and not sidecar.alive
            return gone or self._impatient or not any(generation.attached for generation in self._generations)

        if sidecar is not None and await self._changes.until(lambda: over() or self._drains_since is not None, timeout):
            since = self._drains_since or time.monotonic()
            deadline = min(deadline, since + self._options.worker.drain_timeout)
        await self._changes.until(over, deadline - time.monotonic())

    # Reloading...

    def _refresh(self, why: str) -> None:
        """Fresh workers of the same code, or of what is there now if each imports it for itself."""
        if self._newest.switched and self._newest.refresh():
            log.info("%s: fresh workers", why)
        else:
            self._reload(why)

    def _reload(self, why: str, one_try: bool = False) -> None:
        """Fresh workers with the code that is there now; the old ones serve until those do."""
        if not self._stop.is_set():
            log.info("%s: a new generation", why)
            if self._announced:
                self._service.reloading(why)
            if self._options.reload and self._options.reload_hold:
                for generation in self._generations:
                    generation.hold(self._options.reload_hold)
            for generation in list(self._generations):
                # One that never came to serve gives way at once.
                if not generation.switched and len(self._generations) > 1 and not generation.retiring:
                    self._retire(generation, "its code has changed")
            if len(self._generations) == 1 and self._newest.table is None:
                self._retire(self._newest, "its code has changed")
            self._start_generation(one_try=one_try)

    def _spawn_task(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("the master failed", exc_info=task.exception())
            self._exit_code = 1
            self._stop.set()


__all__ = ["Master", "MasterOptions", "SidecarError"]
