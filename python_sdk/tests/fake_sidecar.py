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
import json
import os
import signal
import socket
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from fake_link import Exchange, FakeLink, Fields, StreamFailed
from worker_harness import wait_for

from catzilla._worker import _frames as frames


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


FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


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
        peer, ours = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        more |= {"client": peer[:2], "server": ours[:2]}
        head: frames.Response | None = None
        for attempt in range(3):
            try:
                lane = await self.link.lane(5)
            except TimeoutError:
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n")
                return True
            exchange = self.link.open(lane, method, target, fields, **more)
            if method != "GET" or not inline:
                break
            # As the sidecar does: a worker that leaves with a GET unanswered costs nobody anything.
            try:
                head, _ = await exchange.head()
                break
            except StreamFailed as failed:
                if failed.code == frames.END_FAILED or attempt == 2:
                    writer.write(FAILED)
                    return True
        feeder = None if inline else asyncio.create_task(self._feed(reader, writer, exchange, length, chunked, flags))
        try:
            answered = await self._answer(writer, exchange, method, version, head)
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

    async def _answer(
        self, writer: asyncio.StreamWriter, exchange: Exchange, method: str, version: str,
        head: frames.Response | None,
    ) -> bool:  # fmt: skip
        try:
            if head is None:
                head, _ = await exchange.head()
        except StreamFailed:
            writer.write(FAILED)
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
        if refusal := os.environ.get("FAKE_SIDECAR_REFUSES"):  # Its table, at the moment of the switch.
            found = common_pb2.Diagnostic(
                code="CZ1507", severity=common_pb2.SEVERITY_ERROR, path="pools[app]", message=refusal
            )
            for outbox in self.outboxes:
                outbox(pb.RegisterResponse(notice=pb.Notice(diagnostics=[found])))
            return
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
    told = os.environ.get("FAKE_SIDECAR_ADVERTISES", worker_socket)
    registrar = Registrar(link, loop, told, os.environ.get("FAKE_SIDECAR_RECORD"))
    grpc_server = registrar.serve(f"unix:{os.path.join(options.runtime_dir, 'control.sock')}")
    front = HttpFront(link)
    http = await asyncio.start_server(front.serve, options.host, options.port)
    await stop.wait()
    http.close()
    with contextlib.suppress(TimeoutError):
        await wait_for(lambda: not front.active, 20)
    for connection in list(link.connections):
        connection.write(frames.encode_frame(frames.GOAWAY, aux=frames.GOAWAY_DRAINING))
    with contextlib.suppress(TimeoutError):
        await wait_for(lambda: not link.connections, 20)
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
    parser.add_argument("--expect-app", action="store_true")
    parser.add_argument("--trusted-proxies")
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
