"""The app path: what a FastAPI app costs behind each server, all processes of a contender counted together.

Usage: ./dev bench app [--rows ROW,...] [--contenders NAME,...] [--rounds N] [--seconds N]
                       [--python 3.13] [--sdk-lanes on|off]

One worker each. The sidecar comes from $CATZILLA_BIN_DIR and the SDK from $PYTHONPATH, where they are set. With all
rows and all contenders the page goes into bench/results/, else it is only printed. A contender that does not start,
or that a round shows to be unfair, has no figure there; the page says why, and where that is ours the run fails.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import app_peers
import environments
import fairness
import machine
import network
import page
from app_cases import CASES, TITLES, Case
from measure import LOAD_CORE, SERVER_CORE, VERSIONS, Sample, Server, load, version_of

NAMES = [*app_peers.PEERS, app_peers.OURS]
BASE = "uvicorn"
OPEN_CONNECTIONS = 128
SHARES = (0.5, 0.8)


@dataclasses.dataclass
class Bench:
    options: argparse.Namespace
    folder: pathlib.Path
    samples: dict[Case, dict[str, list[Sample]]] = dataclasses.field(default_factory=dict)
    open_rows: list[str] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    ours_failed: bool = False
    load_before: float = dataclasses.field(default_factory=machine.load_average)

    @property
    def log(self) -> pathlib.Path:
        return self.folder / "servers.log"

    def fail(self, name: str, where: str, error: Exception | str) -> None:
        said = str(error).strip() or repr(error)
        self.failures.setdefault(f"{app_peers.TITLES[name]}, {where}", said)
        self.ours_failed |= name in (BASE, app_peers.OURS)
        print(f"   {name}, {where}: {said}", file=sys.stderr, flush=True)


def wanted_by(case: Case, server: Server) -> Server:
    """The same running contender, asked for a row."""
    content = case.content
    return dataclasses.replace(
        server,
        path=case.path,
        method=case.method,
        headers=case.headers,
        body=case.body,
        wanted=fairness.Wanted(body=len(content), content=content),
    )


@contextlib.contextmanager
def started(bench: Bench, app: str, by_hand: bool) -> Iterator[dict[str, Server]]:
    """All contenders that can serve the app."""
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:
        for name in bench.options.contenders:
            if name != app_peers.OURS and not app_peers.PEERS[name].fastapi and not by_hand:
                continue
            folder = bench.folder / f"{name}-{app}"
            folder.mkdir(exist_ok=True)
            try:
                server = app_peers.contender(
                    name, bench.options.interpreter, app, folder, bench.options.sdk_lanes
                )
                stack.callback(server.stop)
                server.start(SERVER_CORE, bench.log)
                server.wait_until_answers()
            except (RuntimeError, OSError) as error:
                bench.fail(name, "start", error)
                continue
            VERSIONS[server.name] = version_of(server)
            servers[name] = server
        yield servers


def closed_loop(bench: Bench, case: Case, servers: dict[str, Server]) -> None:
    """Rounds of all contenders in turn, each second one backwards, after a short warm-up of each."""
    options, folder = bench.options, bench.folder
    asked = {name: wanted_by(case, server) for name, server in servers.items()}
    samples: dict[str, list[Sample]] = {name: [] for name in asked}
    for turn in range(-1, options.rounds):
        for name in list(asked) if turn % 2 == 0 else list(asked)[::-1]:
            try:
                seconds = 1 if turn < 0 else options.seconds
                found = load(asked[name], LOAD_CORE, case.connections, seconds, 1, folder)
            except RuntimeError as error:
                bench.fail(name, case.title, asked[name].ended() or error)
                del asked[name], samples[name]
                continue
            if turn >= 0:
                samples[name].append(found)
    bench.samples[case] = samples
    figures = (f"{name} {cpu_of(found):.1f}" for name, found in samples.items())
    print(f"   {case.title}: {', '.join(figures)} µs", file=sys.stderr, flush=True)


def open_loop(bench: Bench, case: Case, servers: dict[str, Server]) -> None:
    """Shares of what each can do, and the same rates for all: of what the first of them can do."""
    asked = {name: wanted_by(case, server) for name, server in servers.items()}
    capacity: dict[str, float] = {}
    for name, server in asked.items():
        try:
            found = load(server, LOAD_CORE, 32, bench.options.seconds, 1, bench.folder)
            capacity[name] = found.requests_per_second
        except RuntimeError as error:
            bench.fail(name, case.title, server.ended() or error)
    if not capacity:
        return
    base = next(iter(capacity))
    for share, of in itertools.product(SHARES, ("own", "base")):
        for name in capacity:
            rate = share * capacity[name if of == "own" else base]
            whose = "its own" if of == "own" else f"{base}'s"
            if (of == "base" and name == base) or rate > capacity[name]:
                continue
            try:
                row = open_round(asked[name], rate, bench.options.seconds * 2)
            except RuntimeError as error:
                bench.fail(name, case.title, asked[name].ended() or error)
                continue
            line = f"| {case.kind} | {app_peers.TITLES[name]} | {share:.0%} of {whose} | {row}"
            bench.open_rows.append(line)
            print(f"   {line}", file=sys.stderr, flush=True)


def open_round(server: Server, rate: float, seconds: float) -> str:
    server.ask()
    request = fairness.request_of(
        server.port, server.path, server.headers, server.method, server.body
    )
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable]
    command += [str(app_peers.APPS / "open_loop.py"), str(server.port)]
    command += [str(rate), str(seconds), str(OPEN_CONNECTIONS)]
    before = machine.cpu_seconds(server.pid)
    told = subprocess.run(command, input=request, capture_output=True)
    used = machine.cpu_seconds(server.pid) - before
    if told.returncode != 0:
        raise RuntimeError(f"open loop at {rate:.0f}/s: {told.stderr.decode().strip()[-300:]}")
    found = json.loads(told.stdout)
    times = " | ".join(f"{found[key]:.2f}" for key in ("p50", "p99", "p99.9", "late"))
    return f"{rate:,.0f} | {used / found['requests'] * 1e6:.1f} | {times} |"


def cpu_of(samples: list[Sample]) -> float:
    return statistics.median(sample.cpu_us for sample in samples)


def ratios(mine: list[Sample], base: list[Sample]) -> list[float]:
    return [one.cpu_us / other.cpu_us for one, other in zip(mine, base, strict=True)]


def cpu_table(bench: Bench) -> str:
    """A line for each row, a column for each contender, and what was to be reached."""
    options = bench.options
    names, base = options.contenders, options.contenders[0]
    with_goals = app_peers.OURS in names and base == BASE
    heads = [*(app_peers.TITLES[name] for name in names)]
    heads += ["ours, min–max", "goal"] if with_goals else []
    lines = [f"| row | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for case, samples in bench.samples.items():
        cells, spread = [], ""
        for name in names:
            if name not in samples:
                cells.append("–")
                continue
            cell = f"{cpu_of(samples[name]):.1f}"
            if name != base and base in samples:
                found = ratios(samples[name], samples[base])
                cell += f" ({statistics.median(found):.3f})"
                if name == app_peers.OURS:
                    spread = f"{min(found):.3f}–{max(found):.3f}"
            cells.append(cell)
        if with_goals:
            goal = case.wanted_ratio(options.version)
            cells += [spread, "" if goal is None else f"≤ {goal:.3f}"]
        lines.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rates_table(bench: Bench) -> str:
    lines = [
        "| row | server | CPU µs, min–max | requests/s | p50 ms | p75 ms | p99 ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case, samples in bench.samples.items():
        for name, found in samples.items():
            cpu = [sample.cpu_us for sample in found]
            rate, *times = (
                statistics.median(getattr(sample, figure) for sample in found)
                for figure in ("requests_per_second", "p50_ms", "p75_ms", "p99_ms")
            )
            lines.append(
                f"| {case.title} | {app_peers.TITLES[name]} | {min(cpu):.1f}–{max(cpu):.1f} "
                f"| {rate:,.0f} | {' | '.join(f'{time:.2f}' for time in times)} |"
            )
    return "\n".join(lines)


def sections(bench: Bench) -> list[tuple[str, str]]:
    base = app_peers.TITLES[bench.options.contenders[0]]
    found = [
        (
            "CPU per request",
            f"Microseconds, medians; in brackets the ratio to {base}, round by round. 32 connections,"
            " where no other number stands. – : cannot do it, or see below. The machine's load average before"
            f" it began: {bench.load_before:.1f}.\n\n" + cpu_table(bench),
        ),
        (
            "Rates and times",
            "As many requests as the server takes. Where 0.2 % of the handlers sleep, their answers are among"
            " those of the percentiles: the others' are at most as long (goal for p75: 4 ms).\n\n"
            + rates_table(bench),
        ),
    ]
    if bench.open_rows:
        lines = [
            f"Arrivals at random at a fixed rate over {OPEN_CONNECTIONS} connections; times count from when a request was"
            " due. `late`: how late the load generator itself was at its 99th percentile; where that is much, the"
            " times are its own.",
            "",
            "| handler | server | rate | requests/s | CPU µs | p50 ms | p99 ms | p99.9 ms | late ms |",
            "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        found.append(("Open loop", "\n".join([*lines, *bench.open_rows])))
    if bench.failures:
        told = [
            f"- {where}:\n\n      " + said.replace("\n", "\n      ")
            for where, said in bench.failures.items()
        ]
        found.append(("No figure", "\n".join(told)))
    return found


def measure(bench: Bench) -> None:
    cases = [case for case in CASES if case.row in bench.options.rows]
    # One start of the contenders for all the rows that they can do.
    for (app, by_hand), rows in itertools.groupby(
        sorted(cases, key=lambda case: (case.app, not case.by_hand)),
        key=lambda case: (case.app, case.by_hand),
    ):
        with started(bench, app, by_hand) as servers:
            for case in rows:
                if servers:
                    (open_loop if case.row == "open" else closed_loop)(bench, case, servers)
    bench.samples = {case: bench.samples[case] for case in CASES if case in bench.samples}


def _names(allowed: list[str]) -> object:
    def parse(text: str) -> list[str]:
        found = text.split(",")
        if wrong := sorted(set(found) - set(allowed)):
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: none of {', '.join(allowed)}")
        return [name for name in allowed if name in found]

    return parse


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench app",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rows = list(TITLES)
    parser.add_argument("--rows", type=_names(rows), default=rows, help=",".join(rows))  # type: ignore[arg-type]
    parser.add_argument("--contenders", type=_names(NAMES), default=NAMES, help=",".join(NAMES))  # type: ignore[arg-type]
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--python", default=environments.OWN)
    parser.add_argument("--sdk-lanes", choices=["on", "off"], help="CATZILLA_LANES of our worker")
    options = parser.parse_args(arguments)
    try:
        options.interpreter = environments.interpreter(options.python)
    except environments.NotInstalled as error:
        parser.error(str(error))
    options.version = environments.version_of(options.interpreter)
    return options


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    sidecar = app_peers.binaries() / "catzilla-sidecar"
    if app_peers.OURS in options.contenders and not sidecar.exists():
        print(f"{sidecar} does not exist: ./dev build, or CATZILLA_BIN_DIR", file=sys.stderr)
        return 1
    for name in options.contenders:
        lock = "apps" if name == app_peers.OURS else app_peers.PEERS[name].lock
        environments.prepare(lock, options.interpreter)
    network.enter()
    with tempfile.TemporaryDirectory(prefix="catzilla-app-") as folder:
        bench = Bench(options, pathlib.Path(folder))
        measure(bench)
    version = ".".join(map(str, options.version))
    title = f"The app path: FastAPI on Python {version}"
    command = " ".join(["./dev bench app", *arguments])
    text = page.page(title, command, sections(bench))
    print(text)
    if options.rows == list(TITLES) and options.contenders == NAMES and not bench.ours_failed:
        page.save(f"app-python{version}", text)
    return 1 if bench.ours_failed else 0
