"""A TestClient's WebSocket as a real one: to the sidecar whose worker is this process.

What TestClient shows that the wire does not: the code with which an app refuses a handshake (it is a 403), and an
exception in the app before it has closed (it is a Close of 1011; raised when the session is left, as with Starlette's).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import anyio
from raw_http import Answer
from starlette.testclient import WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from websocket_peer import BINARY, CLOSE, KEY, PING, PONG, TEXT, WebSocketPeer, close_frame, frame

ABNORMAL = 1006
Finish = Callable[[], list[BaseException]]
_OURS = {b"sec-websocket-key"}  # TestClient's is none.


class LiveSession(WebSocketTestSession):
    """`begin` attaches the app's worker; what it returns waits until the handler has returned, and says what it raised."""

    def __init__(self, port: int, request: Any, begin: Callable[[], Finish]) -> None:
        self._port = port
        self._request = request
        self._begin = begin
        self._over = False  # A Close has come.
        self.accepted_subprotocol = None
        self.extra_headers = None

    def __enter__(self) -> LiveSession:
        finish = self._begin()
        with contextlib.ExitStack() as stack:
            stack.callback(self._settle, finish)
            self._peer = stack.enter_context(WebSocketPeer(self._port, seconds=30))
            self._handshake()
            stack.callback(self.close, 1000)
            self.exit_stack = stack.pop_all()
        return self

    def _settle(self, finish: Finish) -> None:
        if failures := finish():
            raise failures[0]

    def _handshake(self) -> None:
        lines = [b"GET %s HTTP/1.1" % self._request.url.raw_path]
        lines += [
            b"%s: %s" % pair for pair in self._request.headers.raw if pair[0].lower() not in _OURS
        ]
        lines += [b"Sec-WebSocket-Key: " + KEY.encode(), b"Upgrade: websocket", b"", b""]
        self._peer.send(b"\r\n".join(lines))
        answer: Answer = self._peer.switched()
        if answer.status == 403:  # What the app's own close is, and that of a path without a route.
            raise WebSocketDisconnect(code=1000)
        fields = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
        if answer.status != 101:
            denial: Any = WebSocketDenialResponse  # An httpx Response, of whichever httpx there is.
            raise denial(status_code=answer.status, headers=fields, content=answer.body)
        self.accepted_subprotocol = answer.header("sec-websocket-protocol")  # type: ignore[assignment]
        self.extra_headers = fields  # type: ignore[assignment]

    def send(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect" and message["code"] == ABNORMAL:
            self._over = True  # No Close may say it: it is there without one.
            self._peer.close()
        elif message["type"] == "websocket.disconnect":
            with contextlib.suppress(OSError, EOFError):
                self._peer.send(close_frame(message["code"], message.get("reason") or ""))
                while not self._over:
                    self.receive()
        elif message.get("text") is not None:
            self._peer.send(frame(TEXT, message["text"]))
        else:
            self._peer.send(frame(BINARY, message["bytes"]))

    def receive(self) -> Any:
        if self._over:
            raise anyio.EndOfStream
        parts, kind = [], 0
        while True:
            first, payload = self._peer.receive()
            opcode = first & 0x0F
            if opcode == PING:
                self._peer.send(frame(PONG, payload))
            elif opcode == CLOSE:
                return self._closed(payload)
            else:
                kind = kind or opcode
                parts.append(payload)
                if first & 0x80:
                    break
        data = b"".join(parts)
        if kind == TEXT:
            return {"type": "websocket.send", "text": data.decode()}
        return {"type": "websocket.send", "bytes": data}

    def _closed(self, payload: bytes) -> Any:
        self._over = True
        code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        if code == 1011 and not payload[2:]:  # The app has raised.
            raise anyio.EndOfStream
        return {"type": "websocket.close", "code": code, "reason": payload[2:].decode()}
