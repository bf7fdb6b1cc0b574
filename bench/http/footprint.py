"""What an app costs while nobody asks, how much memory its processes take, and what ten thousand routes do to it.

Usage: ./dev bench footprint [--only idle,memory,routes] [--seconds N] [--rounds N]

The sidecar comes from $CATZILLA_BIN_DIR. With all three parts the page goes into bench/results/, else it is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import app_peers
import environments
import fairness
import machine
import network
import page
from measure import LOAD_CORE, SERVER_CORE, VERSIONS, Sample, Server, load, version_of

WORKERS = 4
REQUESTS = 400  # Before memory is looked at: what an app makes lazily is there.
COUNTS = (10, 1_000, 10_000)
PARTS = ("idle", "memory", "routes")
SETTLES = 5.0
STARTS = 300.0
UVICORN = "uvicorn + FastAPI"


def uvicorn(python: str, app: str) -> Server:
    one = app_peers.contender("uvicorn", python, "app", pathlib.Path())

    def command(port: int) -> list[str]:
        words = [app if word.startswith("app_rows:") else word for word in one.command(port)]
        return [*words, "--workers", str(WORKERS)]

    return dataclasses.replace(one, name=UVICORN, command=command)


def catzilla(python: str, folder: pathlib.Path, app: str, workers: int) -> Server:
    one = app_peers.contender(app_peers.OURS, python, "app", folder)

    def command(port: int) -> list[str]:
        words = [app if word.startswith("app_rows:") else word for word in one.command(port)]
        at = words.index("--workers")
        return [*words[: at + 1], str(workers), *words[at + 2 :]]

    return dataclasses.replace(one, command=command)


@contextlib.contextmanager
def started(server: Server, log: pathlib.Path) -> Iterator[None]:
    """Its app has answered."""
    try:
        server.start(SERVER_CORE, log)
        server.wait_until_answers(STARTS)
        VERSIONS[server.name] = version_of(server)
        yield
    finally:
        server.stop()


def ask(server: Server, count: int) -> None:
    """Each on a connection of its own, so that every worker gets some."""
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", server.path)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        connection.close()


# Processes...


def kind_of(pid: int) -> str:
    words = (machine.PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    text = b" ".join(words).decode()
    for part, kind in (
        ("catzilla-sidecar", "sidecar"),
        ("catzilla._master._zygote", "zygote"),
        ("catzilla._worker", "worker"),
        ("-m catzilla", "master"),
        ("resource_tracker", "helper"),
        ("multiprocessing", "worker"),
    ):
        if part in text:
            return kind
    return "supervisor"


def kinds(root: int) -> dict[int, str]:
    """By process. Forked workers have the zygote's command line: the oldest of these is the zygote."""
    found = {}
    for pid in machine.process_tree(root):
        with contextlib.suppress(OSError):
            found[pid] = kind_of(pid)
    zygotes = sorted(pid for pid, kind in found.items() if kind == "zygote")
    found.update(dict.fromkeys(zygotes[1:], "worker"))
    return found


def pss_mib(pid: int) -> float:
    text = (machine.PROC / str(pid) / "smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 1024


def cpu_of(pid: int) -> float:
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


# The parts...


def idle_table(servers: list[Server], seconds: float, log: pathlib.Path) -> str:
    lines = ["| server | process | CPU, % of a core |", "| --- | --- | ---: |"]
    for server in servers:
        with started(server, log):
            ask(server, REQUESTS // 4)
            time.sleep(SETTLES)
            processes = kinds(server.pid)
            before = {pid: cpu_of(pid) for pid in processes}
            began = time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            used = {pid: (cpu_of(pid) - before[pid]) / took * 100 for pid in processes}
        for kind in sorted(set(processes.values())):
            mine = [used[pid] for pid, other in processes.items() if other == kind]
            lines.append(f"| {server.name} | {len(mine)} × {kind} | {max(mine):.3f} |")
    return "\n".join(lines)


def memory_table(servers: list[Server], log: pathlib.Path) -> str:
    lines = ["| server | process | PSS MiB |", "| --- | --- | ---: |"]
    totals = []
    for server in servers:
        with started(server, log):
            ask(server, REQUESTS)
            processes = kinds(server.pid)
            sizes = {pid: pss_mib(pid) for pid in processes}
        for kind in sorted(set(processes.values())):
            mine = [sizes[pid] for pid, other in processes.items() if other == kind]
            told = f"{sum(mine):.1f}" + (f" ({sum(mine) / len(mine):.1f} each)" if mine[1:] else "")
            lines.append(f"| {server.name} | {len(mine)} × {kind} | {told} |")
        totals.append(sum(sizes.values()))
        lines.append(f"| {server.name} | **together** | **{totals[-1]:.1f}** |")
    lines += ["", f"Ours is {totals[-1] / totals[0]:.0%} of uvicorn's (goal: at most 45 %)."]
    return "\n".join(lines)


COMPILE = """
import json, sys, time
began = time.process_time()
import app_many
imported = time.process_time()
from catzilla._routing import compile_table
from catzilla._compile._assign import compiled_app
ready = time.process_time()
table = compile_table(app_many.app)
compiled_app(app_many.app, table.compiled)
print(json.dumps([imported - began, time.process_time() - ready, len(table.encode())]))
"""


def compile_times(server: Server, python: str, count: int) -> list[float]:
    """Seconds to import the app, to compile its table; and the table's bytes."""
    made = subprocess.run(
        ["taskset", "-c", str(SERVER_CORE), python, "-c", COMPILE],
        check=True,
        capture_output=True,
        text=True,
        env={**server.environment, "BENCH_ROUTES": str(count), "PATH": "/usr/bin:/bin"},
    )
    found: list[float] = json.loads(made.stdout)
    return found


def routes_table(options: argparse.Namespace, folder: pathlib.Path, log: pathlib.Path) -> str:
    lines = [
        "| routes | import, CPU s | compile, CPU s | table | to the first answer, CPU s | PSS MiB "
        "| CPU µs per request | to ten routes |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    servers: dict[int, Server] = {}
    starts: dict[int, float] = {}
    sizes: dict[int, float] = {}
    samples: dict[int, list[Sample]] = {count: [] for count in COUNTS}
    with contextlib.ExitStack() as stack:
        for count in COUNTS:
            own = folder / str(count)
            own.mkdir()
            number = count // 2
            server = catzilla(options.interpreter, own, "app_many:app", 1)
            server = dataclasses.replace(
                server,
                name=f"catzilla, {count} routes",
                path=f"/things{number}/7?limit=3",
                environment={**server.environment, "BENCH_ROUTES": str(count)},
                wanted=fairness.Wanted(
                    body=len(content := f'{{"number":{number},"thing":7,"limit":3}}'.encode()),
                    content=content,
                ),
            )
            stack.enter_context(started(server, log))
            starts[count] = machine.cpu_seconds(server.pid)
            sizes[count] = sum(pss_mib(pid) for pid in machine.process_tree(server.pid))
            servers[count] = server
        for turn in range(-1, options.rounds):
            for count in COUNTS if turn % 2 == 0 else COUNTS[::-1]:
                found = load(servers[count], LOAD_CORE, 32, 1 if turn < 0 else 3, 1, folder)
                if turn >= 0:
                    samples[count].append(found)
    for count in COUNTS:
        python = environments.environment("apps", options.interpreter)
        imported, compiled, size = compile_times(servers[count], python, count)
        ratios = [
            mine.cpu_us / base.cpu_us
            for mine, base in zip(samples[count], samples[COUNTS[0]], strict=True)
        ]
        cpu = statistics.median(sample.cpu_us for sample in samples[count])
        lines.append(
            f"| {count:,} | {imported:.2f} | {compiled:.2f} | {size / 2**20:.1f} MiB "
            f"| {starts[count]:.1f} | {sizes[count]:.0f} | {cpu:.1f} | {statistics.median(ratios):.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench footprint",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(PARTS), help=",".join(PARTS))
    parser.add_argument("--seconds", type=float, default=30.0, help="of idleness")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if wrong := sorted(set(parts) - set(PARTS)):
        parser.error(f"{', '.join(wrong)}: none of {', '.join(PARTS)}")
    options.interpreter = environments.interpreter(environments.OWN)
    environments.prepare("apps", options.interpreter)
    network.enter()
    sections = []
    with tempfile.TemporaryDirectory(prefix="catzilla-footprint-") as name:
        folder = pathlib.Path(name)
        log = folder / "servers.log"
        both = [
            uvicorn(options.interpreter, "app_rows:app"),
            catzilla(options.interpreter, folder, "app_rows:app", WORKERS),
        ]
        if "idle" in parts:
            text = f"Over {options.seconds:g} s without a request; the busiest process of each kind (goal: a worker under 0.1 %).\n\n"
            sections.append(("Idle", text + idle_table(both, options.seconds, log)))
        if "memory" in parts:
            text = (
                f"Proportional set size of all processes, {WORKERS} workers, after {REQUESTS} requests: pages that"
                " several processes share count in parts.\n\n"
            )
            sections.append(("Memory, a small app", text + memory_table(both, log)))
            large = [
                uvicorn(options.interpreter, "app_large:app"),
                catzilla(options.interpreter, folder, "app_large:app", WORKERS),
            ]
            text = "The same for an app that makes some 45 MiB of objects while it is imported.\n\n"
            sections.append(("Memory, a large app", text + memory_table(large, log)))
        if "routes" in parts:
            text = (
                "One worker, 32 connections; the route in the middle of the table is asked for.\n\n"
            )
            sections.append(("Many routes", text + routes_table(options, folder, log)))
    command = " ".join(["./dev bench footprint", *arguments])
    text = page.page("Footprint: idle, memory, many routes", command, sections)
    print(text)
    if set(parts) == set(PARTS):
        page.save("footprint", text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
