"""How a request of a test's client reaches the app: as frames in memory, or over HTTP through a sidecar."""

from __future__ import annotations

from typing import Any

from fake_link import StreamFailed
from frames_mode import FramesAnswer, FramesServing
from transport import Asked, Mode, Servings, on

_PORTS = {"http": 80, "https": 443}


class PortalAnswer:
    """A FramesAnswer, asked from the client's thread."""

    def __init__(self, portal: Any, answer: FramesAnswer) -> None:
        self.status, self.fields = answer.status, answer.fields
        self._portal = portal
        self._answer = answer

    def chunk(self) -> bytes:
        chunk: bytes = on(self._portal, self._answer.chunk)
        return chunk

    def finish(self) -> list[BaseException]:
        failures: list[BaseException] = on(self._portal, self._answer.finish)
        return failures


class FramesMode:
    def __init__(self, lanes: str) -> None:
        self._servings = Servings(lambda app, state: FramesServing(app, state, lanes))

    def ask(self, transport: Any, portal: Any, request: Any) -> PortalAnswer:
        serving = on(portal, self._servings.get, portal, transport.app, transport.app_state)
        url = request.url
        try:
            answer = on(
                portal,
                serving.ask,
                request.method,
                url.scheme,
                url.raw_path,
                [(name.lower(), value) for name, value in request.headers.raw],
                request.read(),
                transport.root_path,
                transport.client,
                (url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]),
            )
        except StreamFailed:
            raise Asked(on(portal, serving.worker.quiet)) from None
        return PortalAnswer(portal, answer)

    def socket(self, transport: Any, portal: Any, request: Any) -> None:
        """The frames of a lane have no client of WebSockets here."""

    def leave(self, portal: Any) -> None:
        on(portal, self._servings.leave, portal)

    def close(self) -> None:
        """All of it lives on loops that are left."""


def make_mode(name: str, lanes: str) -> Mode:
    if name == "live":
        from live_mode import LiveMode

        return LiveMode(lanes)
    return FramesMode(lanes)
