"""Requests as REQUEST frames to the SDK's own lane, in memory: no socket, no sidecar.

The sidecar's end is the one that the SDK's tests use (python_sdk/tests/fake_link.py). All of it runs on the loop of
the worker.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from catzilla._worker import _frames as frames
from catzilla._worker._lane import Lane
from choosing import HOP_BY_HOP, Chooser
from fake_link import Connection, Exchange, FakeLink, StreamFailed
from watched import PATIENCE, Serving, ticket

# As in sidecar/exchange/call_way.cc.
INLINE_BODY_MAX = 16 * 1024

Fields = list[tuple[bytes, bytes]]


class Pipe(asyncio.Transport):
    """One direction: what is written reaches the peer in the loop's next turn."""

    # What children of a fork would have to let go of.
    _descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    def __init__(self, peer: Callable[[], asyncio.Protocol]) -> None:
        super().__init__()
        self._peer = peer
        self._closing = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: Any) -> None:
        if not self._closing:
            self._loop.call_soon(self._peer().data_received, bytes(data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._peer().connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def fileno(self) -> int:
        return self._descriptor


class FramesServing(Serving):
    """REQUIRES: made, and asked, on the worker's loop."""

    def __init__(self, app: Any, state: dict[str, Any], lanes: str) -> None:
        super().__init__(app, state, lanes)
        self._chooser = Chooser(self.worker.table)
        self._lane = Lane(self.worker, self.worker._hello(ticket(), frames.PURPOSE_LANE, 0))
        self.worker._lanes.append(self._lane)
        self._sidecar = Connection(FakeLink())
        self._sidecar.connection_made(Pipe(lambda: self._lane))
        self._lane.connection_made(Pipe(lambda: self._sidecar))

    async def ask(
        self,
        method: str,
        scheme: str,
        target: bytes,
        fields: Fields,
        body: bytes,
        root_path: str,
        client: tuple[str, int] | None,
        server: tuple[str, int],
    ) -> FramesAnswer:
        """Raises StreamFailed if the handler ends without an answer."""
        await self._lane.attached
        raw, _, query = target.partition(b"?")
        path = unquote_to_bytes(raw)
        fields = [(name, value) for name, value in fields if name not in HOP_BY_HOP]
        choice = self._chooser.choose(method, path, query, fields)
        known = any(name == b"content-length" for name, _ in fields)
        inline = not body or (known and len(body) <= INLINE_BODY_MAX)
        exchange = self._sidecar.open(
            method=method,
            target=target,
            path=path,
            fields=fields,
            host=next((value for name, value in fields if name == b"host"), b""),
            scheme=int(scheme == "https"),
            route_id=choice.route_id,
            slots=choice.slots,
            flags=choice.flags,
            root_path=root_path.encode(),
            client=client,
            server=server,
            **({"body": body} if inline else {"streaming": True, "body_length": len(body) if known else None}),
        )  # fmt: skip
        self.worker.open += 1
        answer = FramesAnswer(self, exchange)
        if not inline:
            answer.sending = asyncio.create_task(exchange.send_body(body, end=True))
        try:
            await answer.begin()
        except StreamFailed:
            answer.let_go()
            raise
        return answer


class FramesAnswer:
    """An answer whose head has come."""

    def __init__(self, serving: FramesServing, exchange: Exchange) -> None:
        self.serving = serving
        self.status = 0
        self.fields: Fields = []
        self.sending: asyncio.Task[None] | None = None
        self._exchange = exchange
        self._body: list[bytes] = []
        self._ended = False
        self._open = True

    async def begin(self) -> None:
        head, _ = await self._exchange.head()
        self.status, self.fields = head.status, head.fields
        self._body = [head.body] if head.body else []
        self._ended = self._exchange.ended.is_set() and self._exchange.incoming.empty()

    async def chunk(self) -> bytes:
        """b"": that was all. Raises StreamFailed."""
        if self._body:
            return self._body.pop(0)
        if self._ended:
            return b""
        while not self._ended:
            frame = await self._exchange.incoming.get()
            if frame is None:
                raise StreamFailed(-1, "the lane was lost")
            kind, flags, aux, payload = frame
            self._ended = kind == frames.END or bool(flags & frames.FLAG_END)
            if kind == frames.END and aux != frames.END_COMPLETE:
                raise StreamFailed(aux, payload.decode())
            if kind == frames.RESPONSE_DATA and payload:
                return payload
        return b""

    async def finish(self) -> list[BaseException]:
        """The client is done with it; what the handler raised."""
        if self._open and not self._exchange.ended.is_set():
            self._exchange.cancel()
        self.let_go()
        return await self.serving.worker.quiet()

    def let_go(self) -> None:
        if self._open:
            self._open = False
            self.serving.worker.open -= 1
            if self.sending is not None:
                self.sending.cancel()


__all__ = ["PATIENCE", "FramesAnswer", "FramesServing"]
