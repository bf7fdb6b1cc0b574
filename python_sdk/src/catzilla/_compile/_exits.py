"""The exit stacks of a request whose code takes the Request, and so may put something onto them itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio.from_thread
import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from starlette.requests import Request


def exit_in_thread(manager: Any) -> Callable[..., Any]:
    async def leave(*what: Any) -> bool:
        # A limit of its own, as FastAPI has it: an exit that waits for a free thread could wait for itself.
        with CancelScope(shield=True):
            return bool(await anyio.to_thread.run_sync(manager.__exit__, *what, limiter=CapacityLimiter(1)))
        raise AssertionError("a shield swallows nothing")

    return leave


class _Ours:
    """As a callback of the stack: a context manager that the compiled route has entered."""

    def __init__(self, manager: Any) -> None:
        self.manager = manager

    def __call__(self, *what: Any) -> Awaitable[Any]:
        leave = getattr(self.manager, "__aexit__", None) or exit_in_thread(self.manager)
        return leave(*what)  # type: ignore[no-any-return]


class _Theirs:
    """As a context manager: a callback that the app has pushed. It belongs to the loop."""

    def __init__(self, synchronous: bool, callback: Callable[..., Any]) -> None:
        self._synchronous = synchronous
        self._callback = callback

    async def __aexit__(self, *what: Any) -> bool:
        result = self._callback(*what)
        return bool(result if self._synchronous else await result)

    def __exit__(self, *what: Any) -> bool:
        return bool(anyio.from_thread.run(self.__aexit__, *what))


class Exits(AsyncExitStack):
    """For the compiled route a list of context managers, for the app the stack that FastAPI has in the scope."""

    _exit_callbacks: Any
    beneath: Exits | None = None  # Left behind it.

    def append(self, manager: Any) -> None:
        self._exit_callbacks.append((False, _Ours(manager)))

    def pop(self) -> Any:
        if not self._exit_callbacks and self.beneath is not None:
            return self.beneath.pop()
        return _manager_of(*self._exit_callbacks.pop())

    def __bool__(self) -> bool:
        return bool(self._exit_callbacks) or bool(self.beneath)

    def take(self) -> Iterator[Any]:
        """All of its own, the first one first: another stack leaves them."""
        while self._exit_callbacks:
            yield _manager_of(*self._exit_callbacks.popleft())


def _manager_of(synchronous: bool, callback: Any) -> Any:
    return callback.manager if type(callback) is _Ours else _Theirs(synchronous, callback)


def with_exits(request: Request, inner: Exits, outer: Exits) -> Request:
    scope = request.scope
    scope["fastapi_inner_astack"], scope["fastapi_function_astack"] = outer, inner
    if "fastapi_middleware_astack" not in scope:  # In the stack lane there is the app's own.
        scope["fastapi_middleware_astack"] = outer.beneath = Exits()
    return request


def taken(managers: Any) -> list[Any]:
    return list(managers.take() if isinstance(managers, Exits) else managers)
