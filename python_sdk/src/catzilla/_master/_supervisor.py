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
from typing import Any, Final

from catzilla._exceptions import SidecarError
from catzilla._master import _lease, _process
from catzilla._master import _run_files as run_files
from catzilla._master._announce import log_lanes, remedy_for, start_line
from catzilla._master._changes import Changes
from catzilla._master._generation import Generation, GenerationEvents
from catzilla._master._options import MasterOptions
from catzilla._master._registration import registration_of
from catzilla._master._reload import watch
from catzilla._master._report import report_of
from catzilla._master._sidecar import Sidecar
from catzilla._proto import common_pb2 as common
from catzilla._proto import route_service_pb2 as pb
from catzilla._settings import Ticket
from catzilla._worker import _frames as frames

log = logging.getLogger("catzilla.master")

_SIDECAR_BACKOFF: Final = (0.2, 1.0, 2.0, 5.0)
_UNREACHABLE_AFTER: Final = 5.0  # Then it is said.
_ATTACH_TIMEOUT: Final = 10.0  # From the first registration to the first worker; it takes milliseconds.
_TAKEOVER_REFUSED: Final = "CZ1507"
_SUPERSEDED: Final = "superseded"
_CRASHES_MAX: Final = 3  # Of processes that die before they have said anything.
# More than drain.delay and drain.timeout of the sidecar take by default.
_SIDECAR_GRACE: Final = 60.0


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
        self._refusal = ""  # Why the last worker could not attach.
        self._attach_deadline: asyncio.TimerHandle | None = None
        self._sidecar_failures = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Until a signal says so. Raises SidecarError if the sidecar does not start at all."""
        self._loop = loop = asyncio.get_running_loop()
        _process.become_subreaper()
        loop.add_signal_handler(signal.SIGCHLD, self._reaper.collect)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._refresh)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        loop.add_signal_handler(signal.SIGUSR2, self._reload, "SIGUSR2", True)
        self._files = run_files.RunFiles(self._options.runtime_directory, self._options.app)
        self._lease = _lease.Lease(self._options.address, self._notify)
        if self._options.sidecar is not None:
            self._spawn_task(self._keep_sidecar(self._options.sidecar))
        self._lease.start()
        if self._options.reload:
            # To Python's own cache of bytecode, two versions of one size and one second are the same.
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            self._spawn_task(watch(self._options.reload_directories, self._options.reload_files, self._reload))
        self._start_generation()
        await self._stop.wait()
        await self._shut_down()
        self._files.remove()
        return self._exit_code

    # Generations...

    def _start_generation(self, *, one_try: bool = False) -> None:
        self._numbers += 1
        generation = Generation(self._numbers, self._options.worker, self._reaper, self, one_try=one_try)
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
        if generation.one_try and generation.crashes >= _CRASHES_MAX:
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
        elif code and reason != self._refusal:
            log.warning("the sidecar refuses a worker: %s", reason)
        self._refusal = reason

    def on_failed(self, generation: Generation, error: str, details: str) -> None:
        if generation.retiring:
            return  # A newer one is on its way.
        log.error("%s%s", error, f"\n{details}" if details else "")
        if self._ends_with_its_app:
            self._give_up("nothing is served: stopping (with --reload it would wait for a change)")
            return
        if not generation.switched:
            self._files.tell(generation.number, run_files.FAILED, error, details)
        if generation.one_try and self._abandon(generation, error, details):
            return
        if generation is self._newest and not any(other.table for other in self._generations):
            # Nothing has been registered yet: let the sidecar show why.
            self._lease.register(self._registration(generation))
            self._waiting.append(generation)

    def _abandon(self, generation: Generation, error: str, details: str = "") -> bool:
        """Its code does not start, or is refused. False: there is no other that serves, so it must try on."""
        serving = next((one for one in reversed(self._generations) if one.switched and not one.retiring), None)
        if serving is None or generation.switched or generation.retiring:
            return False
        log.error("generation %d is given up, generation %d serves on", generation.number, serving.number)
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
        return registration_of(
            app=self._options.app,
            instance_id=self._instance_id,
            code_hash=f"{generation.code_hash}-{generation.number}" if generation.table else "",
            takeover=self._options.takeover,
            workers=self._options.worker.workers,
            pid=os.getpid(),
            table=generation.table,
            table_hash=generation.table_hash,
            framework=generation.framework,
        )

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
        self._expect_worker(None)
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

    def _expect_worker(self, generation: Generation | None) -> None:
        """The first worker must attach in time: a pool that nobody reaches is no start."""
        if self._attach_deadline is not None:
            self._attach_deadline.cancel()
            self._attach_deadline = None
        if generation is not None and not self._announced:
            self._attach_deadline = self._loop.call_later(_ATTACH_TIMEOUT, self._on_nobody_attached, generation)

    def _on_nobody_attached(self, generation: Generation) -> None:
        if self._announced or generation.ticket is None:
            return
        why = f" ({self._refusal})" if self._refusal else ""
        self._give_up(
            f"no worker has attached within {_ATTACH_TIMEOUT:g} s{why}: {generation.ticket.socket} must be the "
            "sidecar's socket here too (share its runtime directory with the app's container), for the same user"
        )

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
        self._expect_worker(generation)

    def _on_workers_ready(self, event: pb.WorkersReady) -> None:
        if not event.switched:
            return
        for generation in list(self._generations):
            ticket = generation.ticket
            if ticket is None or (ticket.epoch, ticket.generation) != (
                event.generation.boot_epoch,
                event.generation.number,
            ):
                continue
            fresh = not generation.switched
            generation.switched = True
            if fresh:
                what = f"{generation.target}, {generation.what}"
                self._files.tell(generation.number, run_files.SERVING, what)
                if self._announced:
                    log.info("generation %d has taken over: %s", generation.number, what)
                    if self._options.development:
                        log_lanes(generation)
            if not self._announced:
                self._announced = True
                self._expect_worker(None)
                self._spawn_task(self._announce(generation))
            for older in list(self._generations):
                if older.number < generation.number and not older.retiring:
                    self._retire(older, "superseded")

    def _on_recycle(self, event: pb.Recycle) -> None:
        log.warning("the sidecar asks for a new worker instead of pid %d: %s", event.pid, event.reason)
        if event.hard:
            for generation in self._generations:
                generation.kill(event.pid)

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
                self._expect_worker(None)  # They have attached. It is the operator's turn now.
                if not self._newest.switched:
                    self._files.tell(self._newest.number, run_files.FAILED, one.message)
            level = logging.ERROR if one.severity == common.SEVERITY_ERROR else logging.WARNING
            log.log(level, "%s %s: %s%s", one.code, one.path, one.message, f" ({one.hint})" if one.hint else "")

    # The sidecar, if it is ours...

    async def _keep_sidecar(self, sidecar: Sidecar) -> None:
        """Started again when it dies, with patience; never while we stop."""
        while True:
            began = time.monotonic()
            sidecar.start()
            code = await self._reaper.wait(sidecar.pid)
            sidecar.pid = 0
            self._changes.tell()
            if self._stop.is_set():
                return
            if code == 0:
                # It was told to drain, and has: `catzillactl drain`, or a signal that was meant for all of us.
                log.info("the sidecar has drained and left: leaving with it")
                self._leave_now()
                return
            if not self._announced and time.monotonic() - began < 10 and code >= 0:
                # It has said why: a taken port, a bad configuration. Trying again would say it again.
                log.error("the sidecar %s before it served: its message is above", _process.describe_exit(code))
                self._exit_code = code or 1
                self._stop.set()
                return
            lived = time.monotonic() - began
            self._sidecar_failures = 0 if lived > 20 else self._sidecar_failures + 1
            pause = _SIDECAR_BACKOFF[min(self._sidecar_failures, len(_SIDECAR_BACKOFF) - 1)]
            log.error("the sidecar %s, starting it again in %g s", _process.describe_exit(code), pause)
            await asyncio.sleep(pause)

    async def _announce(self, generation: Generation) -> None:
        status = await self._loop.run_in_executor(None, self._lease.status)
        log.info("%s", start_line(generation, status))
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
        sidecar = self._options.sidecar
        if sidecar is not None:
            self._reaper.signal(sidecar.pid, signal.SIGUSR1)

    async def _shut_down(self) -> None:
        sidecar = self._options.sidecar
        workers = self._options.worker
        if sidecar is not None and sidecar.pid:
            self._reaper.signal(sidecar.pid, signal.SIGTERM)
            await self._until_detached(_SIDECAR_GRACE)
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
            if sidecar is None or not sidecar.pid:
                task.cancel()
        if sidecar is not None:
            await self._bury(sidecar)
        for task in self._tasks:
            task.cancel()

    async def _until_detached(self, timeout: float) -> None:
        """Workers serve until the sidecar has said GOAWAY to all of them."""
        sidecar = self._options.sidecar
        deadline = time.monotonic() + timeout

        def over() -> bool:
            gone = sidecar is not None and not sidecar.pid
            return gone or self._impatient or not any(generation.attached for generation in self._generations)

        if sidecar is not None and await self._changes.until(lambda: over() or self._drains_since is not None, timeout):
            since = self._drains_since or time.monotonic()
            deadline = min(deadline, since + self._options.worker.drain_timeout)
        await self._changes.until(over, deadline - time.monotonic())

    async def _bury(self, sidecar: Sidecar) -> None:
        await self._changes.until(lambda: not sidecar.pid or self._impatient, _SIDECAR_GRACE)
        self._reaper.signal(sidecar.pid, signal.SIGKILL)
        sidecar.clean_up()

    # Reloading...

    def _refresh(self) -> None:
        """SIGHUP: fresh workers of the same code, or of what is there now if each imports it for itself."""
        if self._newest.switched and self._newest.refresh():
            log.info("SIGHUP: fresh workers")
        else:
            self._reload("SIGHUP")

    def _reload(self, why: str, one_try: bool = False) -> None:
        """Fresh workers with the code that is there now; the old ones serve until those do."""
        if not self._stop.is_set():
            log.info("%s: a new generation", why)
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
