"""WebSocket echo: CPU per message behind each server, all its processes counted; and what idle sockets cost.

Usage: ./dev bench websockets [--rounds N] [--seconds N] [--connections N] [--idle N]

One worker each, the same FastAPI app, 125 bytes of text, no compression. The page goes into bench/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import app_peers
import environments
import idle
import machine
import network
import page
import peers
from measure import LOAD_CORE, SERVER_CORE, VERSIONS, Server, version_of

LOCK = "sockets"
BYTES = 125
BASE = "uvicorn, websockets"
OURS = "catzilla"
GOAL = 1 / 3
IDLE_GOAL_KIB = 6.0
HOW = """\
Server on one core, load (`bench/http/echo_load.cc`) on the other; rounds interleaved. Every byte that came back was
compared."""
TITLES = {
    "websockets": BASE,
    "websockets-sansio": "uvicorn, websockets-sansio",
    "wsproto": "uvicorn, wsproto",
}


@dataclasses.dataclass(frozen=True)
class Sample:
    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float


def _uvicorn(python: str, protocol: str) -> Server:
    def command(port: int) -> list[str]:
        made = peers.uvicorn(app_peers.APPS, "/").command(port)
        words = ["echo:app" if word == "hello:app" else word for word in made[1:]]
        # "WebSocket protocol implementation", by default the first that is installed.
        return [python, *words, "--ws", protocol]

    title = TITLES[protocol]
    told = app_peers.versions(
        python,
        "uvicorn",
        "uvloop",
        "httptools",
        "websockets",
        "wsproto",
        "fastapi",
        told="uvicorn:",
    )
    return Server(title, command, "/hello", {"PYTHONPATH": str(app_peers.APPS)}, version=told)


def _catzilla(
    python: str, folder: pathlib.Path, name: str, workers: int = 1, more: str = ""
) -> Server:
    config = folder / f"{name}.yaml"
    config.write_text("telemetry: {access_log: false}\n" + more)

    def command(port: int) -> list[str]:
        return [
            *(python, "-m", "catzilla", "run", "echo:app"),
            *("--host", "127.0.0.1", "--port", str(port), "--ops-port", "0"),
            *("--workers", str(workers), "--config", str(config)),
        ]

    path = os.pathsep.join([str(app_peers.APPS), str(app_peers.sdk_folder())])
    environment = {"PYTHONPATH": path, "CATZILLA_BIN_DIR": str(app_peers.binaries())}
    told = f"catzilla: {machine.commit(app_peers.sdk_folder())}"
    version = app_peers.versions(python, "uvloop", "fastapi", told=told)
    return Server(name, command, "/hello", environment, version=version)


def _command(server: Server, connections: int, seconds: float, *more: str) -> list[str]:
    program = str(app_peers.binaries() / "bench_echo_load")
    words = [str(server.port), "/echo", str(connections), str(seconds), str(BYTES), *more]
    return ["taskset", "-c", str(LOAD_CORE), program, *words]


def load(server: Server, connections: int, seconds: float) -> Sample:
    before = machine.cpu_seconds(server.pid)
    told = subprocess.run(
        _command(server, connections, seconds), capture_output=True, text=True, timeout=120
    )
    used = machine.cpu_seconds(server.pid) - before
    if told.returncode != 0:
        raise RuntimeError(f"{server.name}: {told.stderr}\n{server.said()}")
    found = json.loads(told.stdout)
    return Sample(
        used / found["messages"] * 1e6,
        found["messages"] / found["seconds"],
        found["p50_us"] / 1e3,
        found["p99_us"] / 1e3,
    )


@contextlib.contextmanager
def started(servers: list[Server], log: pathlib.Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start(SERVER_CORE, log)
            server.wait_until_answers()
            VERSIONS[server.name] = version_of(server)
        yield


def echo(options: argparse.Namespace, python: str, folder: pathlib.Path) -> dict[str, list[Sample]]:
    servers = [_uvicorn(python, protocol) for protocol in TITLES]
    servers.append(_catzilla(python, folder, OURS))
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    with started(servers, folder / "servers.log"):
        for turn in range(-1, options.rounds):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                sample = load(server, options.connections, 1 if turn < 0 else options.seconds)
                if turn >= 0:
                    samples[server.name].append(sample)
    return samples


def echo_table(samples: dict[str, list[Sample]]) -> str:
    lines = [
        f"| server | CPU µs a message, min–max | ratio to {BASE} | to ours | messages/s | p50 ms | p99 ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in samples.items():
        cpu = [sample.cpu_us for sample in found]
        ratios = [
            statistics.median(
                one.cpu_us / other.cpu_us for one, other in zip(found, samples[base], strict=True)
            )
            for base in (BASE, OURS)
        ]
        rate, p50, p99 = (
            statistics.median(getattr(sample, figure) for sample in found)
            for figure in ("rate", "p50_ms", "p99_ms")
        )
        lines.append(
            f"| {name} | {statistics.median(cpu):.1f} ({min(cpu):.1f}–{max(cpu):.1f}) | {ratios[0]:.3f} "
            f"| {ratios[1]:.2f} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |"
        )
    return "\n".join(lines)


def _rss_kib(pid: int) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1))


def _sidecar(root: int) -> int:
    for pid in machine.process_tree(root):
        if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("catzilla-sideca"):
            return pid
    raise RuntimeError("there is no sidecar among its processes")


def idle_table(options: argparse.Namespace, python: str, folder: pathlib.Path) -> str:
    count = min(options.idle, idle.descriptors() - 1000)
    more = (
        "limits: {max_connections: 60000, max_connections_per_client: 60000}\n"
        "pools: [{name: app, max_websockets: 60000}]\n"
    )
    server = _catzilla(python, folder, "idle", 2, more)
    with started([server], folder / "servers.log"):
        load(server, 64, 1)
        pid = _sidecar(server.pid)
        before, all_before = _rss_kib(pid), machine.rss_mib(server.pid)
        held = subprocess.Popen(
            _command(server, count, 0, "hold"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert held.stdout is not None and held.stdin is not None
        if held.stdout.readline() != b"held\n":
            raise RuntimeError(f"{count} sockets could not be held:\n{server.said()}")
        after, all_after = _rss_kib(pid), machine.rss_mib(server.pid)
        held.stdin.close()
        held.wait(60)
    rows = {
        "sockets held, each after one message": f"{count:,}",
        "sidecar before": f"{before / 1024:.1f} MiB",
        "sidecar with them": f"{after / 1024:.1f} MiB",
        "**of the sidecar, each**": f"**{(after - before) / count:.2f} KiB**",
        "all processes, each": f"{(all_after - all_before) * 1024 / count:.1f} KiB",
    }
    return "\n".join(["| | |", "| --- | ---: |", *(f"| {k} | {v} |" for k, v in rows.items())])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench websockets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--idle", type=int, default=10_000)
    options = parser.parse_args(arguments)
    environments.prepare(LOCK, sys.executable)
    network.enter()
    load_before = machine.load_average()
    with tempfile.TemporaryDirectory(prefix="catzilla-websockets-") as name:
        folder = pathlib.Path(name)
        python = environments.environment(LOCK, sys.executable)
        samples = echo(options, python, folder)
        held = idle_table(options, python, folder)
    told = (
        f"{options.connections} connections, {BYTES} bytes of text, one message at a time each; medians, ratios"
        f" round by round. Goal: ours at most {GOAL:.3f} of uvicorn with either library. The machine's load"
        f" average before it began: {load_before:.1f}.\n\n"
    )
    text = page.page(
        "WebSockets",
        " ".join(["./dev bench websockets", *arguments]),
        [
            ("Echo", told + echo_table(samples)),
            (f"Idle sockets (goal: {IDLE_GOAL_KIB:g} KiB)", held),
        ],
        HOW,
    )
    page.save("websockets", text)
    print(text)
    return 0
