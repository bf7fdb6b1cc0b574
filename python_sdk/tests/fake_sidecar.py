#!/usr/bin/env python3
"""A sidecar in Python, for the tests: the worker link, the registration, and a small HTTP/1.1 front.

In-process: FakeLink speaks frames, and its request() is one request. As a program it takes the flags of the real one
(`catzilla run --sidecar tests/fake_sidecar.py`) and forwards every request to the newest generation. It is no
server: it trusts its clients, and knows only what the tests need.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent import futures
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
            elif kind == frames.LOG:
                pass
            elif kind == frames.WINDOW:
                exchange = self.exchanges.get(stream)
                if exchange is not None:
                    exchange.window += aux
                    exchange.window_grew.set()
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


# The program -----------------------------------------------------------------------


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, str, str, Fields] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None
    lines = head[:-4].split(b"\r\n")
    method, target, version = lines[0].decode("ascii").split(" ")
    fields = []
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip()))
    return method, target, version.removeprefix("HTTP/"), fields


class HttpFront:
    def __init__(self, link: FakeLink) -> None:
        self.link = link
        self.draining = False
        self.active = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while (head := await _read_head(reader)) is not None:
                self.active += 1
                try:
                    if not await self._one(reader, writer, *head):
                        break
                finally:
                    self.active -= 1
        writer.close()

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, target: str, version: str,
        fields: Fields,
    ) -> bool:  # fmt: skip
        headers = dict(fields)
        length = int(headers.get(b"content-length", b"0"))
        chunked = headers.get(b"transfer-encoding") == b"chunked"
        flags = frames.REQUEST_EXPECT_CONTINUE if b"expect" in headers else 0
        more: dict[str, Any] = {"flags": flags}
        inline = not chunked and not flags and length <= 65536
        if inline:
            more["body"] = await reader.readexactly(length)
        else:
            more |= {"streaming": True, "body_length": None if chunked else length}
        if version == "1.0":
            more["http_version"] = 0x10
        try:
            lane = await self.link.lane(5)
        except TimeoutError:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
            return True
        peer, ours = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        more |= {"client": peer[:2], "server": ours[:2]}
        exchange = self.link.open(lane, method, target, fields, **more)
        feeder = None if inline else asyncio.create_task(self._feed(reader, writer, exchange, length, chunked, flags))
        try:
            answered = await self._answer(writer, exchange, method, version)
        finally:
            if feeder is not None:
                feeder.cancel()
        return answered and inline and version == "1.1"

    async def _feed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange, length: int,
        chunked: bool, flags: int,
    ) -> None:  # fmt: skip
        try:
            if flags:
                while exchange.window == 0:
                    exchange.window_grew.clear()
                    await exchange.window_grew.wait()
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if chunked:
                while size := int(await reader.readline(), 16):
                    await exchange.send_body(await reader.readexactly(size))
                    await reader.readline()
                await reader.readline()
            else:
                while length:
                    data = await reader.read(min(length, 65536))
                    if not data:
                        raise ConnectionResetError
                    await exchange.send_body(data)
                    length -= len(data)
            if not exchange.sent_end:
                await exchange.send_body(b"", end=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            if not exchange.sent_end:
                exchange.cancel()

    async def _answer(self, writer: asyncio.StreamWriter, exchange: Exchange, method: str, version: str) -> bool:
        try:
            head, _ = await exchange.head()
        except StreamFailed:
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n")
            return True
        names = {name for name, _ in head.fields}
        empty = method == "HEAD" or head.status in (204, 304)
        chunks = not empty and b"content-length" not in names and version == "1.1"
        out = b"HTTP/1.1 %d X\r\n" % head.status
        out += b"".join(b"%s: %s\r\n" % pair for pair in head.fields)
        out += b"transfer-encoding: chunked\r\n" if chunks else b""
        writer.write(out + b"\r\n")

        def write(data: bytes) -> None:
            if data and not empty:
                writer.write(b"%x\r\n%s\r\n" % (len(data), data) if chunks else data)

        write(head.body)
        if not (exchange.log[-1][0] == frames.RESPONSE and exchange.log[-1][1] & frames.FLAG_END):
            try:
                async for kind, _, aux, payload in exchange.arriving():
                    if kind == frames.RESPONSE_DATA:
                        write(payload)
                        await writer.drain()
                    elif kind == frames.END and aux:
                        writer.transport.abort()
                        return False
            except (ConnectionError, asyncio.CancelledError):
                if not exchange.sent_end and not exchange.ended.is_set():
                    exchange.cancel()
                raise
        if chunks:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


class Registrar:
    """RouteService.Register on gRPC's threads; the link is told on its loop."""

    def __init__(self, link: FakeLink, loop: asyncio.AbstractEventLoop, worker_socket: str, record: str | None) -> None:
        from catzilla._proto import route_service_pb2 as pb

        self.pb = pb
        self.link = link
        self.loop = loop
        self.worker_socket = worker_socket
        self.record = record
        self.epoch = time.time_ns() // 1000
        self.lock = threading.Lock()
        self.number = 0
        self.codes: dict[str, int] = {}
        self.outboxes: list[Any] = []
        link.on_ready = self.on_ready

    def on_ready(self, generation: int) -> None:
        from catzilla._proto import common_pb2

        pb = self.pb
        ready = pb.WorkersReady(
            generation=common_pb2.Generation(boot_epoch=self.epoch, number=generation),
            ready=1,
            switched=True,
        )
        for outbox in self.outboxes:
            outbox(pb.RegisterResponse(workers_ready=ready))
        for connection in list(self.link.connections):
            if connection.hello and connection.hello.generation < generation:
                connection.write(frames.encode_frame(frames.GOAWAY, aux=frames.GOAWAY_SUPERSEDED))
                connection.goaway = (1, "")

    def register(self, requests: Any, context: Any) -> Any:
        import queue

        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outboxes.append(answers.put)
        context.add_callback(lambda: answers.put(None))

        def read() -> None:
            try:
                for request in requests:
                    if request.WhichOneof("message") == "registration":
                        answers.put(self._registered(request.registration))
                    self._note(request)
            except Exception:
                answers.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (answer := answers.get()) is not None:
            yield answer

    def _registered(self, registration: Any) -> Any:
        pb = self.pb
        answer = pb.Registered(pool=registration.app, worker_socket=self.worker_socket)
        if registration.HasField("table"):
            with self.lock:
                known = registration.code_hash in self.codes
                if not known:
                    self.number += 1
                    self.codes[registration.code_hash] = self.number
                number = self.codes[registration.code_hash]
                token = self.link.generations.setdefault(number, (os.urandom(16), registration.table.hash))[0]
            answer.generation.boot_epoch, answer.generation.number = self.epoch, number
            answer.attach_token, answer.resumed = token, known
        return pb.RegisterResponse(registered=answer)

    def _note(self, request: Any) -> None:
        if self.record:
            from google.protobuf import json_format

            line = json.dumps(json_format.MessageToDict(request, preserving_proto_field_name=True))
            with open(self.record, "a") as file:
                file.write(line + "\n")

    def serve(self, address: str) -> Any:
        import grpc

        handler = grpc.method_handlers_generic_handler(
            "catzilla.control.v1.RouteService",
            {
                "Register": grpc.stream_stream_rpc_method_handler(
                    self.register,
                    request_deserializer=self.pb.RegisterRequest.FromString,
                    response_serializer=self.pb.RegisterResponse.SerializeToString,
                )
            },
        )
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(address)
        server.start()
        return server


async def _main(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    link = FakeLink(loops=options.loops)
    worker_socket = os.path.join(options.runtime_dir, "worker.sock")
    await link.listen(worker_socket)
    registrar = Registrar(link, loop, worker_socket, os.environ.get("FAKE_SIDECAR_RECORD"))
    grpc_server = registrar.serve(f"unix:{os.path.join(options.runtime_dir, 'control.sock')}")
    front = HttpFront(link)
    http = await asyncio.start_server(front.serve, options.host, options.port)
    await stop.wait()
    http.close()
    deadline = loop.time() + 20
    while front.active and loop.time() < deadline:
        await asyncio.sleep(0.02)
    for connection in list(link.connections):
        connection.write(frames.encode_frame(frames.GOAWAY, aux=frames.GOAWAY_DRAINING))
    while link.connections and loop.time() < deadline:
        await asyncio.sleep(0.02)
    grpc_server.stop(0.2)
    print("fake sidecar: left in order", file=sys.stderr)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ops-host")
    parser.add_argument("--ops-port", type=int)
    parser.add_argument("--runtime-dir", required=True)
    parser.add_argument("--loops", type=int, default=2)
    options = parser.parse_args()
    os.makedirs(options.runtime_dir, exist_ok=True)
    return asyncio.run(_main(options))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
