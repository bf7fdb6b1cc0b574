"""The bench refuses figures that show a mistake of ours (O9: a setting that switched a peer's keep-alive off).

What needs real peers and wrk is in bench/http/test_peers.py; `./dev bench` runs it before it measures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "http"))

import compare
import fairness
import machine
import measure

ANSWER = fairness.Answer(200, 200, 1024, "", keeps=True)
FAIR = fairness.Round(
    name="peer",
    wanted=fairness.Wanted(body=1024),
    connections=32,
    pipeline=1,
    opened=33,
    requests=1000,
    bytes_read=1000 * 1224 + 5000,
    errors={"connect": 0, "read": 0, "write": 0, "status": 0, "timeout": 0},
    before=[ANSWER, ANSWER],
    after=[ANSWER, ANSWER],
    used=2.9,
    took=3.0,
    core=0,
    cores={"0"},
    processes_changed=False,
    logs=False,
    log_bytes=0,
    log_lines=0,
)


def test_o9_a_fair_round_passes() -> None:
    fairness.judge(FAIR)
    fairness.judge(dataclasses.replace(FAIR, logs=True, log_bytes=90_000, log_lines=1000))


MISTAKES = [
    ({"opened": 1000}, "does not keep its connections: 1000 were opened for 32"),
    ({"opened": 20}, "took 20 of 32 connections"),
    ({"errors": {"read": 7, "status": 0}}, "failed: {'read': 7}"),
    ({"errors": {"status": 5}}, "failed: {'status': 5}"),
    ({"bytes_read": 1000 * 1100}, "sent other answers"),
    ({"bytes_read": 1040 * 1224}, "sent other answers"),
    ({"before": [dataclasses.replace(ANSWER, status=404)]}, r"answered \(404, ''\)"),
    ({"after": [dataclasses.replace(ANSWER, body=99)]}, "a body of 99 bytes, not 1024"),
    ({"after": [dataclasses.replace(ANSWER, coding="gzip")]}, r"answered \(200, 'gzip'\)"),
    ({"wanted": fairness.Wanted(content=b"abc")}, "sent b'', not b'abc'"),
    ({"before": [dataclasses.replace(ANSWER, keeps=False)]}, "said Connection: close"),
    ({"used": 5.5}, "more than its one core"),
    ({"cores": {"0-1"}}, "may run on cores"),
    ({"processes_changed": True}, "replaced processes"),
    ({"log_bytes": 80}, "with its logs off"),
    ({"logs": True, "log_bytes": 80, "log_lines": 900}, "logged 900 lines of 1000"),
]


@pytest.mark.parametrize(("change", "why"), MISTAKES, ids=[why for _, why in MISTAKES])
def test_o9_an_unfair_round_ends_the_bench_and_names_the_peer(
    change: dict[str, object], why: str
) -> None:
    with pytest.raises(fairness.Unfair, match=why) as raised:
        fairness.judge(dataclasses.replace(FAIR, **change))  # type: ignore[arg-type]
    assert str(raised.value).startswith("peer:")


@contextlib.contextmanager
def fake_peer(answer: bytes, *, keeps: bool = True) -> Iterator[int]:
    """Says `answer` to each request; closes after the first, if it does not keep its connections."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    while client.recv(4096):
                        client.sendall(answer)
                        if not keeps:
                            break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener], daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"


def test_o9_an_answer_is_seen_as_the_load_will_see_it() -> None:
    with fake_peer(OK + b"Content-Encoding: gzip\r\n\r\nabc") as port:
        answers = fairness.ask("peer", port, "/", {"Accept-Encoding": "gzip"})
    assert answers == [fairness.Answer(200, 62, 3, "gzip", keeps=True)] * 2


@pytest.mark.parametrize(
    ("answer", "keeps", "why"),
    [
        (OK + b"\r\nabc", False, r"peer: .*answer 2 of one connection"),
        (OK + b"\r\na", False, "peer: it closed after 1 of 3 bytes"),
        (OK + b"\r\nabcdef", True, "peer: 6 bytes came where Content-Length says 3"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", True, "peer: it gives no Content-Length"),
    ],
)
def test_o9_a_peer_that_answers_wrongly_is_named(answer: bytes, keeps: bool, why: str) -> None:
    with fake_peer(answer, keeps=keeps) as port, pytest.raises(fairness.Unfair, match=why):
        fairness.ask("peer", port, "/", {})


@pytest.mark.parametrize(
    ("program", "fair"),
    [
        ("print('syntax is ok')", True),
        ("print('WARNING: unknown config-key: server.max-keepalive (ignored)')", False),
        ("raise SystemExit(1)", False),
    ],
)
def test_o9_a_directive_that_a_peer_does_not_know_ends_the_bench(program: str, fair: bool) -> None:
    command = [sys.executable, "-c", program]
    if fair:
        fairness.check_configuration("peer", command, "(?i)unknown")
        return
    with pytest.raises(fairness.Unfair, match="peer: its configuration is not understood"):
        fairness.check_configuration("peer", command, "(?i)unknown")


def test_o9_what_a_process_writes_and_where_it_may_run_is_seen(tmp_path: pathlib.Path) -> None:
    program = (
        "import sys, os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "f = open('log', 'a', buffering=1); print('up', flush=True); sys.stdin.readline();"
        "f.write('line\\n'); print('written', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = machine.files_written(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = machine.files_written(process.pid)
        assert measure.written(before, after, lines=True) == (5, 1)
        assert measure.written(before, before, lines=True) == (0, 0)
        assert len(machine.cores(process.pid)) == 1
        assert machine.process_tree(process.pid) == [process.pid]
        assert machine.cpu_seconds(process.pid) > 0
        process.stdin.close()


def test_a_thread_that_has_ended_has_used_its_time() -> None:
    program = (
        "import sys, threading, time\n"
        "def burn():\n"
        "    while time.thread_time() < 0.1: pass\n"
        "thread = threading.Thread(target=burn); thread.start(); thread.join()\n"
        "print('up', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert machine.cpu_seconds(process.pid) >= 0.1
        assert process.stdin is not None
        process.stdin.close()


def test_o9_accepted_connections_are_counted() -> None:
    before = machine.passive_opens()
    with fake_peer(OK + b"\r\nabc") as port:
        fairness.ask("peer", port, "/", {})
    assert machine.passive_opens() > before


def test_o9_a_version_is_one_line() -> None:
    server = measure.Server("x", lambda port: [], "/", version=[sys.executable, "--version"])
    assert measure.version_of(server).startswith("Python 3")


def sample(cpu_us: float) -> measure.Sample:
    return measure.Sample(1, cpu_us, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("after", "verdict"), [([10.5, 10.2, 10.1], "dearer"), ([10.5, 9.9, 10.2], "holds")]
)
def test_a_path_is_dearer_if_no_round_was_as_cheap_as_before(
    after: list[float], verdict: str
) -> None:
    samples = {"before": [sample(10.0)] * 3, "after": [sample(us) for us in after]}
    assert compare.row("hot", samples).endswith(f"| {verdict} |")
