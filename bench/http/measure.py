"""CPU per request of several servers, interleaved in one run.

Every server is pinned to one core and the load to another; rounds go A B C … C B A …, so that a
machine whose speed drifts disturbs all of them alike. What counts is the CPU time of the server's
processes (user and system, from the scheduler) divided by the requests it answered, as a ratio to the bare
epoll responder of the same round. What a round must show to count is in fairness.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
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

import fairness
import machine

SERVER_CORE, LOAD_CORE = 0, 1
# wrk calls `done` once, with exact sums; what it prints by itself is rounded.
DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'catzilla-bench {"requests": %d, "bytes": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, ',
    summary.requests, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout))
  io.write(string.format(
    '"p50": %d, "p75": %d, "p99": %d}\\n',
    latency:percentile(50), latency:percentile(75), latency:percentile(99)))
end
"""
PIPELINE = """
init = function(args)
  local all = {}
  for i = 1, %d do all[i] = wrk.format() end
  many = table.concat(all)
end
request = function() return many end
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclasses.dataclass
class Server:
    """One contender: how to start it on a port, what to ask of it, and what it must answer."""

    name: str
    command: Callable[[int], list[str]]
    path: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    headers: dict[str, str] = dataclasses.field(default_factory=dict)  # Of each request.
    method: str = "GET"
    body: bytes = b""  # Of each request.
    wanted: fairness.Wanted = fairness.A_200
    proxies: bool = False  # Another server answers behind it.
    logs: bool = False  # Whether it writes an access log: all of a scenario do, or none.
    # From its command, one that looks at its configuration; and what it prints of a directive it does not know.
    check: Callable[[list[str]], list[str]] | None = None
    complaint: str = r"(?i)warn|unknown|ignored|obsolete|deprecated"
    version: list[str] | None = None  # A command that prints it.
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    log: pathlib.Path = pathlib.Path("/dev/null")  # What it writes, once started.

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, core: int, log: pathlib.Path) -> None:
        self.port = free_port()
        command = self.command(self.port)
        if self.check is not None:
            fairness.check_configuration(self.name, self.check(command), self.complaint)
        # A file of its own, so that what it writes is known.
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower())
        self.log = log.with_name(f"{slug}-{self.port}.log")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
            self._wait()

    def _wait(self, seconds: float = 30.0) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.05)
        raise RuntimeError(self.ended() or f"{self.name}: not up after {seconds} s:\n{self.said()}")

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def ended(self) -> str:
        """Nothing, or how it came to its end."""
        code = None if self.process is None else self.process.poll()
        return "" if code is None else f"{self.name}: ended with {code}:\n{self.said()}"

    def ask(self) -> list[fairness.Answer]:
        """What the load will send, and what comes of it."""
        return fairness.ask(
            self.name, self.port, self.path, self.headers, method=self.method, body=self.body
        )

    def wait_until_answers(self, seconds: float = 30.0) -> None:
        """An app behind a sidecar answers later than the sidecar listens."""
        deadline = time.monotonic() + seconds
        while True:
            answers = self.ask()
            if all(answer.status == self.wanted.status for answer in answers):
                return
            if time.monotonic() > deadline:
                raise fairness.Unfair(f"{self.name}: answered {answers[0].status} for {seconds} s")
            time.sleep(0.1)

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
    # Of the answers, as the load generator saw them.
    p50_ms: float = 0
    p75_ms: float = 0
    p99_ms: float = 0


def _wrk(
    server: Server, core: int, connections: int, seconds: float, script: pathlib.Path
) -> dict[str, int]:
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    # A large answer may take longer than wrk's own two seconds.
    command += ["--timeout", "120s", "-s", str(script)]
    for field, value in server.headers.items():
        command += ["-H", f"{field}: {value}"]
    command.append(f"http://127.0.0.1:{server.port}{server.path}")
    result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^catzilla-bench (.+)$", result.stdout, re.MULTILINE)
    if result.returncode != 0 or found is None:
        raise RuntimeError(f"{server.name}: wrk said:\n{result.stdout}{result.stderr}")
    told: dict[str, int] = json.loads(found.group(1))
    return told


def written(before: dict[str, int], after: dict[str, int], *, lines: bool) -> tuple[int, int]:
    """Bytes that files have grown by and, where `lines` are waited for, the lines in them."""
    grown = {name: size - before.get(name, 0) for name, size in after.items()}
    grown = {name: size for name, size in grown.items() if size > 0}
    counted = 0
    for name in grown if lines else []:
        with pathlib.Path(name).open("rb") as file:
            file.seek(before.get(name, 0))
            while piece := file.read(1 << 20):
                counted += piece.count(b"\n")
    return sum(grown.values()), counted


def load(
    server: Server, core: int, connections: int, seconds: float, pipeline: int, folder: pathlib.Path
) -> Sample:
    """One round of wrk against a server; raises Unfair if the figure would not be honest."""
    script = folder / "wrk.lua"
    request = f"wrk.method = {json.dumps(server.method)}\n"
    if server.body:
        request += f"wrk.body = {json.dumps(server.body.decode())}\n"
    script.write_text(request + (PIPELINE % pipeline if pipeline > 1 else "") + DONE)
    before = server.ask()
    files = machine.files_written(server.pid)
    processes = machine.process_tree(server.pid)
    used_before = machine.cpu_seconds(server.pid)
    opened = machine.passive_opens()
    client_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    told = _wrk(server, core, connections, seconds, script)
    took = time.monotonic() - began
    used = machine.cpu_seconds(server.pid) - used_before
    opened = machine.passive_opens() - opened
    client = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A log that is written in the background has a moment to arrive.
    deadline = time.monotonic() + 3
    while True:
        log_bytes, log_lines = written(files, machine.files_written(server.pid), lines=server.logs)
        if not server.logs or log_lines >= told["requests"] or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    fairness.judge(
        fairness.Round(
            name=server.name,
            wanted=server.wanted,
            connections=connections,
            pipeline=pipeline,
            opened=opened,
            proxies=server.proxies,
            requests=told["requests"],
            bytes_read=told["bytes"],
            errors={k: told[k] for k in ("connect", "read", "write", "status", "timeout")},
            before=before,
            after=server.ask(),
            used=used,
            took=took,
            core=SERVER_CORE,
            cores=machine.cores(server.pid),
            processes_changed=processes != machine.process_tree(server.pid),
            logs=server.logs,
            log_bytes=log_bytes,
            log_lines=log_lines,
        )
    )
    both = used + (
        client.ru_utime + client.ru_stime - client_before.ru_utime - client_before.ru_stime
    )
    requests, mib = max(told["requests"], 1), told["bytes"] / 2**20
    return Sample(
        requests,
        used / requests * 1e6,
        told["requests"] / took,
        mib / used,
        mib / took,
        mib / both,
        *(told[percentile] / 1000 for percentile in ("p50", "p75", "p99")),
    )


@contextlib.contextmanager
def running(servers: list[Server], core: int, log: pathlib.Path) -> Iterator[None]:
    try:
        for server in servers:
            server.start(core, log)
        for server in servers:
            server.wait_until_answers()
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
    pipeline: int = 1,
) -> dict[str, list[Sample]]:
    """Rounds of all servers in turn, each second one backwards, after a short warm-up of each."""
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for server in servers:
        if server.version is not None:
            VERSIONS[server.name] = version_of(server)
    with running(servers, SERVER_CORE, log):
        for server in servers:
            load(server, LOAD_CORE, connections, 1, pipeline, log.parent)
        for turn in range(rounds):
            for server in servers if turn % 2 == 0 else servers[::-1]:
                samples[server.name].append(
                    load(server, LOAD_CORE, connections, seconds, pipeline, log.parent)
                )
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
