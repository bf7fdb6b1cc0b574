"""Tasks for what runs on the event loop: one takes requests one after another, until one of them waits.

    submit()*, wake() --queue--> a Task runs request by request; most end without ever waiting
                                   |-- one waits: the Task is its own from then on, another goes on with the queue
                                   |-- one has changed its context, or asked to be cancelled: likewise, when it ends

A Task costs more than many a handler. Handlers cannot tell the difference: whoever waits has a Task that nobody else
shares from then on, and each begins with the context of no request. Kinds of requests that have waited get Tasks of
their own for a while, for a Task that is left behind costs a turn of the loop to those behind it.

Threads: the loop's.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, Final, TypeAlias

Run: TypeAlias = Coroutine[Any, Any, None]

# An eager first step saves a turn of the loop; 3.11 has none.
EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_ALONE: Final = 64


class Pace:
    """Of one kind of request: whether it is likely to wait."""

    __slots__ = ("alone",)

    def __init__(self) -> None:
        self.alone = 0  # So many of the next ones get a Task each.


class Tasks:
    """Of one lane. `drop(stream)` is told of requests whose client has gone before they were begun.

    Streams hold the Tasks of those that wait (`stream.task`), for the loop itself holds them weakly.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, drop: Callable[[Any], None]) -> None:
        self._loop = loop
        self._drop = drop
        self._context = copy_context()  # Of no request.
        self._queue: deque[tuple[Run, Any, Pace]] = deque()
        self._task: asyncio.Task[None] | None = None  # At the queue.
        self._number = 0  # Of the Task that is at the queue.
        self._at: Any = None  # The stream that Task is at, and its pace.

    def submit(self, run: Run, stream: Any, pace: Pace) -> None:
        """`run` must not raise, and is never begun if `stream.cancelled` when its time comes."""
        if pace.alone:
            pace.alone -= 1
            stream.task = asyncio.Task(run, loop=self._loop, context=self._context.copy(), **EAGER)
        else:
            self._queue.append((run, stream, pace))

    def cancelled(self, stream: Any) -> None:
        """Its client has gone. What has begun goes on; what is queued sees to it itself."""
        task = stream.task
        if task is not None and not task.done() and getcoroutinestate(task.get_coro()) == CORO_CREATED:
            task.cancel()
            self._drop(stream)

    def wake(self) -> None:
        """After a batch of submit()s."""
        if self._queue and self._task is None:
            self._start()

    def _start(self) -> None:
        while self._queue:
            coroutine = self._take(self._number)
            self._task = asyncio.Task(coroutine, loop=self._loop, context=self._context.copy(), **EAGER)
            if not EAGER:
                self._loop.call_soon(self._after, context=self._context)  # Behind its first step.
                return
            self._look()

    def _after(self) -> None:
        self._look()
        self._start()

    def _look(self) -> None:
        """The Task has taken its first step."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            self._number += 1
            stream, pace = self._at
            stream.task = task
            pace.alone = _ALONE
            behind, self._queue = self._queue, deque()
            for run, stream, pace in behind:  # Those of its kind will wait, too.
                if not self._is_dropped(run, stream):
                    self.submit(run, stream, pace)

    def _is_dropped(self, run: Run, stream: Any) -> bool:
        if not (stream.cancelled or stream.settled):
            return False
        run.close()
        self._drop(stream)
        return True

    async def _take(self, number: int) -> None:
        me: Any = asyncio.current_task()
        context = self._context
        while self._queue:
            run, stream, pace = self._queue.popleft()
            self._at = stream, pace
            if self._is_dropped(run, stream):
                continue
            await run
            if number != self._number or me.cancelling() or _differ(context):
                return


def _differ(context: Any) -> bool:
    """Whether the running context is no longer as that one. Contexts that are the same are told at once."""
    try:
        return bool(copy_context() != context)
    except Exception:  # A value of somebody's that cannot be compared.
        return True
