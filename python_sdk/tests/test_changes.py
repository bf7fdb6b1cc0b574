"""Waiting for a state: it ends with the change itself, or with its time."""

from __future__ import annotations

import asyncio

from worker_harness import run

from catzilla._master._changes import Changes


def test_what_is_met_already_is_not_waited_for() -> None:
    async def script() -> None:
        assert await Changes().until(lambda: True, 0)
        assert not await Changes().until(lambda: False, 0)

    run(script())


def test_a_change_is_seen_by_all_who_wait_and_others_are_waited_out() -> None:
    async def script() -> None:
        changes = Changes()
        state: list[str] = []

        async def wait(word: str) -> bool:
            return await changes.until(lambda: word in state, 20)

        waiting = [asyncio.create_task(wait(word)) for word in ("first", "second", "first")]
        await asyncio.sleep(0)
        state.append("first")
        changes.tell()
        assert await waiting[0]
        assert await waiting[2]
        assert not waiting[1].done()
        state.append("second")
        changes.tell()
        assert await waiting[1]

    run(script())
