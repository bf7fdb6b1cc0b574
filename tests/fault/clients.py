"""Clients that ask without a pause and remember what became of each request."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from raw_http import Answer, RawConnection

# Method, path, body. What is not idempotent may not be sent twice by anybody.
REQUESTS = (
    ("GET", "/", b""),
    ("GET", "/sync", b""),
    ("GET", "/slow", b""),
    ("PUT", "/kept", b'{"value":1}'),
    ("POST", "/once", b'{"value":1}'),
)
IDEMPOTENT = frozenset({"GET", "PUT"})
SECONDS = 60.0
PACE = 0.004


class Phases:
    """What is being done to those who serve. A request belongs to the hardest phase that it has seen."""

    def __init__(self, order: tuple[str, ...]) -> None:
        self._rank = {name: rank for rank, name in enumerate(order)}
        self._lock = threading.Lock()
        self._history: list[tuple[float, str]] = [(time.monotonic(), order[0])]

    def enter(self, name: str) -> None:
        with self._lock:
            self._history.append((time.monotonic(), name))

    def during(self, began: float, ended: float) -> str:
        with self._lock:
            history = list(self._history)
        seen = [
            name
            for (since, name), (until, _) in zip(
                history, [*history[1:], (float("inf"), "")], strict=True
            )
            if since <= ended and until >= began
        ]
        return max(seen, key=self._rank.__getitem__)


@dataclass
class Counts:
    """By phase: how many requests, and those that were not answered 200, by method and reason."""

    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, phase: str, method: str, outcome: str) -> None:
        self.requests[phase] += 1
        if outcome != "200":
            self.failed[phase, method, outcome] += 1


class Client(threading.Thread):
    """One connection after the other; `kept` ones are used again until the server closes them."""

    def __init__(self, port: int, number: int, phases: Phases, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.counts = Counts()
        self.slowest = 0.0
        self._port = port
        self._number = number
        self._phases = phases
        self._stop_event = stop
        self._connection: Connection | None = None

    def run(self) -> None:
        count = self._number
        while not self._stop_event.wait(PACE):
            count += 1
            method, path, body = REQUESTS[count % len(REQUESTS)]
            began = time.monotonic()
            outcome = self._ask(method, path, body)
            ended = time.monotonic()
            self.slowest = max(self.slowest, ended - began)
            self.counts.add(self._phases.during(began, ended), method, outcome)
        self._close()

    def _ask(self, method: str, path: str, body: bytes) -> str:
        """What became of it: a status, or what the connection did."""
        used = self._connection is not None
        try:
            answer = self._exchange(method, path, body)
        except _Closed as closed:
            self._close()
            # What every client does: the server has closed a connection that was idle, as it may.
            if used and closed.nothing_came and method in IDEMPOTENT:
                return self._ask(method, path, body)
            return f"closed {'before' if closed.nothing_came else 'within'} the answer"
        except ConnectionRefusedError:
            self._close()
            return "refused"
        except TimeoutError:
            self._close()
            return f"nothing within {SECONDS:g} s"
        except OSError as error:
            self._close()
            return type(error).__name__
        if self._number % 2 or (answer.header("connection") or "").lower() == "close":
            self._close()
        return str(answer.status)

    def _exchange(self, method: str, path: str, body: bytes) -> Answer:
        raw = self._connection or Connection(self._port, seconds=SECONDS)
        self._connection = raw
        raw.came = False
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            raw.send(head.encode() + b"\r\n" + body)
            return raw.read()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            raise _Closed(nothing_came=not raw.came) from None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.socket.close()
        self._connection = None


class Connection(RawConnection):
    came = False  # A byte of the answer.

    def _fill(self) -> None:
        super()._fill()
        self.came = True


class _Closed(Exception):
    def __init__(self, nothing_came: bool) -> None:
        super().__init__()
        self.nothing_came = nothing_came


class Load:
    """REQUIRES: something listens on `port`."""

    def __init__(self, port: int, phases: Phases, clients: int = 8) -> None:
        self._stop = threading.Event()
        self._clients = [Client(port, number, phases, self._stop) for number in range(clients)]
        self._began = 0.0
        self.rate = 0.0

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join(2 * SECONDS)
        total = sum(sum(client.counts.requests.values()) for client in self._clients)
        self.rate = total / (time.monotonic() - self._began)

    @property
    def counts(self) -> Counts:
        whole = Counts()
        for client in self._clients:
            whole.requests.update(client.counts.requests)
            whole.failed.update(client.counts.failed)
        return whole

    @property
    def slowest(self) -> float:
        return max(client.slowest for client in self._clients)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
