"""The first worker must attach in time: a pool that nobody reaches is no start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from catzilla._master._generation import Generation

_TIMEOUT: Final = 10.0  # From the first registration to the first worker; it takes milliseconds.


class FirstWorker:
    """Once one has been there it is over for good. `give_up` gets a sentence with its remedy."""

    def __init__(self, give_up: Callable[[str], None]) -> None:
        self.refusal = ""  # Why the last one could not attach.
        self._give_up = give_up
        self._deadline: asyncio.TimerHandle | None = None
        self._over = False

    def expect(self, generation: Generation) -> None:
        self.wait_no_more()
        if not self._over:
            self._deadline = asyncio.get_running_loop().call_later(_TIMEOUT, self._on_nobody, generation)

    def wait_no_more(self) -> None:
        """For now: the registration has been lost, or it is somebody else's turn."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def come(self) -> None:
        self._over = True
        self.wait_no_more()

    def _on_nobody(self, generation: Generation) -> None:
        if generation.ticket is None:
            return
        why = f" ({self.refusal})" if self.refusal else ""
        self._give_up(
            f"no worker has attached within {_TIMEOUT:g} s{why}: {generation.ticket.socket} must be the "
            "sidecar's socket here too (share its runtime directory with the app's container), for the same user"
        )
