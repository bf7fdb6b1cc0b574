"""Where every thread and every task of this process stands, innermost call first.

Any thread may ask. It needs the GIL and no more, so it is answered while a handler holds up the loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Final

from catzilla._text import describe, one_line

STACKS_BYTES_MAX: Final = 64 * 1024  # Of all lines together.
_FRAMES_MAX: Final = 64  # Of one stack.
_LINE_MAX: Final = 8 * 1024
_COUNT_BYTES: Final = 64  # Room for the line that counts what was left out.


def log_stacks(logger: logging.Logger, why: str, loop: asyncio.AbstractEventLoop) -> None:
    """Raises nothing, whatever the app has made of its logging; waits until the lines are out, if that is soon."""
    try:
        for line in stacks(loop):
            logger.error("%s; %s", why, line)
        for handler in logging.getLogger("catzilla").handlers:
            handler.flush()
    except BaseException:
        return  # Nobody can be told.


def stacks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """A line each: threads but the one that asks, then the tasks of `loop`. What is beyond the bound is counted."""
    return _bounded((one_line(f"{who}: {' < '.join(calls)}", _LINE_MAX) for who, calls in _all(loop)), STACKS_BYTES_MAX)


def dump(loop: asyncio.AbstractEventLoop, bytes_max: int = STACKS_BYTES_MAX) -> str:
    """The same as text for people, a call on each line. Raises nothing."""
    try:
        whole = ("\n    ".join(one_line(line, _LINE_MAX) for line in (who, *calls)) + "\n" for who, calls in _all(loop))
        return "".join(_bounded(whole, bytes_max - _COUNT_BYTES))
    except BaseException as error:
        return f"it cannot be told: {describe(error)}"


def _bounded(texts: Iterable[str], bytes_max: int) -> list[str]:
    kept: list[str] = []
    left, more = bytes_max, 0
    for text in texts:
        left -= len(text.encode())
        if left >= 0:
            kept.append(text)
        else:
            more += 1
    return [*kept, f"{more} more threads and tasks"] if more else kept


def _all(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, list[str]]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            yield f"thread {names.get(ident, ident)}", _calls(_callers(frame))
    try:
        tasks = asyncio.all_tasks(loop)
    except RuntimeError:  # They come and go too fast to be listed.
        return
    for task in tasks:
        yield f"task {task.get_name()}", _calls(reversed([*_awaited(task.get_coro())]))


def _calls(frames: Iterator[FrameType]) -> list[str]:
    return [
        f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
        for frame, _ in zip(frames, range(_FRAMES_MAX), strict=False)
    ]


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _awaited(coroutine: Any) -> Iterator[FrameType]:
    """From a coroutine to what it waits for. Task.get_stack() tells only the outermost."""
    while coroutine is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(coroutine, f"{kind}_frame")), None)
        if kind is None:
            return  # A future, or an awaitable that is not made of Python.
        frame = getattr(coroutine, f"{kind}_frame")
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
