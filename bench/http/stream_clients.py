"""Many clients of one event stream, in one process: `python stream_clients.py PORT PATH CLIENTS SECONDS`.

Opens them, at most so many at once that wait for their first event, and prints a line of JSON; listens for SECONDS, and
prints another: events, how long each was under way (its data is the server's monotonic clock), connections that ended.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time

OPENING = 200
PER_ADDRESS = 20_000  # A loopback address has 28,000 ports for clients.
DATA = re.compile(rb"data: (\d+)")


class Clients:
    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n".encode()
        )
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._asking: set[int] = set()  # Nothing has come yet...
        self._waiting: set[int] = set()  # ...and no event.
        self.delays: list[float] = []
        self.ended = 0
        self.heard: dict[int, int] = {}

    def open(self, count: int) -> None:
        for index in range(count):
            raw = socket.socket()
            raw.bind((f"127.0.0.{2 + index // PER_ADDRESS}", 0))
            raw.connect(("127.0.0.1", self._port))
            raw.sendall(self._request)
            raw.setblocking(False)
            self._open[raw.fileno()] = raw
            self._asking.add(raw.fileno())
            self._waiting.add(raw.fileno())
            self._poll.register(raw.fileno(), select.EPOLLIN)
            while len(self._waiting) >= OPENING:
                self._read(1)
        while self._waiting:
            self._read(1)

    def listen(self, seconds: float) -> None:
        self.delays.clear()
        self.heard.clear()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            data = self._open[number].recv(65536)
            now = time.monotonic_ns()
            if not data:
                self._poll.unregister(number)
                self._waiting.discard(number)
                self.ended += 1
                continue
            if number in self._asking and not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"stream {len(self._open)} is refused: {data[:1000]!r}")
            self._asking.discard(number)
            for event in DATA.finditer(data):
                self._waiting.discard(number)
                self.delays.append((now - int(event.group(1))) / 1e6)
                self.heard[number] = self.heard.get(number, 0) + 1


def main() -> int:
    port, path, count, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    clients = Clients(port, path)
    began = time.monotonic()
    clients.open(count)
    print(json.dumps({"opened": count, "took": time.monotonic() - began}), flush=True)
    clients.listen(seconds)
    delays = sorted(clients.delays)
    told = {
        "events": len(delays),
        "rate": len(delays) / seconds,
        "ended": clients.ended,
        "fewest": min(clients.heard.values(), default=0) if len(clients.heard) == count else 0,
        "p50": delays[len(delays) // 2],
        "p99": delays[len(delays) * 99 // 100],
        "max": delays[-1],
    }
    print(json.dumps(told), flush=True)
    sys.stdin.read()  # The streams stay open until the bench has looked.
    return 0


if __name__ == "__main__":
    sys.exit(main())
