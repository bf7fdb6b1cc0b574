"""One WebSocket and the genuine ASGI app that talks over it: scope and events as uvicorn gives them.

asking --accept--> open --close, or websocket.disconnect--> closed --the app returns--> settled
   |                 \\--the app raises: 1011--> settled
   |--close: 403, websocket.http.response…: that answer--> denied --> settled
   \\--client gone: websocket.disconnect
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from catzilla._text import describe, log_exception, one_line, utf8
from catzilla._worker import _frames as frames
from catzilla._worker._protocol import Stream

if TYPE_CHECKING:
    from catzilla._worker._exchange import ASGIApp, Carrier, Message, Scope

log = logging.getLogger("catzilla.error")

Phase = enum.Enum("Phase", ["ASKING", "OPEN", "CLOSED", "DENYING", "DENIED"])

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_SCHEMES: Final = {"http": "ws", "https": "wss"}
_INTERNAL_ERROR: Final = 1011
_TEXT_TYPE: Final = (b"content-type", b"text/plain; charset=utf-8")


class ClientDisconnected(OSError):
    """The client has gone: Starlette makes WebSocketDisconnect of it, as it does of uvicorn's."""


class Socket:
    """Scope, receive and send of one WebSocket, on one Task of its own. The lane uses it as an Exchange."""

    __slots__ = (
        "begun", "body", "denial", "disconnected", "events", "goodbye", "head_sent", "lane", "parts", "phase", "scope",
        "stream", "turn", "waiters",
    )  # fmt: skip

    def __init__(self, lane: Carrier, stream: Stream) -> None:
        request = stream.request
        headers = request.fields
        subprotocols: list[str] = []
        for name, value in headers:
            if name == b"sec-websocket-protocol":
                subprotocols += [token.strip() for token in value.decode("latin-1").split(",")]
        stream.exchange = self
        self.lane = lane
        self.stream = stream
        self.begun = False
        self.phase = Phase.ASKING
        self.head_sent = True  # There is no head that waits for its body.
        self.disconnected = stream.cancelled  # The client has gone, or has closed.
        self.goodbye: Message | None = None  # The last event, behind all messages.
        # Messages that the app has not taken yet, each with what it holds of our window.
        self.events: deque[tuple[Message, int]] = deque([({"type": "websocket.connect"}, 0)])
        self.parts: list[bytes] = []  # Of one that is half received.
        self.denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.body = b""
        self.waiters: list[asyncio.Future[None]] = []
        self.turn: asyncio.Lock | None = None  # Of who sends: several tasks may, and a message goes whole.
        self.scope: Scope = {
            "type": "websocket",
            "asgi": _ASGI,
            "http_version": request.http_version,
            "scheme": _SCHEMES[request.scheme],
            "server": request.server,
            "client": request.client,
            "root_path": request.root_path,
            "path": request.path,
            "raw_path": request.raw_path,
            "query_string": request.query,
            "headers": headers,
            "subprotocols": subprotocols,
            "state": lane.worker.state.copy(),
            "extensions": {"websocket.http.response": {}},
        }

    async def run(self, app: ASGIApp) -> None:
        self.begun = True
        code, sentence, failure = frames.END_COMPLETE, "", None
        try:
            await app(self.scope, self.receive, self.send)
            if self.phase in (Phase.ASKING, Phase.DENYING):
                code, sentence = frames.END_FAILED, "the app returned without completing its handshake"
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            code, sentence = frames.END_FAILED, "the handler was cancelled"
        except BaseException as error:
            failure = error
            code, sentence = frames.END_FAILED, describe(error)
        # Settled first: whatever telling of it does, the client has its answer and the place is free.
        self.lane.settled(self, code, sentence)
        if failure is not None:
            self.lane.worker.failed(self._name(), failure)
            log_exception(log, "Exception in ASGI application\n", failure)
        elif sentence and not self.disconnected:
            log.error("%s: %s", sentence, self._name())

    def _name(self) -> str:
        return one_line(f"WebSocket {self.stream.request.path}")

    # What the app asks...

    async def receive(self) -> Message:
        while not self.events:
            if self.goodbye is not None:
                return self.goodbye
            await self._wait()
        message, size = self.events.popleft()
        if size:
            self.lane.protocol.consumed(self.stream, size)
            self.lane.schedule()
        return message

    async def send(self, message: Message) -> None:
        if self.phase is Phase.OPEN:
            if not self._send_at_once(message):
                await self._send_open(message)
        elif self.phase is Phase.CLOSED or self.phase is Phase.DENIED:
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}', after sending 'websocket.close'.")
        elif self.disconnected:
            raise ClientDisconnected
        elif self.phase is Phase.DENYING:
            await self._send_denial(message)
        else:
            self._send_answer(message)

    def _send_answer(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            fields = [(frames.lower(name), value) for name, value in message.get("headers", ())]
            if subprotocol := message.get("subprotocol"):
                fields.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
            self.lane.protocol.accept(self.stream, fields)
            self.phase = Phase.OPEN
        elif kind == "websocket.close":
            self.lane.protocol.respond(self.stream, 403, [_TEXT_TYPE], b"", end=True)
            self._denied()
        elif kind == "websocket.http.response.start":
            status = message["status"]
            if not 200 <= status < 600:
                raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
            self.denial = status, [(frames.lower(name), value) for name, value in message.get("headers", ())]
            self.phase = Phase.DENYING
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' "
                f"or 'websocket.http.response.start' but got '{kind}'."
            )
        self.lane.schedule()

    async def _send_denial(self, message: Message) -> None:
        """Collected, as under uvicorn, and sent whole."""
        if message["type"] != "websocket.http.response.body":
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{message['type']}'.")
        self.body += message.get("body", b"")
        if message.get("more_body", False):
            return
        assert self.denial is not None
        status, fields = self.denial
        names = {name for name, _ in fields}
        if b"content-type" not in names:
            fields.append(_TEXT_TYPE)
        if b"content-length" not in names:
            fields.append((b"content-length", str(len(self.body)).encode()))
        protocol = self.lane.protocol
        first = self.body[: protocol.data_bytes_max]
        rest = memoryview(self.body)[len(first) :]
        protocol.respond(self.stream, status, fields, first, end=not rest)
        self._denied()
        self.lane.schedule()
        while rest and not self.stream.cancelled:
            rest = rest[protocol.data(self.stream, rest, end=True) :]
            self.lane.schedule()
            if rest:
                await self._room()

    def _denied(self) -> None:
        self.phase = Phase.DENIED
        self._leave(frames.CLOSE_ABNORMAL, None)

    def _send_at_once(self, message: Message) -> bool:
        """A message that there is room for, and nobody is at another. Most are of this kind."""
        if message["type"] != "websocket.send" or self.disconnected or (self.turn is not None and self.turn.locked()):
            return False
        kind, data = frames.MESSAGE_BINARY, message.get("bytes")
        if data is None:
            text = message.get("text")
            if text is None:
                return False
            kind, data = frames.MESSAGE_TEXT, text.encode()
        if type(data) is not bytes or not self.lane.protocol.whole_message(self.stream, kind, data):
            return False
        self.lane.schedule()
        return True

    async def _send_open(self, message: Message) -> None:
        if self.turn is None:
            self.turn = asyncio.Lock()
        async with self.turn:
            await self._say(message)

    async def _say(self, message: Message) -> None:
        if self.disconnected:
            raise ClientDisconnected
        kind = message["type"]
        if self.phase is Phase.CLOSED:  # Meanwhile, by another task.
            raise RuntimeError(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
        if kind == "websocket.send":
            data, text = message.get("bytes"), message.get("text")
            if data is not None:
                await self._send_message(frames.MESSAGE_BINARY, data)
            elif text is not None:
                await self._send_message(frames.MESSAGE_TEXT, text.encode())
        elif kind == "websocket.close":
            code, reason = message.get("code", 1000), message.get("reason", "") or ""
            if not _may_say(code):
                raise RuntimeError(f"{code} is no code that a WebSocket may be closed with.")
            self._close(code, reason)
        else:
            raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")

    async def _send_message(self, kind: int, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while True:
                sent = self.lane.protocol.message(self.stream, kind, rest)
                if sent >= 0:
                    self.lane.schedule()
                    rest = rest[sent:]
                    if not rest:
                        return
                    continue
                await self._room()
                if self.disconnected:
                    raise ClientDisconnected
        except asyncio.CancelledError:
            if len(rest) < len(data):  # Nothing else may follow the half of a message.
                self._close(_INTERNAL_ERROR, "")
            raise

    def _close(self, code: int, reason: str) -> None:
        self.lane.protocol.close(self.stream, code, utf8(reason, frames.REASON_BYTES_MAX))
        self.phase = Phase.CLOSED
        self._leave(code, reason)
        self.lane.schedule()

    async def _room(self) -> None:
        self.lane.blocked.append(self)
        await self._wait()

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    def _leave(self, code: int, reason: str | None) -> None:
        """The last event: it stands behind the messages that have come, and nothing stands behind it."""
        if self.goodbye is None:
            self.goodbye = {"type": "websocket.disconnect", "code": code}
            if reason is not None:
                self.goodbye["reason"] = reason
        self.wake()

    # What the link says...

    def wake(self) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()

    def on_message(self, aux: int, data: bytes) -> None:
        size = len(data) + frames.PIECE_OVERHEAD
        if self.goodbye is not None:  # The app has closed, and hears no more.
            self.lane.protocol.consumed(self.stream, size)
            return
        if aux & frames.MESSAGE_MORE:
            # Collected here, up to websockets.max_message: a window would never hold it.
            self.parts.append(data)
            self.lane.protocol.consumed(self.stream, size)
            return
        if self.parts:
            self.parts.append(data)
            data = b"".join(self.parts)
            self.parts.clear()
        if aux == frames.MESSAGE_TEXT:
            self.events.append(({"type": "websocket.receive", "text": data.decode()}, size))
        else:
            self.events.append(({"type": "websocket.receive", "bytes": data}, size))
        self.wake()

    def on_closed(self, code: int, reason: bytes) -> None:
        self.disconnected = True
        told = None if code == frames.CLOSE_ABNORMAL and not reason else reason.decode()
        self._leave(code, told)

    def on_body(self, data: bytes) -> None:
        """There is none."""

    def on_body_end(self) -> None:
        """Our END was on its way."""

    def on_cancelled(self) -> None:
        """The client has gone before it was accepted, or the link has."""
        self.disconnected = True
        self._leave(frames.CLOSE_ABNORMAL, None)
        if not self.begun:  # And never will be.
            self.lane.settled(self, frames.END_CANCELLED, "")

    def unread(self) -> int:
        """What the app has left unread holds of our window."""
        return sum(size for _, size in self.events)

    def send_head(self) -> None:
        """There is none that waits."""

    def was_answered(self) -> None:
        """Only other lanes are told."""

    def __repr__(self) -> str:
        return f"<Socket {self.phase.name} {self.stream!r}>"


def _may_say(code: int) -> bool:
    """RFC 6455 section 7.4.2."""
    return 3000 <= code < 5000 or (1000 <= code < 1015 and code not in (1004, 1005, 1006))
