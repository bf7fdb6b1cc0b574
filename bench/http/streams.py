"""Ten thousand clients of one event stream, on one worker: memory, CPU, delays, and what other routes feel of it.

Usage: ./dev bench streams [--clients N] [--seconds N] [--contenders catzilla,uvicorn] [--paths /stream,/events]

Each client hears one event a second. The sidecar comes from $CATZILLA_BIN_DIR.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import footprint
import idle
import machine
import measure
import network
import page
import peers

HERE = pathlib.Path(__file__).resolve().parent
CONTENDERS = ("catzilla", "uvicorn")
# FastAPI's own events cost several times what a plain stream does: a fifth of the clients.
PATHS = {"/stream": 1, "/events": 5}
PROBE = "/hello"
HOW = f"""Server on one core, clients on the other: one process that opens all connections, at most 200 at once that wait for
their first event, and then listens. Memory is what each kind of process has more than before, all streams open. `{PROBE}`
is asked 50 times a second, one after the other, by a process that may run on either core."""
PROBES_A_SECOND = 50


def contender(name: str, folder: pathlib.Path) -> measure.Server:
    one = (
        peers.uvicorn(HERE, PROBE) if name == "uvicorn" else peers.catzilla_app(HERE, PROBE, folder)
    )

    def command(port: int) -> list[str]:
        return ["streams_app:app" if word == "hello:app" else word for word in one.command(port)]

    return dataclasses.replace(one, command=command)


@dataclasses.dataclass
class Look:
    """What a server's processes had at one moment, by kind."""

    memory: dict[str, float]  # KiB.
    cpu: dict[str, float]  # Seconds.

    @classmethod
    def at(cls, root: int) -> Look:
        memory: dict[str, float] = {}
        cpu: dict[str, float] = {}
        for pid, kind in footprint.kinds(root).items():
            memory[kind] = memory.get(kind, 0) + rss_kib(pid)
            cpu[kind] = cpu.get(kind, 0) + footprint.cpu_of(pid)
        return cls(memory, cpu)


def rss_kib(pid: int) -> float:
    pages = int((machine.PROC / str(pid) / "statm").read_text().split()[1])
    return pages * 4096 / 1024


def probe(port: int, path: str, seconds: float) -> list[float]:
    """Milliseconds of one request after the other, at a steady pace."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took = []
    due = time.monotonic()
    for _ in range(int(seconds * PROBES_A_SECOND)):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / PROBES_A_SECOND
        began = time.monotonic()
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        took.append((time.monotonic() - began) * 1000)
    connection.close()
    return sorted(took)


def told(clients: subprocess.Popen[str]) -> dict[str, Any]:
    assert clients.stdout is not None
    line = clients.stdout.readline()
    if not line:
        raise RuntimeError(f"the clients ended with {clients.wait()}")
    found: dict[str, Any] = json.loads(line)
    return found


def run(
    server: measure.Server, path: str, count: int, seconds: int, log: pathlib.Path
) -> dict[str, str]:
    with footprint.started(server, log):
        footprint.ask(server, 50)
        alone = probe(server.port, PROBE, 5)
        before = Look.at(server.pid)
        words = [str(HERE / "stream_clients.py"), str(server.port), path, str(count)]
        with subprocess.Popen(
            ["taskset", "-c", str(measure.LOAD_CORE), sys.executable, *words, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as clients:
            opened = told(clients)
            began, first = time.monotonic(), Look.at(server.pid)
            beside = probe(server.port, PROBE, seconds - 1)
            took, last = time.monotonic() - began, Look.at(server.pid)
            heard = told(clients)
    return rows(count, before, first, last, took, alone, beside, opened, heard)


def rows(
    clients: int,
    before: Look,
    first: Look,
    last: Look,
    took: float,
    alone: list[float],
    beside: list[float],
    opened: dict[str, Any],
    heard: dict[str, Any],
) -> dict[str, str]:
    found = {
        "to open all, s": f"{opened['took']:.1f}",
        "streams that ended": str(heard["ended"]),
        "events of the client that heard fewest": str(heard["fewest"]),
        "events per second": f"{heard['rate']:,.0f}",
        "an event's way, ms: median, p99, longest": f"{heard['p50']:.1f}, {heard['p99']:.0f}, {heard['max']:.0f}",
    }
    for kind in sorted(last.memory):
        grown = last.memory[kind] - before.memory[kind]
        found[f"{kind}: memory, MiB"] = (
            f"{before.memory[kind] / 1024:.1f} → {last.memory[kind] / 1024:.1f}"
        )
        found[f"{kind}: of it per stream, KiB"] = f"{grown / clients:.2f}"
        found[f"{kind}: CPU, % of a core"] = (
            f"{(last.cpu[kind] - first.cpu[kind]) / took * 100:.1f}"
        )
    for name, probes in (("without streams", alone), ("beside them", beside)):
        middle, high = probes[len(probes) // 2], probes[len(probes) * 99 // 100]
        found[f"{PROBE} {name}, ms: median, p99, longest"] = (
            f"{middle:.2f}, {high:.1f}, {probes[-1]:.0f}"
        )
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    lines = [f"| | {' | '.join(found)} |", "| --- |" + " ---: |" * len(found)]
    for name in names:
        lines.append(f"| {name} | {' | '.join(rows.get(name, '') for rows in found.values())} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench streams",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--paths", default=",".join(PATHS))
    options = parser.parse_args(arguments)
    if wrong := sorted(set(options.paths.split(",")) - set(PATHS)):
        parser.error(f"{', '.join(wrong)}: none of {', '.join(PATHS)}")
    if wrong := sorted(set(options.contenders.split(",")) - set(CONTENDERS)):
        parser.error(f"{', '.join(wrong)}: none of {', '.join(CONTENDERS)}")
    network.enter()
    most = idle.descriptors() - 100
    if options.clients > most:
        parser.error(
            f"--clients {options.clients}: this process may open {most} (RLIMIT_NOFILE): raise it, or ask for fewer"
        )
    sections = []
    with tempfile.TemporaryDirectory(prefix="catzilla-streams-") as name:
        folder = pathlib.Path(name)
        for path in options.paths.split(","):
            found = {}
            clients = options.clients // PATHS[path]
            for each in options.contenders.split(","):
                server = contender(each, folder)
                print(f"{server.name}: {path}, {clients:,} clients", file=sys.stderr, flush=True)
                found[server.name] = run(
                    server, path, clients, options.seconds, folder / "servers.log"
                )
            sections.append((f"{path}, {clients:,} clients", table(found)))
    command = " ".join(["./dev bench streams", *arguments])
    text = page.page("Event streams: many clients of one worker", command, sections, HOW)
    print(text)
    if set(options.contenders.split(",")) == set(CONTENDERS):
        page.save("streams", text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
