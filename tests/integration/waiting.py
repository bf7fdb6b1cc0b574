"""Waiting, in one place: for a state of another process, or for time itself.

`tests/tidy` allows no other sleep, so that nobody waits so and so long for what may take longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LOOKS_EVERY = 0.02


def eventually(
    what: Callable[[], object], seconds: float = 10.0, told: Callable[[], str] = str
) -> None:
    """Returns when `what` is true; fails with what `told` says when it is not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"it did not happen in {seconds:g} s {told()}"
        time.sleep(LOOKS_EVERY)


def pause(seconds: float) -> None:
    """Time is what the test gives: a reader who rests, a client who says nothing. Never to wait for something."""
    time.sleep(seconds)
