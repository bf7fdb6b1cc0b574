"""Tasks that answer one request after another: nobody can tell that he shares one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from catzilla._worker._tasks import Pace, Tasks

pytestmark = pytest.mark.anyio
_VARIABLE: ContextVar[str] = ContextVar("catzilla_test", default="nobody's")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Stream:
    def __init__(self, *, cancelled: bool = False) -> None:
        self.cancelled = cancelled
        self.settled = False
        self.task: asyncio.Task[None] | None = None


class _Rig:
    """Requests, and what they have seen: the Task and the context's value, by name."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, str]] = {}
        self.held: list[asyncio.Task[Any] | None] = []  # So that no Task gets the id of another.
        self.dropped: list[_Stream] = []
        self.tasks = Tasks(asyncio.get_running_loop(), self.dropped.append)
        self.pace = Pace()

    async def request(self, name: str, then: Callable[[], Awaitable[Any] | None] = lambda: None) -> None:
        task = asyncio.current_task()
        self.held.append(task)
        self.seen[name] = (id(task), _VARIABLE.get())
        waiting = then()
        if waiting is not None:
            await waiting
            assert asyncio.current_task() is task

    def submit(self, run: Coroutine[Any, Any, None], *, cancelled: bool = False, pace: Pace | None = None) -> None:
        self.tasks.submit(run, _Stream(cancelled=cancelled), pace or self.pace)

    def task_of(self, name: str) -> int:
        return self.seen[name][0]

    async def serve(self) -> None:
        self.tasks.wake()
        await _turns()


async def _turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_requests_that_do_not_wait_share_a_task() -> None:
    rig = _Rig()
    for name in "abc":
        rig.submit(rig.request(name))
    await rig.serve()
    assert rig.task_of("a") == rig.task_of("b") == rig.task_of("c")
    rig.submit(rig.request("later"))
    await rig.serve()
    assert "later" in rig.seen


async def test_who_waits_holds_up_nobody_and_has_its_task_alone() -> None:
    rig, gate = _Rig(), asyncio.Event()
    rig.submit(rig.request("first"))
    rig.submit(rig.request("waits", gate.wait))
    rig.submit(rig.request("behind"))
    await rig.serve()
    assert rig.task_of("behind") != rig.task_of("waits"), "it was answered while the other waits"
    gate.set()
    await _turns()
    rig.submit(rig.request("later"), pace=Pace())
    await rig.serve()
    assert rig.task_of("later") != rig.task_of("waits")


async def test_what_was_cancelled_behind_one_that_waits_is_never_begun() -> None:
    rig, gate = _Rig(), asyncio.Event()
    rig.submit(rig.request("waits", gate.wait))
    rig.submit(rig.request("gone"), cancelled=True)
    rig.submit(rig.request("here"))
    await rig.serve()
    assert "gone" not in rig.seen
    assert len(rig.dropped) == 1
    assert "here" in rig.seen
    gate.set()
    await _turns()


async def test_a_kind_that_has_waited_gets_tasks_of_its_own_for_a_while() -> None:
    rig = _Rig()
    rig.submit(rig.request("waits", lambda: asyncio.sleep(0)))
    await rig.serve()
    for name in ("a", "b"):
        rig.submit(rig.request(name))
    for name in ("other a", "other b"):
        rig.submit(rig.request(name), pace=Pace())
    await rig.serve()
    assert rig.task_of("a") != rig.task_of("b")
    assert rig.task_of("other a") == rig.task_of("other b")
    for at in range(100):
        rig.submit(rig.request(f"many {at}"))
    await rig.serve()
    assert rig.task_of("many 98") == rig.task_of("many 99")


async def test_context_of_one_request_is_not_the_next_ones() -> None:
    rig = _Rig()

    def set_it() -> None:
        _VARIABLE.set("mine")

    rig.submit(rig.request("sets", set_it))
    rig.submit(rig.request("next"))
    rig.submit(rig.request("over next"))
    await rig.serve()
    assert [rig.seen[name][1] for name in ("sets", "next", "over next")] == ["nobody's"] * 3
    assert rig.task_of("sets") != rig.task_of("next") == rig.task_of("over next")


async def test_context_values_that_cannot_be_compared() -> None:
    class Strange:
        def __eq__(self, other: object) -> bool:
            raise ValueError("not comparable")

        __hash__ = None  # type: ignore[assignment]

    variable: ContextVar[Any] = ContextVar("catzilla_test_strange")
    variable.set(Strange())
    rig = _Rig()

    def set_it() -> None:
        variable.set(Strange())

    rig.submit(rig.request("sets", set_it))
    rig.submit(rig.request("next"))
    await rig.serve()
    assert rig.task_of("sets") != rig.task_of("next")


async def test_who_cancels_its_own_task_cancels_nobody_else() -> None:
    rig = _Rig()

    def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    rig.submit(rig.request("cancels", cancel))
    rig.submit(rig.request("next", lambda: asyncio.sleep(0)))
    await rig.serve()
    assert rig.task_of("cancels") != rig.task_of("next")
    assert rig.held[-1] is not None
    assert not rig.held[-1].cancelled()


@pytest.mark.parametrize("alone", [0, 1])
async def test_what_was_cancelled_before_its_time_is_never_begun(alone: int) -> None:
    rig, pace = _Rig(), Pace()
    pace.alone = alone
    gone = _Stream(cancelled=not alone)
    rig.tasks.submit(rig.request("gone"), gone, pace)
    rig.tasks.cancelled(gone)
    rig.submit(rig.request("here"), pace=pace)
    await rig.serve()
    assert "gone" not in rig.seen
    assert len(rig.dropped) == 1
    assert "here" in rig.seen


async def test_one_that_fails_keeps_nothing_from_the_others() -> None:
    rig = _Rig()
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    def fail() -> None:
        raise KeyError

    rig.submit(rig.request("fails", fail))
    rig.submit(rig.request("next"))
    await rig.serve()
    assert "next" in rig.seen
