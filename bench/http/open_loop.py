"""Requests at a fixed rate, whether the answers come or not: what a queue does to those who wait in it.

Usage: python open_loop.py PORT RATE SECONDS CONNECTIONS <REQUEST

Arrivals are a Poisson process with a fixed seed, the same for every server. An answer's time counts from when its
request was due, not from when a connection was free for it. Prints one line of JSON; `late` is how late this program
itself was at the 99th percentile: where that is much, it was the limit and not the server.
"""

from __future__ import annotations

import collections
import json
import random
import select
import socket
import sys
import time


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def due_times(rate: float, seconds: float) -> list[float]:
    dice, now, found = random.Random(7), 0.0, []
    while (now := now + dice.expovariate(rate)) < seconds:
        found.append(now)
    return found


def _closed() -> bytes:
    raise SystemExit("a connection was closed")


def answer_length(raw: socket.socket, request: bytes) -> int:
    """All answers are as long as the first."""
    raw.sendall(request)
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += raw.recv(1 << 16) or _closed()
    fields = data[:end].lower().split(b"\r\n")
    body = next(int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length:"))
    while len(data) < end + 4 + body:
        data += raw.recv(1 << 16) or _closed()
    return end + 4 + body


def run(
    port: int, request: bytes, rate: float, seconds: float, connections: int
) -> dict[str, float]:
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    poll = select.epoll()
    by_file = {}
    length = 0
    for raw in sockets:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        length = answer_length(raw, request)
        raw.setblocking(False)
        by_file[raw.fileno()] = raw
        poll.register(raw.fileno(), select.EPOLLIN)
    free = collections.deque(sockets)
    due = due_times(rate, seconds)
    waiting: collections.deque[float] = collections.deque()
    sent: dict[socket.socket, tuple[float, int]] = {}
    took: list[float] = []
    late: list[float] = []
    following, began = 0, time.perf_counter()
    while len(took) < len(due):
        now = time.perf_counter() - began
        while following < len(due) and due[following] <= now:
            late.append(now - due[following])
            waiting.append(due[following])
            following += 1
        while waiting and free:
            raw = free.popleft()
            sent[raw] = (waiting.popleft(), length)
            raw.send(request)
        if now > seconds + 30:
            raise SystemExit(f"{len(due) - len(took)} of {len(due)} answers did not come")
        pause = due[following] - now if following < len(due) else 0.1
        # A wait of less than a millisecond would be rounded up to one.
        for number, _ in poll.poll(pause if pause > 0.001 else 0):
            raw = by_file[number]
            piece = raw.recv(1 << 16)
            if not piece:
                _closed()
            since, missing = sent[raw]
            missing -= len(piece)
            sent[raw] = (since, missing)
            if missing == 0:
                took.append(time.perf_counter() - began - since)
                free.append(raw)
            elif missing < 0:
                raise SystemExit("an answer was longer than the first")
    poll.close()
    for raw in sockets:
        raw.close()
    took.sort()
    late.sort()
    found = {f"p{share}": percentile(took, share / 100) * 1000 for share in (50, 99, 99.9)}
    return {**found, "late": percentile(late, 0.99) * 1000, "requests": len(took)}


if __name__ == "__main__":
    port, rate, seconds, connections = sys.argv[1:]
    asked = sys.stdin.buffer.read()
    print(json.dumps(run(int(port), asked, float(rate), float(seconds), int(connections))))
