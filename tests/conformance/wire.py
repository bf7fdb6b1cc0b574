"""One request on a connection of its own, and what can be seen of the answer."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import re
import socket

SECONDS = 10.0
ANSWERS_MAX = 4
PROBE = b"GET /probe.txt HTTP/1.1\r\nHost: probe\r\n\r\n"
PROBE_BODY = b"the probe's answer"


@dataclasses.dataclass(frozen=True)
class Part:
    """The bytes of a range, or of the whole (first is 0 then)."""

    first: int
    data: bytes

    def __repr__(self) -> str:
        return f"{self.first}+{len(self.data)}:{self.data[:24]!r}"


@dataclasses.dataclass
class Observed:
    """The first answer. Status 0: none came; 9: bytes without a head, as HTTP/0.9 has them."""

    status: int = 0
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b""
    informational: list[int] = dataclasses.field(default_factory=list)
    more_answers: int = 0  # Before the probe's.
    connection: str = "open"  # Or closed, or waiting (for more of the request).
    framed: bool = True  # The head's length was that of the bytes.
    is_head: bool = False

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None

    def parts(self) -> list[Part]:
        if self.status == 200:
            coded = self.header("content-encoding") == "gzip" and not self.is_head
            return [Part(0, gzip.decompress(self.body) if coded else self.body)]
        if self.status != 206 or self.is_head:
            return []
        content_type = self.header("content-type") or ""
        if not content_type.startswith("multipart/byteranges"):
            return [Part(_first(self.header("content-range")), self.body)]
        boundary = content_type.split("boundary=", 1)[1].strip('"').encode()
        pieces = (b"\r\n" + self.body.removeprefix(b"\r\n")).split(b"\r\n--" + boundary)
        assert pieces[0] == b"" and pieces[-1].startswith(b"--"), "a multipart's frame"
        parts = []
        for piece in pieces[1:-1]:
            head, data = piece.split(b"\r\n\r\n", 1)
            found = re.search(rb"(?i)\r\ncontent-range: *(bytes [^\r]*)", head)
            assert found is not None, piece
            first, last, _ = re.findall(r"\d+", found.group(1).decode())
            assert int(last) - int(first) + 1 == len(data), piece
            parts.append(Part(int(first), data))
        return parts


def _first(content_range: str | None) -> int:
    found = re.match(r"bytes (\d+)-", content_range or "")
    assert found is not None, content_range
    return int(found.group(1))


class _Wire:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.buffer = b""

    def fill(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self.fill()
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.fill()
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    def to_the_end(self) -> bytes:
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionResetError):
            piece, self.buffer = self.buffer, b""
            return piece

    def answer(self, *, is_head: bool) -> Observed:
        while len(self.buffer) < 5:
            self.fill()
        if not self.buffer.startswith(b"HTTP/"):
            return Observed(status=9, body=self.to_the_end(), connection="closed")
        informational: list[int] = []
        while True:
            line, *fields = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(line.split(" ")[1])
            if status >= 200:
                break
            informational.append(status)
        pairs = [(name.lower(), value.strip()) for name, value in (f.split(":", 1) for f in fields)]
        seen = Observed(status, pairs, informational=informational, is_head=is_head)
        length = seen.header("content-length")
        if is_head or status in (204, 304):
            return seen
        if seen.header("transfer-encoding") == "chunked":
            while size := int(self.until(b"\r\n"), 16):
                seen.body += self.exactly(size)
                self.until(b"\r\n")
            self.until(b"\r\n")
        elif length is not None:
            try:
                seen.body = self.exactly(int(length))
            except (EOFError, TimeoutError, ConnectionResetError):
                seen.framed = False
        else:
            seen.body = self.to_the_end()
        return seen


def ask(port: int, data: bytes, *, is_head: bool) -> Observed:
    """Sends `data`, reads the answer, and sees with a probe what the connection is good for then."""
    wire = _Wire(port)
    with wire.socket:
        try:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                wire.socket.sendall(
                    data
                )  # Refused before its end: the answer is there all the same.
            seen = wire.answer(is_head=is_head)
        except TimeoutError:
            return Observed(connection="waiting")
        except (EOFError, ConnectionResetError):
            return Observed(connection="closed")
        try:
            wire.socket.sendall(PROBE)
            while seen.more_answers < ANSWERS_MAX:
                if wire.answer(is_head=False).body == PROBE_BODY:
                    return seen
                seen.more_answers += 1
        except TimeoutError:
            seen.connection = "waiting"
        except (EOFError, ConnectionResetError, BrokenPipeError):
            seen.connection = "closed"
        return seen
