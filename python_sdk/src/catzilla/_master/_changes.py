"""Waiting for a state that several things may bring about, without asking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Whoever changes something that may be waited for says so with tell(); until() then looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()

    async def until(self, met: Callable[[], bool], timeout: float) -> bool:
        """False: it is not met, and so many seconds have passed."""
        try:
            async with asyncio.timeout(timeout):
                while not met():
                    self._event.clear()
                    await self._event.wait()
        except TimeoutError:
            return met()
        return True
