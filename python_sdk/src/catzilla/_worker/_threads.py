"""Threads for routes that are synchronous all the way: one runs, the others help where it is held up.

    loop: submit()*, wake() --queue--> a thread runs until the queue is empty, then tells the loop, once per batch

Also for the synchronous parts of other routes: call() runs one of them, for a Task that waits.

A handler that is at work for more than a millisecond holds up nobody: the loop's watch takes the answers that are
ready and wakes another thread for what has not begun. There are as many threads as anyio's limit for its own pool
allows, and all but the first take its tokens: both together run no more than that.

Threads: submit(), wake(), close() and deliver() the loop's; _run() each thread's own. What they share are deques,
lists and an integer, each step of which is one operation under the GIL.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

import anyio.to_thread

from catzilla._text import log_exception

_claim: Any
try:  # What anyio's own threads have, so that from_thread.run() works on ours.
    from anyio._backends._asyncio import AsyncIOBackend
    from anyio._core._eventloop import claim_worker_thread
    from anyio._core._eventloop import threadlocals as _threadlocals

    _claim = partial(claim_worker_thread, AsyncIOBackend)
except ImportError:  # pragma: no cover (another anyio)
    _claim = nullcontext
    _threadlocals = threading.local()

log = logging.getLogger("catzilla.error")

_WATCH_S: Final = 0.001
_IDLE_S: Final = 10.0  # As anyio's.


class _Thread:
    __slots__ = ("has_token", "lock", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()  # Released by who wakes it.
        self.has_token = False
        self.thread: threading.Thread | None = None


class Threads:
    """One per worker process. Made by a task: where sniffio is installed, anyio finds its limit only in one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = anyio.to_thread.current_default_thread_limiter()
        self.collected: deque[Any] = deque()  # (function, three arguments) each, for the loop.
        self._loop = loop
        self._context = copy_context()  # Of no request: what threads and callbacks run in.
        self._jobs: deque[tuple[Any, Any, Any, tuple[Any, ...]]] = deque()
        self._all: list[_Thread] = []
        self._idle: list[_Thread] = []
        self._begun = 0  # Jobs, by any thread; read to see that something moves.
        self._told = False  # The loop has been asked to deliver.
        self._watching = False
        self._refused = False  # The system has given no thread, and it has been said.
        self._closed = False

    # The loop's...

    def submit(self, out: Any, stream: Any, run: Any, values: tuple[Any, ...]) -> None:
        self._jobs.append((out, stream, run, values))

    def call(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Runs it in a copy of the caller's context."""
        future = self._loop.create_future()
        self._jobs.append((None, future, self._run_call, (copy_context(), function)))
        self.wake()
        return future

    def wake(self) -> None:
        """After a batch of submit()s."""
        if not self._jobs:
            return
        if len(self._idle) == len(self._all):
            self._wake_one()
        if not self._watching:
            self._watching = True
            self._loop.call_later(_WATCH_S, self._watch, self._begun, context=self._context)

    def deliver(self) -> None:
        """Hands on what is ready."""
        self._told = False
        collected = self.collected
        while collected:
            function, what, value, more = collected.popleft()
            try:
                function(what, value, more)
            except Exception as error:  # One that fails keeps nothing from the others.
                log_exception(log, "the fast lane failed", error)

    def close(self) -> None:
        """Idle threads end; one that is at work ends after its job."""
        self._closed = True
        while self._idle:
            self._idle.pop().lock.release()

    def _watch(self, begun_before: int) -> None:
        self._watching = False
        if self.collected:
            self.deliver()
        moved = self._begun != begun_before
        if self._jobs and not moved:
            self._wake_one()
        self._return_tokens()
        if self._jobs or self.collected or (moved and len(self._idle) < len(self._all)):
            self._watching = True
            self._loop.call_later(_WATCH_S, self._watch, self._begun, context=self._context)

    def _wake_one(self) -> None:
        first = len(self._idle) == len(self._all)
        try:
            thread = self._idle.pop()
        except IndexError:
            if self._all and self._limiter.available_tokens < 1:
                return
            started = self._start()
            if started is None:
                return  # The watch tries again, as long as jobs wait.
            thread = started
        if not first and not thread.has_token:
            try:
                self._limiter.acquire_on_behalf_of_nowait(thread)
            except anyio.WouldBlock:
                self._idle.append(thread)
                return
            thread.has_token = True
        thread.lock.release()

    def _start(self) -> _Thread | None:
        """None: the system gives no thread now (a limit of processes, no memory)."""
        thread = _Thread()
        thread.thread = threading.Thread(
            target=self._context.copy().run,
            args=(self._run, thread),
            name=f"catzilla lane {len(self._all) + 1}",
            daemon=True,
        )
        try:
            thread.thread.start()
        except RuntimeError as error:
            if not self._refused:
                log.error("no thread for `def` routes: %s; they wait for one that is there", error)
            self._refused = True
            return None
        self._refused = False
        self._all.append(thread)
        return thread

    def _return_tokens(self) -> None:
        for thread in tuple(self._idle):
            if thread.has_token:
                thread.has_token = False
                self._limiter.release_on_behalf_of(thread)

    # Each thread's...

    def _run(self, me: _Thread) -> None:
        with _claim(self._loop):
            _threadlocals.current_cancel_scope = None  # For from_thread.check_cancelled().
            me.lock.acquire()
            while not self._closed:
                try:
                    job = self._jobs.popleft()
                except IndexError:
                    if not self._rest(me):
                        return
                    continue
                self._begun += 1
                self._do(*job)

    def _rest(self, me: _Thread) -> bool:
        """Until it is woken. False: it is not needed any more."""
        self.tell()
        self._idle.append(me)
        if me.has_token:  # Nobody watches any more: the loop's pool must not wait for the next request.
            self._on_loop(self._return_tokens)
        if self._closed:
            return False
        if self._jobs:  # Submitted since we looked: whoever takes us off the list sees to it.
            try:
                self._idle.remove(me)
            except ValueError:
                pass
            else:
                return True
        while not me.lock.acquire(timeout=_IDLE_S):
            if len(self._all) > 1 and not me.has_token and not self._jobs:
                try:
                    self._idle.remove(me)
                except ValueError:
                    continue  # Woken at this moment.
                self._all.remove(me)
                return False
        return True

    def tell(self) -> None:
        """What is ready must not wait for what this thread does next."""
        if self.collected and not self._told:
            self._told = True
            self._on_loop(self.deliver)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call, context=self._context)
        except RuntimeError:  # The loop has closed: nobody is left to be told.
            self._closed = True

    def _do(self, out: Any, stream: Any, run: Any, values: tuple[Any, ...]) -> None:
        if out is not None and stream.cancelled:
            out.drop(stream)
            return
        try:
            self._context.copy().run(run, out, stream, *values)
        except BaseException as error:  # It sees to those of the app itself.
            log_exception(log, "the fast lane failed", error)
            if out is not None:
                out.drop(stream)

    def _run_call(self, _: None, future: asyncio.Future[Any], context: Context, function: Callable[[], Any]) -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            self.collected.append((_set_outcome, future, None, error))
        else:
            self.collected.append((_set_outcome, future, result, None))


def _set_outcome(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
        return
    if isinstance(error, StopIteration):  # No Task could tell it from its own end.
        wrapped = RuntimeError("coroutine raised StopIteration")
        wrapped.__cause__ = error
        error = wrapped
    future.set_exception(error)
