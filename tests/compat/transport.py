"""What stands under Starlette's TestClient in place of its own transport.

A client that is entered has a loop of its own, on which the app's lifespan has run; all others share one loop, as
the apps of a worker process do. Loops that are not asyncio's keep the genuine transport, and so do WebSockets where
there is no sidecar.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import anyio.from_thread
from fake_link import StreamFailed
from recording import Recording, Stream
from starlette import testclient
from watched import Serving

httpx: Any = testclient.httpx  # type: ignore[attr-defined]
Genuine: Any = testclient._TestClientTransport


class Answer(Protocol):
    """`chunk` b"": that was all. `finish`: the client is done with it; what handlers raised."""

    status: int
    fields: list[tuple[bytes, bytes]]

    def chunk(self) -> bytes: ...
    def finish(self) -> list[BaseException]: ...


class Mode(Protocol):
    def ask(self, transport: Any, portal: Any, request: Any) -> Answer:
        """Raises StreamFailed if there is no answer."""
        ...

    def socket(self, transport: Any, portal: Any, request: Any) -> Any:
        """A session for a WebSocket, or None: it keeps the genuine one."""
        ...

    def leave(self, portal: Any) -> None:
        """A loop is about to end."""
        ...

    def close(self) -> None: ...


class Asked(Exception):
    """A handler ended without an answer; what it raised."""

    def __init__(self, failures: list[BaseException]) -> None:
        super().__init__(f"no answer came: {failures}")
        self.failures = failures


def not_ours(transport: Any, request: Any) -> str:
    """Why a request keeps the genuine transport; empty: it does not."""
    if request.url.scheme in ("ws", "wss"):
        return "websocket"
    client = transport.portal_factory.__self__
    return "" if client.async_backend["backend"] == "asyncio" else "trio"


class RecordingTransport(Genuine):  # type: ignore[misc]
    """FastAPI under its own transport; what it says is written down."""

    recording: ClassVar[Recording]

    def handle_request(self, request: Any) -> Any:
        if not_ours(self, request):
            return super().handle_request(request)
        entry = self.recording.begin(request)
        try:
            response = super().handle_request(request)
        except BaseException:
            entry.head(500, [])
            entry.end()
            raise
        response.stream = Body(response.stream, entry)
        entry.head(response.status_code, response.headers.raw)
        return response


class Body(httpx.SyncByteStream):  # type: ignore[misc]
    """A body, written down."""

    def __init__(self, stream: Any, entry: Stream) -> None:
        self._stream = stream
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._entry.body(chunk)
                yield chunk
        finally:
            self._entry.end()

    def close(self) -> None:
        self._entry.end()
        self._stream.close()


class Transport(Genuine):  # type: ignore[misc]
    mode: ClassVar[Mode]
    recording: ClassVar[Recording]
    kept: ClassVar[Counter[str]] = Counter()  # What the genuine transport has done, and why.

    def handle_request(self, request: Any) -> Any:
        client = self.portal_factory.__self__
        reason = not_ours(self, request)
        portal = client.portal or common.portal()
        if reason == "websocket" and (session := self.mode.socket(self, portal, request)):
            raise testclient._Upgrade(session)
        if reason:
            self.kept[reason] += 1
            return super().handle_request(request)
        entry = self.recording.begin(request)
        try:
            answer = self.mode.ask(self, portal, request)
        except Asked as nothing:
            return self._without_answer(entry, request, nothing.failures)
        entry.head(answer.status, answer.fields)
        body = AnswerBody(answer, self.raise_server_exceptions, self._open_requests)
        return httpx.Response(
            answer.status, headers=answer.fields, stream=Body(body, entry), request=request
        )

    def close(self) -> None:
        """As often before the client's loop ends as after."""
        super().close()
        portal = self.portal_factory.__self__.portal
        if portal is not None:
            self.mode.leave(portal)

    def _without_answer(self, entry: Stream, request: Any, failures: list[BaseException]) -> Any:
        entry.head(500, [])
        entry.end()
        if self.raise_server_exceptions:
            raise failures[0] if failures else AssertionError("no answer came")
        return httpx.Response(500, headers=[], content=b"", request=request)


def count_async_clients() -> None:
    """httpx.AsyncClient(transport=ASGITransport(app)) has no sidecar between: counted, and left as it is."""
    import httpx as older

    for library in {older, httpx}:
        genuine = library.ASGITransport.handle_async_request

        async def handle(transport: Any, request: Any, genuine: Any = genuine) -> Any:
            Transport.kept["async client"] += 1
            return await genuine(transport, request)

        library.ASGITransport.handle_async_request = handle


class AnswerBody(httpx.SyncByteStream):  # type: ignore[misc]
    """Ends, or is closed, when the handler too is done; its exception is the client's, as with Starlette's."""

    def __init__(self, answer: Answer, raises: bool, registry: set[Callable[[], None]]) -> None:
        self._answer = answer
        self._raises = raises
        self._open = True
        self._registry = registry
        registry.add(self._abort)

    def __iter__(self) -> Iterator[bytes]:
        failed = None
        try:
            while chunk := self._answer.chunk():
                yield chunk
        except (StreamFailed, httpx.RemoteProtocolError) as error:
            failed = error
        failures = self._finish()
        if failed is not None and not failures:
            raise failed
        self._raise(failures)

    def close(self) -> None:
        self._raise(self._finish())

    def _abort(self) -> None:
        self._finish()

    def _finish(self) -> list[BaseException]:
        if not self._open:
            return []
        self._open = False
        self._registry.discard(self._abort)
        return self._answer.finish()

    def _raise(self, failures: list[BaseException]) -> None:
        if failures and self._raises:
            raise failures[0]


class Common:
    """The loop of all clients that were not entered."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._portal: Any = None

    def portal(self) -> Any:
        if self._portal is None:
            self._portal = self._stack.enter_context(anyio.from_thread.start_blocking_portal())
        return self._portal

    def close(self) -> None:
        self._stack.close()
        self._portal = None


class Servings:
    """The app that was last asked on each loop."""

    def __init__(self, make: Callable[..., Serving]) -> None:
        self._make = make
        self._by_portal: WeakKeyDictionary[Any, Serving] = WeakKeyDictionary()

    async def get(self, portal: Any, app: Any, state: dict[str, Any]) -> Serving:
        serving = self._by_portal.get(portal)
        if serving is None or not serving.current(app, state):
            await self.leave(portal)
            serving = self._by_portal[portal] = self._make(app, state)
        return serving

    async def leave(self, portal: Any, serving: Serving | None = None) -> None:
        """If given, that one: there may be another by now."""
        kept = self._by_portal.get(portal)
        if kept is not None and serving in (None, kept):
            del self._by_portal[portal]
        serving = serving or kept
        if serving is not None:
            serving.retire()


def on(portal: Any, call: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    return portal.call(functools.partial(call, *arguments, **named))


common = Common()
