"""Clients that send whatever comes to their mind, cut anywhere, and leave whenever they like.

Seeded; CATZILLA_CHAOS_SECONDS says how long (a quarter of a minute unless told otherwise). What must hold: every
connection gets an answer or an end, everybody else is served meanwhile, nothing is left behind, and no line of the
log carries another client's bytes (S1, S2, S10, S11 and their kind).
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import re
import socket
import threading
import time

import pytest
from app_process import AppProcess, eventually
from raw_http import RawConnection
from sidecar_process import metrics
from waiting import pause

SECONDS = float(os.environ.get("CATZILLA_CHAOS_SECONDS", "15"))
CLIENTS = 8
TOKEN = re.compile("T[0-9a-f]{16}T")
PATIENCE = 20.0

APP = """
import asyncio
from catzilla import Catzilla, cache
from fastapi import Request
from fastapi.responses import StreamingResponse, PlainTextResponse

app = Catzilla()
app.mount_static("/files", "site")

@app.get("/ping")
async def ping():
    return "pong"

@app.post("/echo")
async def echo(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return size

@app.get("/kept/{name}")
@cache(ttl=1, cookies="ignore")
async def kept(name: str):
    await asyncio.sleep(0.01)
    return PlainTextResponse(name * 100)

@app.get("/stream")
async def stream():
    async def body():
        for _ in range(20):
            yield b"x" * 5000
            await asyncio.sleep(0.001)
    return StreamingResponse(body())

@app.get("/raises")
async def raises():
    raise RuntimeError("on purpose")
"""

CONFIG = """
limits: {header_timeout: 2s, body_timeout: 2s, write_timeout: 3s, idle_timeout: 5s, max_body_size: 200KiB}
telemetry: {access_log: true, access_log_path: access.log}
"""


class Chaos:
    """One client's ideas; a `token`, far from every other one, is in all that a request says of itself."""

    def __init__(self, seed: int, port: int) -> None:
        self.random = random.Random(seed)
        self.port = port
        self.said: set[str] = set()
        self.stuck: list[str] = []

    def token(self) -> str:
        token = f"T{self.random.getrandbits(64):016x}T"
        self.said.add(token)
        return token

    def path(self, token: str) -> str:
        return self.random.choice(
            [
                f"/ping?{token}",
                f"/kept/{self.random.randint(0, 5)}?{token}",
                f"/stream?{token}",
                f"/raises?{token}",
                f"/files/a.txt?{token}",
                f"/files/large.bin?{token}",
                f"/files/{token}",
                f"/{token}/%2e%2e/x",
                f"/files/%00{token}",
                f"/echo?{token}",
            ]
        )

    def request(self, token: str) -> bytes:
        choose = self.random.choice
        method = choose(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
        lines = [
            f"{method} {self.path(token)} {choose(['HTTP/1.1'] * 8 + ['HTTP/1.0', 'HTTP/2.7'])}"
        ]
        lines += [f"Host: {token}.test", f"User-Agent: {token}"]
        body = b""
        kind = self.random.random()
        if kind < 0.2:
            size = choose([0, 1, 40, 16 * 1024, 16 * 1024 + 1, 100_000, 300_000])
            lines.append(f"Content-Length: {size}")
            body = b"b" * self.random.randint(0, size) if kind < 0.05 else b"b" * size
        elif kind < 0.4:
            lines.append("Transfer-Encoding: chunked")
            for _ in range(self.random.randint(0, 4)):
                size = self.random.randint(1, 30_000)
                body += f"{size:x}{choose(['', ';a=b', ' '])}\r\n".encode() + b"c" * size + b"\r\n"
            body += choose([b"0\r\n\r\n", b"0\r\nT: v\r\n\r\n", b""])
        if self.random.random() < 0.1:
            lines.append(choose(["Expect: 100-continue", "Connection: close", "Range: bytes=0-9"]))
        if self.random.random() < 0.05:
            lines.append(choose(["Broken", "A\x01: b", "Content-Length: 7", "X: " + "y" * 40_000]))
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def run_one(self) -> None:
        data = b"".join(
            self.request(self.token()) for _ in range(self.random.choice([1, 1, 1, 2, 5]))
        )
        if self.random.random() < 0.1:
            at = self.random.randrange(len(data))
            data = data[:at] + self.random.randbytes(3) + data[at + 3 :]
        if self.random.random() < 0.1:
            data = data[: self.random.randrange(len(data))]
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            client.settimeout(PATIENCE)
            try:
                self.talk(client, data)
            except TimeoutError:
                self.stuck.append(f"nothing is taken of {data[:200]!r}")
            except OSError:
                pass  # It was ended before all was said.

    def talk(self, client: socket.socket, data: bytes) -> None:
        at = 0
        while at < len(data):
            size = self.random.choice([1, 7, 100, 4096, 70_000])
            client.settimeout(PATIENCE)
            client.sendall(data[at : at + size])
            at += size
            if size < 100 and self.random.random() < 0.3:
                pause(0.001)
        if self.random.random() < 0.3:
            return  # Leaves without a word.
        if self.random.random() < 0.5:
            client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(self.random.choice([10, 65536])):
                pass
        except TimeoutError:
            self.stuck.append(repr(data[:200]))


def active(app: AppProcess) -> float:
    counted = ('catzilla_http_connections{state="active"}', "catzilla_pool_in_flight{")
    return sum(value for series, value in metrics(app).items() if series.startswith(counted))


def sidecar_of(app: AppProcess) -> int:
    assert app.process is not None
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == app.process.pid
                and b"catzilla-sidecar" in (entry / "cmdline").read_bytes()
            ):
                return int(entry.name)
    raise AssertionError("there is no sidecar")


@pytest.mark.parametrize("seed", [int(os.environ.get("CATZILLA_CHAOS_SEED", "1"))])
def test_whatever_clients_send_everybody_is_served(tmp_path: pathlib.Path, seed: int) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("0123456789")
    (tmp_path / "site" / "large.bin").write_bytes(b"l" * 1_000_000)
    with AppProcess(tmp_path, APP, config=CONFIG) as app:
        pid = sidecar_of(app)
        until = time.monotonic() + SECONDS
        clients = [Chaos(seed * 1000 + number, app.port) for number in range(CLIENTS)]

        def run(client: Chaos) -> None:
            while time.monotonic() < until:
                client.run_one()

        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        served = 0
        while time.monotonic() < until:
            with RawConnection(app.port, seconds=PATIENCE) as polite:
                assert polite.get("/ping").body == b'"pong"'
                assert polite.get("/files/a.txt").body == b"0123456789"
                served += 1
        for thread in threads:
            thread.join()
        assert served > 0
        assert [what for client in clients for what in client.stuck] == []
        eventually(lambda: active(app) == 0, seconds=30)
        descriptors = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
        assert descriptors < 120, "connections are left behind"
        lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
        assert len(lines) > 20
        said = set().union(*(client.said for client in clients))
        recognised = 0
        for line in lines:
            # What a line says of one request is of one client's one request. Clients spoil bytes of their own, so only
            # whole tokens count.
            agent = str(line.get("user_agent", ""))
            if agent not in said:
                continue
            words = f"{line.get('target', '')} {line['host']}"
            assert said.intersection(TOKEN.findall(words)) <= {agent}, line
            recognised += 1
        assert recognised > 20
