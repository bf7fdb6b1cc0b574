"""What makes a figure honest: each contender is looked at before and after each round.

A mistake of ours in how a peer was set up shows as connections that are not kept, answers that are not the ones
asked for, a second core, or a log that only one side writes. Then no figure is taken: the run ends and names the peer.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import subprocess

# Larger bodies are believed by their Content-Length.
READ_WHOLE = 4 << 20


class Unfair(RuntimeError):
    """A contender was not measured at its best, or not at what was asked of it."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The answer that every request of a round must get."""

    status: int = 200
    body: int | None = None  # Bytes; None: all of one length, whatever it is.
    coding: str = ""
    content: bytes | None = None  # To the byte; None: whatever it is.


A_200 = Wanted()


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    head: int
    body: int
    coding: str
    keeps: bool
    content: bytes = dataclasses.field(default=b"", compare=False, repr=False)

    @property
    def wire(self) -> int:
        return self.head + self.body


@dataclasses.dataclass(frozen=True)
class Round:
    """What one round of load has shown."""

    name: str
    wanted: Wanted
    connections: int
    pipeline: int
    opened: int
    requests: int
    bytes_read: int
    errors: dict[str, int]
    before: list[Answer]
    after: list[Answer]
    used: float
    took: float
    core: int
    cores: set[str]
    processes_changed: bool
    logs: bool
    log_bytes: int
    log_lines: int
    proxies: bool = False  # It opens as many of its own to the server behind it.


def _read_head(raw: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = raw.recv(1 << 16)
        if not piece:
            raise Unfair(f"it closed after {data[:80]!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _answer(raw: socket.socket) -> Answer:
    head, rest = _read_head(raw)
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
    }
    status = int(head.split(b" ", 2)[1])
    body = 0 if status == 304 else int(fields.get("content-length", -1))
    if body < 0:
        raise Unfair("it gives no Content-Length")
    content = bytearray(rest)
    while len(content) < min(body, READ_WHOLE):
        piece = raw.recv(1 << 16)
        if not piece:
            raise Unfair(f"it closed after {len(content)} of {body} bytes")
        content += piece
    if len(content) > body:
        raise Unfair(f"{len(content)} bytes came where Content-Length says {body}")
    coding, closes = fields.get("content-encoding", ""), fields.get("connection", "").lower()
    return Answer(status, len(head), body, coding, closes != "close", bytes(content))


def request_of(
    port: int, path: str, headers: dict[str, str], method: str = "GET", body: bytes = b""
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{field}: {value}" for field, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(
    name: str,
    port: int,
    path: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    body: bytes = b"",
) -> list[Answer]:
    """The answers to what the load will send, twice on one connection (once, where they are large)."""
    request = request_of(port, path, headers, method, body)
    answers: list[Answer] = []
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as raw:
            for _ in range(2):
                raw.sendall(request)
                answers.append(_answer(raw))
                if answers[-1].body > READ_WHOLE:
                    break
    except (Unfair, OSError) as error:
        raise Unfair(f"{name}: {error} (answer {len(answers) + 1} of one connection)") from None
    return answers


def _wrong_answers(seen: Round) -> list[str]:
    wrong = []
    for answer in seen.before + seen.after:
        found = (answer.status, answer.coding)
        if found != (seen.wanted.status, seen.wanted.coding):
            wrong.append(f"answered {found}, not {(seen.wanted.status, seen.wanted.coding)}")
        if seen.wanted.body is not None and answer.body != seen.wanted.body:
            wrong.append(f"sent a body of {answer.body} bytes, not {seen.wanted.body}")
        if seen.wanted.content not in (None, answer.content):
            wrong.append(f"sent {answer.content[:80]!r}, not {(seen.wanted.content or b'')[:80]!r}")
        if not answer.keeps:
            wrong.append("said Connection: close")
    return wrong


def _wrong_load(seen: Round) -> list[str]:
    wrong = []
    # The load generator resolves and tries the address with a connection of its own.
    if seen.opened > seen.connections * (2 if seen.proxies else 1) + 2:
        wrong.append(
            f"does not keep its connections: {seen.opened} were opened for {seen.connections}"
            " (or another program opens some here: as root the bench has a network of its own)"
        )
    if seen.opened < seen.connections:
        wrong.append(f"took {seen.opened} of {seen.connections} connections")
    if failed := {kind: count for kind, count in seen.errors.items() if count}:
        wrong.append(f"failed: {failed}")
    sizes = [answer.wire for answer in seen.before + seen.after]
    least = seen.requests * min(sizes)
    most = (seen.requests + seen.connections * seen.pipeline) * max(sizes)
    if not least <= seen.bytes_read <= most:
        wrong.append(
            f"sent other answers than the one asked for: {seen.bytes_read} bytes in {seen.requests}"
            f" answers of {min(sizes)} to {max(sizes)}"
        )
    return wrong


def _wrong_processes(seen: Round) -> list[str]:
    wrong = []
    if seen.cores != {str(seen.core)}:
        wrong.append(f"may run on cores {sorted(seen.cores)}, not on {seen.core} alone")
    if seen.used > seen.took * 1.02 + 0.05:
        wrong.append(f"used {seen.used:.2f} s of CPU in {seen.took:.2f} s: more than its one core")
    if seen.processes_changed:
        wrong.append("replaced processes: the CPU time of those that ended is not known")
    if not seen.logs and seen.log_bytes:
        wrong.append(f"wrote {seen.log_bytes} bytes into files, with its logs off")
    if seen.logs and seen.log_lines < seen.requests * 0.99:
        wrong.append(f"logged {seen.log_lines} lines of {seen.requests}")
    return wrong


def judge(seen: Round) -> None:
    """Raises Unfair, with everything that is wrong, or returns."""
    wrong = _wrong_answers(seen) + _wrong_load(seen) + _wrong_processes(seen)
    if wrong:
        raise Unfair("\n  ".join([f"{seen.name}:", *dict.fromkeys(wrong)]))


def check_configuration(name: str, command: list[str], complaint: str) -> None:
    """Asks a peer about its configuration file; some only warn of what they do not know, and go on."""
    told = subprocess.run(command, capture_output=True, text=True)
    said = told.stdout + told.stderr
    lines = [line for line in said.splitlines() if re.search(complaint, line)]
    if told.returncode != 0 or lines:
        raise Unfair(f"{name}: its configuration is not understood:\n" + "\n".join(lines or [said]))
