"""The registration of the app with the sidecar: one gRPC stream, kept up for as long as the master lives.

Threads: one of its own; events are handed over with call_soon_threadsafe. register(), report() and close() may
be called from any thread. When the stream breaks it is opened again, with backoff, and the last
registration and report are said again: the sidecar resumes it, or gives a new generation.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # We exec; its fork handlers only cost.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
import grpc

from catzilla._proto import route_service_pb2 as pb
from catzilla._proto import sidecar_service_pb2 as sidecar_pb

log = logging.getLogger("catzilla.master")

_REGISTER: Final = "/catzilla.control.v1.RouteService/Register"
_STATUS: Final = "/catzilla.control.v1.SidecarService/Status"
_BACKOFF: Final = (0.1, 0.2, 0.3, 0.5, 1.0)  # A look at a local socket costs nothing.
# A refusal stands until somebody mends something; a changed registration is tried at once.
_BACKOFF_REFUSED: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
_REFUSALS: Final = ("INVALID_ARGUMENT", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED")
_CONNECT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream is open."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is over, or could not be opened. `code` is gRPC's name; it will be tried again."""

    code: str
    details: str


Event = Connected | Lost | pb.RegisterResponse


class Lease:
    def __init__(self, address: str, notify: Callable[[Event], None]) -> None:
        self._address = address
        self._notify = notify
        self._changed = threading.Condition()
        # Guarded by _changed.
        self._registration: pb.Registration | None = None
        self._report: pb.WorkerReport | None = None
        self._outbox: queue.SimpleQueue[pb.RegisterRequest | None] | None = None
        self._call: Any = None
        self._closed = False
        self._stands_down = False  # Who leaves, or was replaced, does not register again.
        self._thread = threading.Thread(target=self._run, name="catzilla-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def register(self, registration: pb.Registration) -> None:
        with self._changed:
            self._registration = registration
            if self._outbox is not None:
                self._outbox.put(pb.RegisterRequest(registration=registration))
            self._changed.notify_all()

    def report(self, report: pb.WorkerReport) -> None:
        with self._changed:
            if report == self._report:
                return
            self._report = report
            if self._outbox is not None:
                self._outbox.put(pb.RegisterRequest(report=report))

    def stand_down(self) -> None:
        """The stream that is open goes on; when it ends there is no other."""
        with self._changed:
            self._stands_down = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the stream: the registration is orphaned. Does not wait for the sidecar."""
        with self._changed:
            self._closed = True
            if self._outbox is not None:
                self._outbox.put(None)
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.cancel()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def status(self, timeout: float = 1.0) -> sidecar_pb.StatusResponse | None:
        """What the sidecar says of itself, or None. Blocks."""
        with _channel(self._address) as channel:
            ask = channel.unary_unary(
                _STATUS,
                request_serializer=sidecar_pb.StatusRequest.SerializeToString,
                response_deserializer=sidecar_pb.StatusResponse.FromString,
            )
            try:
                answer: sidecar_pb.StatusResponse = ask(sidecar_pb.StatusRequest(), timeout=timeout)
            except grpc.RpcError:
                return None
            return answer

    # On its thread...

    def _run(self) -> None:
        tries = 0
        while self._wait_for_registration():
            began = time.monotonic()
            lost = self._stream()
            with self._changed:
                if self._closed:
                    return
            self._notify(lost)
            tries = 0 if time.monotonic() - began > 5 else tries + 1
            row = _BACKOFF_REFUSED if lost.code in _REFUSALS else _BACKOFF
            pause = row[min(tries, len(row) - 1)] * random.uniform(0.8, 1.2)
            with self._changed:
                said = self._registration
                if self._changed.wait_for(lambda: self._closed or self._registration is not said, timeout=pause):  # noqa: B023
                    tries = 0

    def _wait_for_registration(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._registration is not None and not self._stands_down))
            return not self._closed

    def _stream(self) -> Lost:
        """One stream from its first message to its end."""
        with _channel(self._address) as channel:
            try:
                grpc.channel_ready_future(channel).result(timeout=_CONNECT)
            except grpc.FutureTimeoutError:
                return Lost("UNREACHABLE", f"no sidecar answers at {self._address}")
            register = channel.stream_stream(
                _REGISTER,
                request_serializer=pb.RegisterRequest.SerializeToString,
                response_deserializer=pb.RegisterResponse.FromString,
            )
            outbox: queue.SimpleQueue[pb.RegisterRequest | None] = queue.SimpleQueue()
            with self._changed:
                if self._closed:
                    return Lost("CANCELLED", "")
                outbox.put(pb.RegisterRequest(registration=self._registration))
                if self._report is not None:
                    outbox.put(pb.RegisterRequest(report=self._report))
                self._outbox = outbox
                self._call = call = register(_until_none(outbox))
            try:
                self._notify(Connected())
                for response in call:
                    self._notify(response)
                return Lost("OK", "the sidecar has ended the registration")
            except grpc.RpcError as error:
                return Lost(error.code().name, error.details() or "")
            finally:
                with self._changed:
                    self._outbox = self._call = None
                outbox.put(None)

    def __repr__(self) -> str:
        return f"<Lease {self._address}{' closed' if self._closed else ''}>"


def _channel(address: str) -> Any:
    options = [
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(address, options=options)


def _until_none(outbox: queue.SimpleQueue[pb.RegisterRequest | None]) -> Iterator[pb.RegisterRequest]:
    while (request := outbox.get()) is not None:
        yield request
