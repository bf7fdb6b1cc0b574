"""Talking HTTP byte by byte, for tests that no client library would let one write."""

from __future__ import annotations

import dataclasses
import socket


@dataclasses.dataclass
class Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    informational: list[int] = dataclasses.field(default_factory=list)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(found) if found else None


class RawConnection:
    """One TCP connection; sends what it is given and reads answers one at a time."""

    def __init__(self, port: int, host: str = "127.0.0.1", seconds: float = 10.0) -> None:
        self.socket = socket.create_connection((host, port), seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str, *headers: str, method: str = "GET") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))
        return self.read(head_only=method == "HEAD")

    def _fill(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed after {self.buffer!r}")
        self.buffer += data

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read(self, *, head_only: bool = False) -> Answer:
        informational: list[int] = []
        while True:
            version, status, reason = self._line().decode("latin-1").split(" ", 2)
            assert version == "HTTP/1.1", version
            headers = []
            while line := self._line():
                name, value = line.decode("latin-1").split(":", 1)
                headers.append((name.lower(), value.strip()))
            answer = Answer(int(status), reason, headers, b"", informational)
            if answer.status >= 200:
                break
            informational.append(answer.status)
        if head_only or answer.status in (204, 304):
            return answer
        if answer.header("transfer-encoding") == "chunked":
            while size := int(self._line(), 16):
                answer.body += self._exactly(size)
                assert self._line() == b""
            assert self._line() == b""
        elif (length := answer.header("content-length")) is not None:
            answer.body = self._exactly(int(length))
        else:
            answer.body = self.buffer + self.rest()
            self.buffer = b""
        return answer

    def rest(self) -> bytes:
        """Everything until the server closes."""
        pieces = []
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def closed(self) -> bool:
        """Whether the server has closed (waits for it at most the socket's timeout)."""
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
