"""One request as the link sees it, on a lane."""

from __future__ import annotations

from typing import Any

from catzilla._worker import _frames as frames
from catzilla._worker._frames import FLAG_END, Request


class Stream:
    """`exchange` belongs to whoever answers it."""

    peer_ended = False  # The sidecar's END or CANCEL has been seen.
    ended = False  # Ours has been sent.
    cancelled = False  # CANCEL was seen: our END waits for the handler and says so.
    settled = False  # The handler has returned.
    detached = False  # Answered before that: its credit goes back on its own.
    unreturned = 0  # Body bytes consumed, whose window we still hold.
    upgrade = False  # It is to become a socket.
    accepted = False  # And has.
    fallback = frames.FALLBACK_NONE  # Why not the lane of its route.
    exchange: Any = None
    task: Any = None  # The Task of who answers it, once it waits.
    _request: Request | None = None

    def __init__(self, stream_id: int, payload: bytes, flags: int, room: int) -> None:
        self.id = stream_id
        self.payload = payload  # Of the REQUEST.
        self.peer_ended = bool(flags & FLAG_END)
        self.room = room  # Answer bytes the sidecar still takes.

    @property
    def request(self) -> Request:
        """Raises FrameError if the payload is none; then the lane is to be failed."""
        request = self._request
        if request is None:
            request = self._request = Request(self.payload)
        return request

    def __repr__(self) -> str:
        return f"<Stream {self.id} {self.request!r}{' cancelled' if self.cancelled else ''}>"
