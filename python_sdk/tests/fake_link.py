"""The sidecar's end of worker.sock in Python: enough of it to test a worker against."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from catzilla._worker import _frames as frames

Fields = list[tuple[bytes, bytes]]


class StreamFailed(Exception):
    """The worker ended a stream without completing its answer."""

    def __init__(self, code: int, sentence: str = "") -> None:
        super().__init__(f"END({code}) {sentence}")
        self.code = code


@dataclass
class Answer:
    status: int
    fields: Fields
    body: bytes
    informational: list[tuple[int, Fields]] = field(default_factory=list)
    detached: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.fields}

    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """The sidecar's side of one stream. Everything it gets is kept in `log`."""

    def __init__(self, connection: Connection, stream: int) -> None:
        self.connection = connection
        self.stream = stream
        self.log: list[tuple[int, int, int, bytes]] = []
        self.incoming: asyncio.Queue[tuple[int, int, int, bytes] | None] = asyncio.Queue()
        self.window = 0  # Request bytes the worker takes.
        self.window_grew = asyncio.Event()
        self.auto_window = True
        self.sent_end = False
        self.ended = asyncio.Event()
        self.credited = asyncio.Event()
        self.detached = False

    async def arriving(self) -> AsyncIterator[tuple[int, int, int, bytes]]:
        while (item := await self.incoming.get()) is not None:
            yield item
            if item[1] & frames.FLAG_END or item[0] == frames.END:
                return

    async def head(self) -> tuple[frames.Response, list[tuple[int, Fields]]]:
        informational = []
        async for kind, _, aux, payload in self.arriving():
            if kind == frames.INFORMATIONAL:
                informational.append(frames.decode_head(payload))
            elif kind == frames.RESPONSE:
                return frames.decode_response(payload), informational
            elif kind == frames.END:
                raise StreamFailed(aux, payload.decode())
        raise StreamFailed(-1, "the lane was lost")

    async def answer(self) -> Answer:
        head, informational = await self.head()
        body = bytearray(head.body)
        if not self.log[-1][1] & frames.FLAG_END or not any(k == frames.RESPONSE and f & 1 for k, f, _, _ in self.log):
            async for kind, _, aux, payload in self.arriving():
                if kind == frames.RESPONSE_DATA:
                    body += payload
                elif kind == frames.END and aux != frames.END_COMPLETE:
                    raise StreamFailed(aux, payload.decode())
                elif kind == frames.END:
                    break
        return Answer(head.status, head.fields, bytes(body), informational, self.detached)

    async def send_body(self, data: bytes, *, end: bool = False) -> None:
        at = 0
        while at < len(data):
            while self.window <= 0:
                self.window_grew.clear()
                await self.window_grew.wait()
            size = min(len(data) - at, self.window, 65536)
            self.window -= size
            self.connection.write(frames.encode_frame(frames.REQUEST_DATA, self.stream, data[at : at + size]))
            at += size
        if end:
            self.sent_end = True
            self.connection.write(frames.encode_frame(frames.END, self.stream))

    def cancel(self, code: int = frames.CANCEL_CLIENT_GONE) -> None:
        self.sent_end = True
        self.connection.write(frames.encode_frame(frames.CANCEL, self.stream, aux=code))


class Connection(asyncio.Protocol):
    """One connection of a worker: a lane or its control connection."""

    def __init__(self, link: FakeLink) -> None:
        self.link = link
        self.reader = frames.FrameReader(frames.Limits(1 << 20, 65536))
        self.hello: frames.Hello | None = None
        self.exchanges: dict[int, Exchange] = {}
        self.ids = itertools.count(1)
        self.stats: frames.Stats | None = None
        self.pongs = 0
        self.given_back = 0  # Bytes of request bodies, by WINDOW on a stream or on the connection.
        self.lines: list[tuple[int, str]] = []
        self.ceilings: list[int] = []
        self.dumps: dict[int, str] = {}
        self.goaway: tuple[int, str] | None = None
        self.closed = asyncio.Event()
        self.writes = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.link.connections.append(self)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.writes += 1
        for kind, flags, stream, aux, payload in self.reader.feed(data):
            frames.check_frame((kind, flags, stream, aux, payload))
            if kind == frames.HELLO:
                self._hello(frames.Hello.decode(payload))
            elif kind == frames.STATS:
                self.stats = frames.Stats.decode(payload)
            elif kind == frames.PONG:
                self.pongs += 1
            elif kind == frames.GOAWAY:
                self.goaway = (aux, payload.decode())
            elif kind == frames.DUMP:
                self.dumps[aux] = payload.decode()
            elif kind == frames.LOG:
                self.lines.append((aux, payload.decode()))
            elif kind == frames.WINDOW:
                self.given_back += aux
                exchange = self.exchanges.get(stream)
                if exchange is not None:
                    exchange.window += aux
                    exchange.window_grew.set()
            elif kind == frames.CREDIT and not stream:
                self.ceilings.append(aux)
            elif kind == frames.CREDIT:
                self.exchanges.pop(stream).credited.set()
            else:
                self._on_stream(kind, flags, stream, aux, payload)

    def _hello(self, hello: frames.Hello) -> None:
        self.hello = hello
        refusal = self.link.check(hello)
        if refusal is not None:
            code, sentence = refusal
            self.write(frames.encode_frame(frames.GOAWAY, payload=sentence.encode(), aux=code))
            self.transport.close()
            return
        now = time.monotonic_ns() // 1000
        ack = frames.HelloAck(
            version=1, loop_count=self.link.loops, capabilities=0, credits=min(64, hello.in_flight_max),
            stream_window=self.link.stream_window, connection_window=self.link.connection_window,
            head_bytes_max=48 * 1024, data_bytes_max=64 * 1024, ping_interval_ms=10_000, monotonic_us=now,
            wall_us=time.time_ns() // 1000, worker_id=hello.pid, lane_id=len(self.link.connections),
            loop_index=hello.loop_index, sidecar="fake",
        )  # fmt: skip
        self.write(frames.encode_frame(frames.HELLO_ACK, payload=ack.encode()))
        self.link.on_attached(self)

    def _on_stream(self, kind: int, flags: int, stream: int, aux: int, payload: bytes) -> None:
        exchange = self.exchanges[stream]
        assert not exchange.ended.is_set(), f"a frame behind END on stream {stream}"
        exchange.log.append((kind, flags, aux, payload))
        if kind == frames.DETACHED:
            exchange.detached = True
            return
        exchange.incoming.put_nowait((kind, flags, aux, payload))
        if kind == frames.RESPONSE_DATA and exchange.auto_window and payload:
            self.write(frames.encode_frame(frames.WINDOW, stream, aux=len(payload)))
        if flags & frames.FLAG_END or kind == frames.END:
            if not exchange.sent_end:
                exchange.sent_end = True
                self.write(frames.encode_frame(frames.END, stream, aux=frames.END_STOPPED))
            exchange.ended.set()
            if not exchange.detached:
                del self.exchanges[stream]

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        if self in self.link.connections:
            self.link.connections.remove(self)
        for exchange in self.exchanges.values():
            exchange.incoming.put_nowait(None)

    def open(self, **request: Any) -> Exchange:
        """Sends a REQUEST. `body`: inline; `streaming`: the body follows."""
        exchange = Exchange(self, next(self.ids))
        self.exchanges[exchange.stream] = exchange
        assert self.hello is not None
        streaming = request.pop("streaming", False)
        expect = request.get("flags", 0) & frames.REQUEST_EXPECT_CONTINUE
        exchange.window = 0 if expect else self.hello.stream_window
        exchange.sent_end = not streaming
        if streaming:
            request |= {"body_mode": frames.BODY_STREAMING, "body_length": request.get("body_length")}
        if request.get("method") == "HEAD":
            request["flags"] = request.get("flags", 0) | frames.REQUEST_HEAD
        payload = frames.encode_request(**request)
        flags = 0 if streaming else frames.FLAG_END
        self.write(frames.encode_frame(frames.REQUEST, exchange.stream, payload, flags))
        return exchange


class FakeLink:
    """worker.sock. `lanes` are those of workers that may get requests."""

    def __init__(self, *, loops: int = 1) -> None:
        self.loops = loops
        self.stream_window = 256 * 1024
        self.connection_window = 64 << 20
        self.connections: list[Connection] = []
        self.refuse: tuple[int, str] | None = None
        self.generations: dict[int, tuple[bytes, bytes]] = {}  # number -> (token, table hash); empty: any
        self.changed = asyncio.Event()
        self.on_ready: Callable[[int], None] = lambda generation: None
        self._turn = itertools.count()

    async def listen(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: Connection(self), path)

    def check(self, hello: frames.Hello) -> tuple[int, str] | None:
        if self.refuse is not None:
            return self.refuse
        if self.generations:
            known = self.generations.get(hello.generation)
            if known is None:
                return frames.GOAWAY_GENERATION, "no such generation"
            if known[0] != hello.token:
                return frames.GOAWAY_TOKEN, "the attach token is not the one of this generation"
            if known[1] != hello.table_hash:
                return frames.GOAWAY_TABLE, "the route table differs"
        return None

    def on_attached(self, connection: Connection) -> None:
        self.changed.set()
        assert connection.hello is not None
        generation = connection.hello.generation
        lanes = [c for c in self.lanes if c.hello is not None and c.hello.generation == generation]
        if len(lanes) >= self.loops:
            self.on_ready(generation)

    @property
    def lanes(self) -> list[Connection]:
        return [c for c in self.connections if c.hello and c.hello.purpose == frames.PURPOSE_LANE and not c.goaway]

    @property
    def controls(self) -> list[Connection]:
        return [c for c in self.connections if c.hello and c.hello.purpose == frames.PURPOSE_CONTROL]

    async def lane(self, timeout: float = 20) -> Connection:
        async with asyncio.timeout(timeout):
            while not self.lanes:
                self.changed.clear()
                await self.changed.wait()
        newest = max(lane.hello.generation for lane in self.lanes if lane.hello)
        lanes = [lane for lane in self.lanes if lane.hello and lane.hello.generation == newest]
        return lanes[next(self._turn) % len(lanes)]

    async def request(
        self, method: str = "GET", target: str = "/", fields: Fields | None = None, **more: Any
    ) -> Answer:
        lane = await self.lane()
        return await self.open(lane, method, target, fields, **more).answer()

    def open(self, lane: Connection, method: str, target: str, fields: Fields | None = None, **more: Any) -> Exchange:
        fields = [(b"host", b"testserver")] if fields is None else fields
        raw = target.encode("ascii")
        more.setdefault("client", ("127.0.0.1", 50000))
        more.setdefault("server", ("127.0.0.1", 8080))
        path = unquote_to_bytes(raw.partition(b"?")[0])
        host = next((v for n, v in fields if n == b"host"), b"")
        return lane.open(method=method, target=raw, path=path, fields=fields, host=host, **more)

    def close(self) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.close()
