"""Idle keep-alive connections: how many are held, what each costs, and what they do to a hot request."""

from __future__ import annotations

import contextlib
import pathlib
import re
import resource
import socket
import statistics
import subprocess

import chart
import peers
from machine import rss_mib
from measure import Server, running

CONNECTIONS_WANTED = 18_000
RESERVE = 1_000  # Descriptors that neither side may spend on idle connections.
REQUEST = b"GET /1k.bin HTTP/1.1\r\nHost: a\r\n\r\n"


def descriptors() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_idle(port: int, count: int) -> list[socket.socket]:
    """Each has been answered once and is kept alive; a loopback address has 28,000 ports for clients."""
    held = []
    for index in range(count):
        raw = socket.socket()
        raw.bind((f"127.0.0.{2 + index // 20_000}", 0))
        raw.connect(("127.0.0.1", port))
        raw.sendall(REQUEST)
        held.append(raw)
        if index % 500 == 499 or index == count - 1:
            for one in held[-(index % 500 + 1) :]:
                while not one.recv(4096).endswith(b"x"):
                    pass
    return held


def p99_us(server: Server) -> float:
    result = subprocess.run(
        [
            *("taskset", "-c", "1", "wrk", "-t1", "-c8", "-d3s", "--latency"),
            f"http://127.0.0.1:{server.port}{server.path}",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", result)
    assert found is not None, result
    return float(found.group(1)) * {"us": 1, "ms": 1e3, "s": 1e6}[found.group(2)]


def idle(folder: pathlib.Path, drawing: pathlib.Path, rounds: int) -> list[tuple[str, str]]:
    files = folder / "files"
    files.mkdir(parents=True)
    (files / "1k.bin").write_bytes(b"x" * 1024)
    count = min(CONNECTIONS_WANTED, descriptors() - RESERVE)
    more = "limits: {max_connections: 60000, max_connections_per_client: 60000, idle_timeout: 1h}\n"
    server = peers.catzilla(folder, files, "/1k.bin", more=more, name="with")
    twin = peers.catzilla(folder, files, "/1k.bin", more=more, name="without")
    log = folder / "servers.log"
    with running([server, twin], 0, log), contextlib.ExitStack() as stack:
        assert server.process is not None
        for one in (server, twin):
            p99_us(one)
        alone = rss_mib(server.process.pid)
        for raw in open_idle(server.port, count):
            stack.enter_context(raw)
        full = rss_mib(server.process.pid)
        # Round by round, so that the machine's own moods disturb both alike.
        pairs = [(p99_us(twin), p99_us(server)) for _ in range(2 * rounds)]
    without, with_them = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [mine / base for base, mine in pairs]
    each = (full - alone) * 1024 / count
    rows = {
        "connections held": f"{count:,}",
        "resident memory before": f"{alone:.1f} MiB",
        "resident memory with them": f"{full:.1f} MiB",
        "of the process, each": f"{each:.2f} KiB",
        "for 50,000, computed": f"{alone + each * 50_000 / 1024:.0f} MiB",
        "p99 of a hot request with them": f"{with_them:.0f} µs",
        "of a twin that has none": f"{without:.0f} µs",
        "the ratio, round by round": f"{statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}–{max(ratios):.2f})",
    }
    bars = {"no idle connection": without, f"{count:,} idle connections": with_them}
    chart.write(drawing, "p99 of a hot 1 KiB file, 8 connections", "µs", {"": bars})
    lines = ["| | |", "| --- | ---: |", *(f"| {name} | {text} |" for name, text in rows.items())]
    return [("Idle keep-alive connections", "\n".join(lines))]


def slow_readers(folder: pathlib.Path, drawing: pathlib.Path) -> list[tuple[str, str]]:
    """100 clients read 1 GiB each, 64 KiB at a time, far slower than it could leave."""
    files = folder / "files"
    files.mkdir(parents=True)
    with (files / "1g.bin").open("wb") as file:
        file.truncate(1 << 30)
    server = peers.catzilla(folder, files, "/1g.bin")
    points: dict[str, float] = {}
    with running([server], 0, folder / "servers.log"), contextlib.ExitStack() as stack:
        assert server.process is not None
        points["before"] = rss_mib(server.process.pid)
        readers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(100)
        ]
        for raw in readers:
            raw.sendall(b"GET /1g.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        read = 0
        for mark in (1, 2, 4, 8):
            while read < mark * 100 * (1 << 20):
                for raw in readers:
                    read += len(raw.recv(1 << 16))
            points[f"after {mark} MiB each"] = rss_mib(server.process.pid)
    chart.write(drawing, "100 slow readers of 1 GiB", "resident MiB", {"": points})
    lines = ["| | resident memory |", "| --- | ---: |"]
    lines += [f"| {name} | {mib:.1f} MiB |" for name, mib in points.items()]
    return [("100 clients that read 1 GiB slowly", "\n".join(lines))]
