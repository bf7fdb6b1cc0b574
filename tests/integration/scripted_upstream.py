"""A server that answers just what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from sidecar_process import free_port


@dataclasses.dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int  # The number of its connection.

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        return ", ".join(found) if found else None


class Served:
    """One connection, from the server's side."""

    def __init__(self, accepted: socket.socket, number: int) -> None:
        self.socket = accepted
        self.number = number
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _fill(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self._fill()
        piece, self.buffer = self.buffer.split(mark, 1)
        return piece

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def head(self) -> Request:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        assert version == "HTTP/1.1"
        headers = [(name, value) for name, value in (line.split(": ", 1) for line in lines[1:])]
        return Request(method, target, headers, b"", self.number)

    def body(self, request: Request) -> bytes:
        if request.header("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                assert self.until(b"\r\n") == b""
            assert self.until(b"\r\n") == b""
            return body
        return self.exactly(int(request.header("content-length") or 0))

    def gone(self) -> bool:
        """Waits until the sidecar has closed it."""
        try:
            return self.socket.recv(65536) == b""
        except OSError:
            return True


def answer(body: bytes = b"hi", status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


Script = Callable[[Served, Request], object]


class Upstream:
    """`script` is called for each request, in a thread of the connection's own; or bytes for all.

    With `heads_only` the script reads the body itself.
    """

    def __init__(
        self,
        script: Script | bytes = answer(),
        *,
        path: pathlib.Path | None = None,
        port: int | None = None,
        heads_only: bool = False,
    ) -> None:
        self.script = script
        self.path = path
        self.port = port or free_port()
        self.heads_only = heads_only
        self.requests: list[Request] = []
        self.connections: list[Served] = []
        self.errors: list[BaseException] = []
        self.listener: socket.socket | None = None

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}" if self.path is None else f"unix:{self.path}"

    def start(self) -> Upstream:
        if self.path is not None:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(self.path))
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self) -> None:
        """No more connections; those that are open are closed."""
        assert self.listener is not None
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for served in self.connections:
            served.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            served = Served(accepted, len(self.connections))
            self.connections.append(served)
            threading.Thread(target=self._serve, args=(served,), daemon=True).start()

    def _serve(self, served: Served) -> None:
        try:
            while True:
                request = served.head()
                if not self.heads_only:
                    request.body = served.body(request)
                self.requests.append(request)
                if isinstance(self.script, bytes):
                    served.send(self.script)
                else:
                    self.script(served, request)
        except (EOFError, OSError):
            return
        except BaseException as error:
            self.errors.append(error)
            raise

    def __enter__(self) -> Upstream:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if kind is None:
            assert not self.errors, self.errors


def config(*targets: str, pool: str = "", upstream: str = "", rest: str = "") -> str:
    """A configuration whose every path goes to the targets; the others are lines of YAML flow."""
    listed = ", ".join(f'"{target}"' for target in targets)
    return (
        f"pools: [{{name: web, {pool} upstream: {{targets: [{listed}], {upstream}}}}}]\n"
        'routes: [{name: all, path: "/{path:path}", pool: web}]\n'
        f"{rest}\n"
    )
