"""CPU per request of several servers, interleaved in one run.

Every server is pinned to one core and the load to another; rounds go A B C … A B C …, so that a
machine whose speed drifts disturbs all of them alike. What counts is the CPU time of the server's
processes (user and system, from the scheduler) divided by the requests it answered, as a ratio to the bare
epoll responder of the same round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import resource
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on 127.0.0.1:{port} after {seconds} s")


def process_tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, []))
    return found


def cpu_seconds(root: int) -> float:
    """Time on a CPU, user and system, of the process, its threads and its descendants."""
    nanoseconds = 0
    for pid in process_tree(root):
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError, IndexError):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def rss_mib(root: int) -> float:
    pages = 0
    for pid in process_tree(root):
        with contextlib.suppress(OSError, IndexError):
            pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclasses.dataclass
class Server:
    """One contender: how to start it on a port, and what to ask of it."""

    name: str
    command: Callable[[int], list[str]]
    path: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    script: str | None = None  # For wrk, if this contender is asked in another way.
    version: list[str] | None = None  # A command that prints it.
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self, core: int, log: pathlib.Path) -> None:
        self.port = free_port()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *self.command(self.port)],
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        wait_for(self.port)

    def stop(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


# Of the peers that have been measured, for the table.
VERSIONS: dict[str, str] = {}


class Unfair(RuntimeError):
    """A contender was not measured at its best, or not at what was asked of it: no figure is taken."""


def passive_opens() -> int:
    """Connections that were accepted in this network namespace, ever."""
    names, values = [
        line.split()
        for line in pathlib.Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Tcp:")
    ]
    return int(values[names.index("PassiveOpens")])


def judge(name: str, said: str, *, connections: int, opened: int, used: float, took: float) -> None:
    """Raises Unfair where a round shows a mistake of ours in how a contender was set up or loaded."""
    if opened > connections + 2:
        raise Unfair(
            f"{name} does not keep its connections: {opened} were opened for {connections}"
        )
    errors = re.search(r"Socket errors: .*", said)
    if errors is not None:
        raise Unfair(f"{name}: {errors.group(0)}")
    if used > took * 1.05 + 0.1:
        raise Unfair(f"{name} used {used:.2f} s of CPU in {took:.2f} s: more than its one core")


def version_of(server: Server) -> str:
    """One line, for the table."""
    if server.version is None:
        return server.name
    told = subprocess.run(server.version, capture_output=True, text=True, check=True)
    return (told.stdout + told.stderr).strip().splitlines()[0]


@dataclasses.dataclass(frozen=True)
class Sample:
    requests: int
    cpu_us: float  # Of one request.
    requests_per_second: float
    mib_per_cpu_second: float
    mib_per_second: float
    # With the client's CPU: the kernel does part of the sending on whichever core takes the acknowledgement.
    mib_per_cpu_second_of_both: float


def load(server: Server, core: int, connections: int, seconds: float, script: str | None) -> Sample:
    """One round of wrk against a server."""
    assert server.process is not None
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if server.script or script:
        command += ["-s", server.script or script or ""]
    before = cpu_seconds(server.process.pid)
    opened = passive_opens()
    client_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    result = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{server.path}"],
        check=True,
        capture_output=True,
        text=True,
    )
    took = time.monotonic() - began
    used = cpu_seconds(server.process.pid) - before
    judge(
        server.name,
        result.stdout,
        connections=connections,
        opened=passive_opens() - opened,
        used=used,
        took=took,
    )
    client = resource.getrusage(resource.RUSAGE_CHILDREN)
    both = used + (
        client.ru_utime + client.ru_stime - client_before.ru_utime - client_before.ru_stime
    )
    found = re.search(r"(\d+) requests in", result.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", result.stdout)
    read = re.search(r"requests in [\d.]+\w+, ([\d.]+)([KMGT]?)B read", result.stdout)
    failed = "Non-2xx" in result.stdout and not server.name.startswith("304")
    if found is None or rate is None or read is None or failed:
        raise RuntimeError(f"{server.name}: wrk said:\n{result.stdout}{result.stderr}")
    mib = float(read.group(1)) * 1024.0 ** (" KMGT".index(read.group(2) or " ") - 2)
    requests = max(int(found.group(1)), 1)
    return Sample(
        requests, used / requests * 1e6, float(rate.group(1)), mib / used, mib / took, mib / both
    )


@contextlib.contextmanager
def running(servers: list[Server], core: int, log: pathlib.Path) -> Iterator[None]:
    try:
        for server in servers:
            server.start(core, log)
        yield
    finally:
        for server in servers:
            server.stop()


def interleave(
    servers: list[Server],
    *,
    rounds: int,
    seconds: float,
    connections: int,
    log: pathlib.Path,
    script: str | None = None,
) -> dict[str, list[Sample]]:
    """Rounds of all servers in turn, after a short warm-up of each."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for server in servers:
        if server.version is not None:
            VERSIONS[server.name] = version_of(server)
    with running(servers, 0, log):
        for server in servers:
            load(server, 1, connections, 1, script)
        for _ in range(rounds):
            for server in servers:
                samples[server.name].append(load(server, 1, connections, seconds, script))
    return samples


def medians(samples: dict[str, list[Sample]], figure: str) -> dict[str, float]:
    return {
        name: statistics.median(getattr(sample, figure) for sample in rounds)
        for name, rounds in samples.items()
    }


def bytes_table(samples: dict[str, list[Sample]]) -> str:
    lines = [
        "| server | MiB per CPU second (median) | min–max | of server and client | MiB per second |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rounds in samples.items():
        mib = [sample.mib_per_cpu_second for sample in rounds]
        both = statistics.median(sample.mib_per_cpu_second_of_both for sample in rounds)
        rate = statistics.median(sample.mib_per_second for sample in rounds)
        lines.append(
            f"| {name} | {statistics.median(mib):,.0f} | {min(mib):,.0f}–{max(mib):,.0f} "
            f"| {both:,.0f} | {rate:,.0f} |"
        )
    return "\n".join(lines)


def table(samples: dict[str, list[Sample]], floor: str) -> str:
    """Medians, spread and the ratio to the floor, round by round."""
    lines = [
        f"| server | CPU µs/request (median) | min–max | ratio to: {floor} | requests/s (median) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rounds in samples.items():
        cpu = [sample.cpu_us for sample in rounds]
        ratios = [
            mine.cpu_us / base.cpu_us for mine, base in zip(rounds, samples[floor], strict=True)
        ]
        rate = statistics.median(sample.requests_per_second for sample in rounds)
        lines.append(
            f"| {name} | {statistics.median(cpu):.2f} | {min(cpu):.2f}–{max(cpu):.2f} "
            f"| {statistics.median(ratios):.2f} | {rate:,.0f} |"
        )
    return "\n".join(lines)
