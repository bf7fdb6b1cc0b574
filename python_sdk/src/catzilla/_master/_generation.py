"""One generation of workers: the same code, imported once, in as many processes as asked for.

    loading --zygote loaded, or no zygote--> starting --first table--> registered --switched--> serving
       \\--import failed: backoff, a new zygote           any --a newer one has taken over--> retiring --> gone

A place is one of the generation's worker slots; it is refilled when its process dies or is recycled, always
with this generation's code.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from catzilla._master import _process
from catzilla._master._changes import Changes
from catzilla._master._messages import Channel, Message
from catzilla._settings import FASTAPIS_OWN, Ticket, WorkerSettings
from catzilla._text import last_lines

log = logging.getLogger("catzilla.master")

# Pauses before the next try; a process that lived for _STEADY seconds starts the row anew.
_BACKOFF: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY: Final = 20.0
_KILL_GRACE: Final = 5.0
_GROUP_SIGNAL: Final = 0.2  # From a worker's SIGTERM to ours, if it went to the whole group.
_LAST_WORDS: Final = 1.0
_GOAWAY_FOR_GOOD: Final = 0
_TRACEBACK_MAX: Final = 16 * 1024  # Bytes of what `worker ls` shows.


@dataclass(eq=False, slots=True)
class WorkerProc:
    """One process in a place."""

    index: int
    channel: Channel
    pid: int = 0
    state: str = "starting"  # starting, ready, attached, draining
    started: float = field(default_factory=time.time)
    successor: bool = False  # Started while its predecessor still serves.
    error: str = ""
    traceback: str = ""  # Of `error`, in bounds and printable.
    watched: bool = False  # Its exit is awaited.

    def stop(self, reason: str, drain_timeout: float | None = None) -> None:
        """Without a time the settings' holds."""
        if self.state != "draining":
            self.state = "draining"
            self.channel.send(type="stop", code=_GOAWAY_FOR_GOOD, reason=reason, drain_timeout=drain_timeout)


@dataclass(slots=True)
class Place:
    restarts: int = 0
    failures: int = 0  # In a row, for the backoff.
    last_error: str = ""
    last_traceback: str = ""


class GenerationEvents:
    """What the supervisor hears. All of it comes from the loop."""

    def on_table(self, generation: Generation) -> None: ...
    def on_changed(self, generation: Generation) -> None: ...
    def on_refused(self, generation: Generation, code: int, reason: str) -> None: ...
    def on_failed(self, generation: Generation, error: str, details: str) -> None: ...


class Generation:
    def __init__(
        self,
        number: int,
        settings: WorkerSettings,
        reaper: _process.Reaper,
        events: GenerationEvents,
        *,
        one_try: bool = False,
    ) -> None:
        self.number = number
        self.one_try = one_try  # If its code does not start, what serves goes on, and this one is given up.
        self.settings = settings
        self.table: dict[str, Any] | None = None
        self.table_hash = ""
        self.code_hash = ""
        self.framework = ""
        self.target = settings.target  # With what a worker has found in the file, once it has.
        self.docs = ""  # The path of the documentation's page.
        self.ticket: Ticket | None = None
        self.switched = False
        self.retiring = False
        self.leaving = False  # The master leaves: what dies now is not replaced.
        self.preload_reason = (
            "one worker needs none" if settings.workers == 1 else "" if settings.preload else "--no-preload"
        )
        self.error = ""  # Why it does not start...
        self.traceback = ""  # ...and where that was raised, in bounds and printable.
        self.workers: list[WorkerProc] = []
        self.places = [Place() for _ in range(settings.workers)]
        self._reaper = reaper
        self._events = events
        self._zygote: Channel | None = None
        self._zygote_pid = 0
        self._zygote_failures = 0
        self._exits = Changes()
        self._tasks: set[asyncio.Task[None]] = set()

    # Its life...

    def start(self) -> None:
        if self.preload_reason:
            for index in range(self.settings.workers):
                self._spawn(index)
        else:
            self._start_zygote()

    def attach(self, ticket: Ticket) -> None:
        """The registration holds: every worker may attach, and later ones as they come."""
        self.ticket = ticket
        for worker in self.workers:
            if worker.state in ("ready", "attached"):
                worker.channel.send(type="attach", ticket=asdict(ticket))

    def stop_respawning(self) -> None:
        """The master leaves. Workers serve on; whoever dies, by the same signal perhaps, stays away."""
        self.leaving = True

    def retire(self, reason: str, drain_timeout: float | None = None) -> None:
        """No more respawns; what runs is finished."""
        if not self.retiring:
            self.retiring = True
            self._close_zygote()
            for worker in self.workers:
                worker.stop(reason, drain_timeout)

    def refresh(self) -> bool:
        """A successor for every worker, of the same code. False: there is nobody to fork them from."""
        if self._zygote is None or self._over:
            return False
        for index in range(self.settings.workers):
            self._spawn(index, successor=True)
        return True

    def hold(self, seconds: float) -> None:
        """Requests wait for what comes, if that is soon."""
        for worker in self.workers:
            if worker.state == "attached":
                worker.channel.send(type="hold", seconds=seconds)

    def release(self) -> None:
        for worker in self.workers:
            if worker.state == "attached":
                worker.channel.send(type="release")

    def recycle(self, pid: int, reason: str) -> bool:
        """A successor for one of ours, with this generation's code. False: it is none of ours."""
        for worker in self.workers:
            if worker.pid == pid and worker.state != "draining":
                successor = self._successor_of(worker)
                if successor is None:
                    self._on_recycle(worker, reason)
                return True
        return False

    def _successor_of(self, worker: WorkerProc) -> WorkerProc | None:
        return next(
            (
                other
                for other in self.workers
                if other.index == worker.index and other.state != "draining" and other.started > worker.started
            ),
            None,
        )

    async def stopped(self, timeout: float) -> None:
        """Waits until every worker has gone; kills what is left when time is up."""
        while not await self._exits.until(lambda: not self.workers, timeout):
            for worker in self.workers:
                log.warning("worker %d (pid %d) does not leave: killed", worker.index, worker.pid)
                self._reaper.signal(worker.pid, signal.SIGKILL)
            timeout = _KILL_GRACE
        for task in self._tasks:
            task.cancel()

    def kill(self, pid: int) -> None:
        """In a moment: the sidecar has told the process too, whose control thread logs where it stands."""
        for worker in self.workers:
            if worker.pid == pid:
                worker.error = "killed: it passed the hard deadline of a request"
                asyncio.get_running_loop().call_later(_LAST_WORDS, self._reaper.signal, pid, signal.SIGKILL)

    def is_known_as(self, epoch: int, number: int) -> bool:
        """To the sidecar."""
        return self.ticket is not None and (self.ticket.epoch, self.ticket.generation) == (epoch, number)

    @property
    def is_page(self) -> bool:
        """It serves the error of another one."""
        return self.settings.error_page is not None

    @property
    def attached(self) -> int:
        return sum(1 for worker in self.workers if worker.state == "attached")

    @property
    def crashes(self) -> int:
        """In a row, of whatever imports the app."""
        return max(self._zygote_failures, *(place.failures for place in self.places))

    @property
    def own_routes(self) -> list[dict[str, Any]]:
        """The app's, without those that FastAPI adds to every app (its documentation)."""
        routes = self.table["routes"] if self.table is not None else []
        return [route for route in routes if not route["endpoint"].startswith(FASTAPIS_OWN)]

    @property
    def lanes(self) -> dict[str, int]:
        """How many of the app's routes take which."""
        lanes = [route["lane"] for route in self.own_routes]
        return {lane: lanes.count(lane) for lane in ("fast", "stack", "slow")}

    @property
    def what(self) -> str:
        """Its workers and its lanes, for people."""
        if self.is_page:
            return "the error of its code, which does not start"
        workers = self.settings.workers
        counts = ", ".join(f"{count} {lane}" for lane, count in self.lanes.items())
        return f"{workers} worker{'s' if workers > 1 else ''}; lanes: {counts}"

    @property
    def last_words(self) -> str:
        return self.error or next((place.last_error for place in self.places if place.last_error), "")

    # The zygote...

    @property
    def _over(self) -> bool:
        return self.retiring or self.leaving

    def _start_zygote(self) -> None:
        if self._over:
            return
        ours, theirs = _process.socket_pair()
        self._zygote_pid = _process.start_python("catzilla._master._zygote", theirs, self.settings.encode())
        self._zygote = Channel(ours)
        self._zygote.listen(self._on_zygote, self._on_zygote_gone)

    def _on_zygote(self, message: Message) -> None:
        if message["type"] == "failed":
            self._failed(message["error"], message["details"])
            return
        self._zygote_failures, self.error, self.traceback = 0, "", ""
        self.preload_reason = message["reason"]
        if not message["preload"]:
            log.info("the app is not preloaded: %s", message["reason"])
            self._close_zygote()
        for index in range(self.settings.workers):
            if not any(worker.index == index for worker in self.workers):
                self._spawn(index)

    def _on_zygote_gone(self) -> None:
        """Its workers live on. A new one is started when it is needed for the next fork, or now if it failed."""
        self._zygote = None
        self._spawn_task(self._after_zygote(self._zygote_pid))

    async def _after_zygote(self, pid: int) -> None:
        code = await self._reaper.wait(pid)
        if self._over or self.preload_reason:
            return
        if code < 0 or not self.error:
            self.error, self.traceback = f"the process that imports it {_process.describe_exit(code)}", ""
            log.warning("%s, starting another", self.error)
        pause = _BACKOFF[min(self._zygote_failures, len(_BACKOFF) - 1)]
        self._zygote_failures += 1
        self._events.on_changed(self)
        await asyncio.sleep(pause)
        if self._zygote is None:
            self._start_zygote()

    def _close_zygote(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
            self._spawn_task(self._reap(self._zygote_pid))

    async def _reap(self, pid: int) -> None:
        await self._reaper.wait(pid)

    # Workers...

    def _spawn(self, index: int, *, successor: bool = False) -> None:
        if self._over:
            return
        ours, theirs = _process.socket_pair()
        pid = 0  # Of a forked one: it says it itself.
        if self.preload_reason:
            note = f"not preloaded: {self.preload_reason}"
            pid = _process.start_python("catzilla._worker", theirs, str(index), note, self.settings.encode())
        elif self._zygote is not None:
            socket.send_fds(self._zygote.socket, [json.dumps({"index": index}).encode()], [theirs.fileno()])
            theirs.close()
        else:  # It is coming; it fills every empty place.
            ours.close()
            theirs.close()
            return
        worker = WorkerProc(index, Channel(ours), pid, successor=successor)
        self.workers.append(worker)
        worker.channel.listen(lambda message: self._on_worker(worker, message), lambda: self._on_channel_closed(worker))
        if pid:
            self._watch(worker)
        self._events.on_changed(self)

    def _on_worker(self, worker: WorkerProc, message: Message) -> None:
        kind = message["type"]
        if kind == "started":
            worker.pid = message["pid"]
            self._watch(worker)
        elif kind == "ready":
            self._on_ready(worker, message)
        elif kind == "attached":
            worker.state = "attached" if worker.state != "draining" else worker.state
            self.places[worker.index].failures = 0
            self._relieve(worker)
        elif kind == "detached":
            if worker.state == "attached":
                worker.state = "ready"
        elif kind == "refused":
            self._events.on_refused(self, message["code"], message["reason"])
        elif kind == "recycle":
            self._on_recycle(worker, message["reason"])
        elif kind == "changed":
            self._on_app_changed()
        elif kind == "failed":
            worker.error = message["error"]
            worker.traceback = last_lines(message["details"], _TRACEBACK_MAX)
            self._failed(message["error"], message["details"])
        self._events.on_changed(self)

    def _on_app_changed(self) -> None:
        """It has routes that its table does not know, in one process at least: what is unmatched is its own now."""
        if self.table is not None and self.table["unmatched"] == "sidecar" and not self.retiring:
            log.info("the app has changed since it was registered: it answers for unknown paths itself from now on")
            self.table["unmatched"] = "app"
            self._events.on_table(self)

    def _on_recycle(self, worker: WorkerProc, reason: str) -> None:
        def replace() -> None:
            if not self._over and worker in self.workers:
                log.info("worker %d (pid %d) is recycled: %s", worker.index, worker.pid, reason)
                self._spawn(worker.index, successor=True)

        # A signal to the whole process group reaches a worker before we hear of our own.
        asyncio.get_running_loop().call_later(_GROUP_SIGNAL if reason == "SIGTERM" else 0, replace)

    def _watch(self, worker: WorkerProc) -> None:
        """A process has ended when the kernel says so. Its channel proves nothing: a child of it may hold the end."""
        if not worker.watched:
            worker.watched = True
            self._spawn_task(self._on_worker_gone(worker))

    def _on_channel_closed(self, worker: WorkerProc) -> None:
        if not worker.watched:  # Forked, and gone before it could say its pid.
            worker.watched = True
            self._spawn_task(self._on_worker_gone(worker))

    def _on_ready(self, worker: WorkerProc, message: Message) -> None:
        if worker.state == "draining":
            return  # Its time was over before it was ready: nothing of it is registered.
        self.error = self.traceback = ""
        if self.table is None:
            self.table, self.table_hash = message["table"], message["hash"]
            self.code_hash, self.framework = message["code_hash"], message["framework"]
            self.target, self.docs = message["target"], message["docs"]
            worker.state = "ready"
            self._events.on_table(self)
            return
        if message["hash"] != self.table_hash:
            worker.error = "its route table differs from its siblings'; are routes made from something random?"
            log.error("worker %d (pid %d): %s", worker.index, worker.pid, worker.error)
            worker.stop(worker.error)
            return
        worker.state = "ready"
        if self.ticket is not None:
            worker.channel.send(type="attach", ticket=asdict(self.ticket))

    def _relieve(self, successor: WorkerProc) -> None:
        """The predecessors of a place leave once their successor serves."""
        for worker in self.workers:
            if worker.index == successor.index and worker is not successor and worker.started <= successor.started:
                worker.stop("recycled")
                late = self.settings.drain_timeout + _KILL_GRACE
                asyncio.get_running_loop().call_later(late, self._kill_late, worker)

    def _kill_late(self, worker: WorkerProc) -> None:
        """One that is stopped, or whose GIL is held, hears nothing."""
        if worker in self.workers:
            log.warning("worker %d (pid %d) does not leave: killed", worker.index, worker.pid)
            self._reaper.signal(worker.pid, signal.SIGKILL)

    async def _on_worker_gone(self, worker: WorkerProc) -> None:
        code = await self._reaper.wait(worker.pid) if worker.pid else 1
        self.workers.remove(worker)
        self._exits.tell()
        self._events.on_changed(self)
        await worker.channel.drained(_LAST_WORDS)  # What it said last may be why.
        worker.channel.close()
        place = self.places[worker.index]
        expected = worker.state == "draining" or self._over
        others = [other for other in self.workers if other.index == worker.index and other.state != "draining"]
        if not expected:
            lived = time.time() - worker.started
            place.restarts += 1
            place.last_error = worker.error or f"worker {worker.index} {_process.describe_exit(code)}"
            place.last_traceback = worker.traceback
            place.failures = 0 if lived > _STEADY else place.failures + 1
            if code != 0 or worker.error:
                log.warning("worker %d (pid %d) %s", worker.index, worker.pid, _process.describe_exit(code))
        self._events.on_changed(self)
        if self._over or others:
            return
        await asyncio.sleep(_BACKOFF[min(max(place.failures - 1, 0), len(_BACKOFF) - 1)])
        if not any(other.index == worker.index and other.state != "draining" for other in self.workers):
            self._spawn(worker.index)

    def _failed(self, error: str, details: str) -> None:
        fresh = error != self.error
        self.error, self.traceback = error, last_lines(details, _TRACEBACK_MAX)
        if fresh:  # Once: the tries that follow say the same.
            self._events.on_failed(self, error, details)
        self._events.on_changed(self)

    def _spawn_task(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def __repr__(self) -> str:
        return f"<Generation {self.number} workers={len(self.workers)} attached={self.attached}>"
