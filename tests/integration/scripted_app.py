"""An app whose every step a test decides: its registrations, when its workers attach, what they answer.

What `catzilla run` does by itself, in order and in time, is the test's to say here: that a worker is
yet to come, or that it never answers, or dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from catzilla._proto import route_service_pb2 as pb
from catzilla._worker import _frames as frames
from waiting import eventually

SECONDS = 30.0


@dataclass
class Ticket:
    """What workers of one generation say in HELLO."""

    pool: str
    number: int
    epoch: int
    token: bytes
    socket: str
    table_hash: bytes


@dataclass
class Code:
    """One version of the app: its routes, by template, with the cache's TTL where it has one."""

    version: str
    routes: dict[str, str]  # Template -> "" or "60s".
    first_id: int = 1
    min_ready: int = 1

    def registration(self, app: str, instance: str, takeover: bool) -> pb.Registration:
        message = pb.Registration(
            app=app,
            instance_id=instance,
            code_hash=self.version,
            takeover=takeover,
            workers_expected=self.min_ready,
            workers_min_ready=self.min_ready,
        )
        message.table.hash = self.table_hash
        message.table.unmatched = pb.UNMATCHED_SIDECAR
        for index, (template, ttl) in enumerate(self.routes.items()):
            route = message.table.routes.add(
                id=self.first_id + index,
                declaration_index=index,
                kind=pb.ROUTE_KIND_API,
                methods=["GET", "POST"],
                template=template,
                label=template,
                lane=pb.LANE_SLOW,
            )
            if ttl:
                route.cache.ttl = ttl
        if any(self.routes.values()):
            message.caches.add(name="default")
        return message

    @property
    def table_hash(self) -> bytes:
        return hashlib.sha256(repr(self).encode()).digest()

    def template(self, route_id: int) -> str:
        index = route_id - self.first_id
        return list(self.routes)[index] if 0 <= index < len(self.routes) else f"?{route_id}"


class Master:
    """A registration stream. Events are read with `expect`."""

    def __init__(self, runtime: pathlib.Path, app: str = "shop", instance: str = "one") -> None:
        self.app, self.instance = app, instance
        self._channel = grpc.insecure_channel(
            f"unix:{runtime}/control.sock", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._outbox: queue.SimpleQueue[pb.RegisterRequest | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[pb.RegisterResponse | grpc.RpcError] = queue.SimpleQueue()
        register = self._channel.stream_stream(
            "/catzilla.control.v1.RouteService/Register",
            request_serializer=pb.RegisterRequest.SerializeToString,
            response_deserializer=pb.RegisterResponse.FromString,
        )
        self._call: Any = register(iter(self._outbox.get, None), wait_for_ready=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self._call:
                self._events.put(event)
        except grpc.RpcError as error:
            self._events.put(error)

    def register(self, code: Code, *, takeover: bool = False) -> Ticket:
        registration = code.registration(self.app, self.instance, takeover)
        self._outbox.put(pb.RegisterRequest(registration=registration))
        event = self.expect("registered").registered
        return Ticket(
            pool=event.pool,
            number=event.generation.number,
            epoch=event.generation.boot_epoch,
            token=event.attach_token,
            socket=event.worker_socket,
            table_hash=code.table_hash,
        )

    def expect(
        self, kind: str, such: Callable[[pb.RegisterResponse], bool] = lambda _: True
    ) -> pb.RegisterResponse:
        """The next event of this kind; others in front of it are dropped."""
        deadline = time.monotonic() + SECONDS
        while True:
            event = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
            if isinstance(event, grpc.RpcError):
                raise event
            if event.WhichOneof("event") == kind and such(event):
                return event

    def switched(self, ticket: Ticket) -> None:
        self.expect(
            "workers_ready",
            lambda event: (
                event.workers_ready.switched
                and event.workers_ready.generation.number == ticket.number
            ),
        )

    def close(self) -> None:
        """The lease ends, as when the process is killed."""
        self._call.cancel()
        self._thread.join(SECONDS)
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Held:
    """A request that the worker has and does not answer yet."""

    lane: socket.socket
    stream: int
    text: bytes


@dataclass
class Worker:
    """One process of a generation, as a thread: answers "version template path" at once, or holds."""

    code: Code
    ticket: Ticket
    pid: int = field(default_factory=os.getpid)
    holds: bool = False
    credits: int = 1000
    fields: tuple[tuple[bytes, bytes], ...] = ()
    told_to_go: threading.Event = field(default_factory=threading.Event)
    held: list[Held] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        control, ack = self._connect(frames.PURPOSE_CONTROL, 0)
        self._sockets = [control]
        for loop in range(ack.loop_count):
            self._sockets.append(self._connect(frames.PURPOSE_LANE, loop)[0])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _connect(self, purpose: int, loop: int) -> tuple[socket.socket, frames.HelloAck]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(SECONDS)
        connection.connect(self.ticket.socket)
        lane = purpose == frames.PURPOSE_LANE
        hello = frames.Hello(
            purpose=purpose,
            lane_kind=frames.LANE_EVENT_LOOP if lane else frames.LANE_NONE,
            loop_index=loop,
            token=self.ticket.token,
            epoch=self.ticket.epoch,
            generation=self.ticket.number,
            table_hash=self.ticket.table_hash,
            pid=self.pid,
            worker_index=0,
            start_time_us=1,
            in_flight_max=self.credits,
            stream_window=1 << 16,
            connection_window=1 << 20,
            monotonic_us=0,
            wall_us=0,
            rss_bytes=1,
            head_bytes_max=1 << 20,
            pool=self.ticket.pool,
            sdk="0.1.0",
            python="3",
            framework="scripted",
        )
        connection.sendall(frames.encode_frame(frames.HELLO, 0, hello.encode()))
        reader = frames.FrameReader(frames.Limits(1 << 20, 1 << 16))
        got: list[frames.Frame] = []
        while not got:
            data = connection.recv(65536)
            assert data, "the sidecar closed the connection"
            got = reader.feed(data)
        kind, _, _, aux, payload = got.pop(0)
        assert kind == frames.HELLO_ACK, f"GOAWAY({aux}): {payload!r}"
        self._selector.register(connection, selectors.EVENT_READ, reader)
        for frame in got:
            self._on_frame(connection, frame)
        return connection, frames.HelloAck.decode(payload)

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                data = b""
                with contextlib.suppress(OSError):
                    data = connection.recv(1 << 16)
                if not data:
                    self._selector.unregister(connection)
                for frame in key.data.feed(data):
                    self._on_frame(connection, frame)

    def _on_frame(self, connection: socket.socket, frame: frames.Frame) -> None:
        kind, _, stream, _, payload = frame
        if kind == frames.PING:
            connection.sendall(frames.encode_frame(frames.PONG, 0, payload))
        elif kind == frames.GOAWAY:
            self.told_to_go.set()
        elif kind == frames.CANCEL:
            connection.sendall(frames.encode_frame(frames.END, stream, aux=frames.END_CANCELLED))
        elif kind == frames.REQUEST:
            request = frames.Request(payload)
            template = self.code.template(request.route_id)
            text = f"{self.code.version} {template} {request.path}".encode() + request.body
            held = Held(connection, stream, text)
            with self._lock:
                if self.holds:
                    self.held.append(held)
                    return
            self._answer(held)

    def _answer(self, held: Held) -> None:
        answer = frames.encode_response(
            held.stream, 200, ((b"content-type", b"text/plain"), *self.fields), held.text, end=True
        )
        held.lane.sendall(answer)

    def wait_until_holding(self, count: int) -> None:
        eventually(
            lambda: len(self.held) >= count,
            SECONDS,
            lambda: f"{len(self.held)} of {count} requests came",
        )

    def release(self) -> None:
        """What is held is answered, and what comes from now on at once."""
        with self._lock:
            self.holds = False
            held, self.held = self.held, []
        for one in held:
            self._answer(one)

    def kill(self) -> None:
        """Closes everything without a word."""
        self._stop.set()
        self._thread.join(SECONDS)
        for connection in self._sockets:
            connection.close()


@contextlib.contextmanager
def workers(*all_of_them: Worker) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in all_of_them:
            worker.kill()
