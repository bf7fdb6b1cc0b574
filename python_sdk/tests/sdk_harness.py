"""What several test files share: `catzilla run` with the fake or the real sidecar, and a plain HTTP client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fake_sidecar import free_port

HERE = Path(__file__).resolve().parent
FAKE = HERE / "fake_sidecar.py"
PATIENCE = 30.0

# What most tests serve...

APP = """
import os, time, asyncio, sys
from catzilla import Catzilla, cache
app = Catzilla()
VERSION = 1

@app.get("/")
def root():
    return {"pid": os.getpid(), "version": VERSION}

@app.get("/slow")
async def slow(seconds: float = 1.0):
    print("slow begins", flush=True)
    await asyncio.sleep(seconds)
    return {"pid": os.getpid()}

@app.get("/modules")
def modules():
    return [name for name in sys.modules if name.split(".")[0] in ("grpc", "google")]

@app.get("/print")
def chatty():
    print("a line of the app's", flush=True)
    os.write(2, b"and one on stderr\\n")
    return "ok"

@app.get("/cached")
@cache(ttl=5, tags=["t"])
def cached():
    return 1
"""

# For the real sidecar, after APP.
SITE = """
from pathlib import Path
from catzilla import StreamingResponse, Request
from starlette.requests import ClientDisconnect
HERE = Path(__file__).parent
left = []

@app.post("/once")
async def once(seconds: float = 0.5):
    print("once begins", flush=True)
    await asyncio.sleep(seconds)
    return {"pid": os.getpid()}

@app.get("/ticks")
async def ticks():
    async def forever():
        try:
            while True:
                yield b"tick\\n"
                await asyncio.sleep(0.02)
        finally:
            left.append("ticks")
    return StreamingResponse(forever(), media_type="text/plain")

@app.get("/flood")
async def flood():
    async def much():
        for _ in range(4096):
            yield b"x" * 65536
    return StreamingResponse(much())

@app.post("/swallow")
async def swallow(request: Request):
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"size": size, "rss": int(open("/proc/self/statm").read().split()[1]) * 4096}

@app.get("/wait")
async def wait(request: Request):
    print("wait begins", flush=True)
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    left.append("wait")

@app.get("/finish")
async def finish():
    print("finish begins", flush=True)
    await asyncio.sleep(0.8)
    left.append("finish")

@app.post("/upload")
async def upload(request: Request):
    try:
        async for _ in request.stream():
            print("upload begins", flush=True)
    except ClientDisconnect:
        left.append("upload")
        raise

@app.post("/later")
async def later(request: Request, seconds: float):
    await asyncio.sleep(seconds)
    return {"size": sum([len(chunk) async for chunk in request.stream()])}

@app.get("/left")
async def gone():
    return left

app.mount_static("/assets", HERE / "assets", cache_control="max-age=60")
"""


def catzilla(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, from its beginning to its end."""
    return subprocess.run(
        [sys.executable, "-m", "catzilla", *arguments], capture_output=True, text=True, timeout=60, cwd=cwd,
        env={**os.environ, **environment},
    )  # fmt: skip


def real_sidecar() -> str | None:
    folder = os.environ.get("CATZILLA_BIN_DIR")
    path = os.path.join(folder, "catzilla-sidecar") if folder else shutil.which("catzilla-sidecar")
    return path if path and os.access(path, os.X_OK) else None


def until(condition: Any, what: str, timeout: float = PATIENCE) -> Any:
    """Waits for a state of another process; the value that was true."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)


def pause(seconds: float) -> None:
    """Time is what the test gives: a reader who rests, a handler that blocks. Never to wait for something."""
    time.sleep(seconds)


class Run:
    """`catzilla run` (or dev) as a child, with what it says. Without a target it finds the app by itself."""

    def __init__(
        self, directory: Path, target: str, *arguments: str, verb: str = "run", sidecar: str | None = None,
        env: Any = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.port, self.ops_port = free_port(), free_port()
        self.output = directory / f"output-{self.port}.txt"
        self.record = directory / f"registrations-{self.port}.jsonl"
        command = [sys.executable, "-m", "catzilla", verb, *filter(None, [target]), "--app-dir", str(directory)]
        if "--attach" not in arguments:
            wrapper = sidecar or str(directory / "fake")
            if sidecar is None:
                Path(wrapper).write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
                os.chmod(wrapper, 0o755)
            command += ["--port", str(self.port), "--ops-port", str(self.ops_port), "--sidecar", wrapper]
        environment = {**os.environ, "FAKE_SIDECAR_RECORD": str(self.record), **(env or {})}
        environment.pop("CATZILLA_RUNTIME_DIR", None)
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                [*command, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=directory
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def said(self, text: str, timeout: float = PATIENCE) -> None:
        until(lambda: text in self.text or self.process.poll() is not None, f"{text!r} in:\n{self.text}", timeout)
        assert text in self.text, self.text

    def ready(self) -> Run:
        self.said("serving ")
        return self

    def get(self, path: str, method: str = "GET", body: bytes | None = None, headers: Any = None) -> Any:
        return fetch(self.port, path, method, body, headers)

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def children(self) -> dict[int, str]:
        """Of the master: pid -> command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found


class Reply:
    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reply) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{self.status} {self.headers} {self.body[:400]!r}"


# A server's own, not the app's.
_SERVER_FIELDS = {"date", "server", "connection", "transfer-encoding", "keep-alive", "x-request-id"}


def fetch(port: int, path: str, method: str = "GET", body: bytes | None = None, headers: Any = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "testserver")
        for name, value in headers or []:
            connection.putheader(name, value)
        if body is not None and not any(n.lower() == "transfer-encoding" for n, _ in headers or []):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        if body:
            connection.send(body)
        response = connection.getresponse()
        fields = [(n.lower(), v) for n, v in response.getheaders() if n.lower() not in _SERVER_FIELDS]
        return Reply(response.status, fields, response.read())
    finally:
        connection.close()


def pids(run: Run) -> set[int]:
    """Of the workers, as the app sees them."""
    answers = [run.get("/") for _ in range(12)]
    return {json.loads(answer.body)["pid"] for answer in answers if answer.status == 200}


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
