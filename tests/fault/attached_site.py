"""A sidecar, and an app that is attached to it: two services, as in a pod with two containers."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

from sidecar_process import Sidecar, program
from waiting import eventually

APP = """
import asyncio, os
from catzilla import BaseModel, Catzilla

app = Catzilla()
VERSION = 1


class Value(BaseModel):
    value: int


@app.get("/")
async def root():
    return {"pid": os.getpid(), "version": VERSION}


@app.get("/sync")
def sync():
    return {"version": VERSION}


@app.get("/slow")
async def slow():
    await asyncio.sleep(0.05)
    return {"version": VERSION}


@app.put("/kept")
async def kept(value: Value):
    return value


@app.post("/once")
async def once(value: Value):
    await asyncio.sleep(0.01)
    return value
"""
SECONDS = 60.0


class Site:
    def __init__(self, folder: pathlib.Path, workers: int = 2) -> None:
        self.workers = workers
        self.folder = folder
        # As the chart has it: until the app has registered, what is asked of it is 503 and not 404.
        self.sidecar = Sidecar(folder, "app: {expected: true}\n")
        self.source = folder / "app_under_test.py"
        self.output = folder / "app.txt"
        self.version = 1
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Site:
        self.source.write_text(APP)
        self.sidecar.start()
        command = [
            *(sys.executable, "-m", "catzilla", "run", "app_under_test:app", "--attach"),
            *("--control", str(self.sidecar.runtime / "control.sock"), "--name", "app"),
            *("--workers", str(self.workers), "--drain-timeout", "10s"),
        ]
        with self.output.open("wb") as output:
            self._master = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )
        self.until_all_serve()
        return self

    def __exit__(self, *_: object) -> None:
        master = self._master
        assert master is not None
        master.terminate()
        try:
            code = master.wait(SECONDS)
        except subprocess.TimeoutExpired:
            master.kill()
            raise AssertionError(f"the app did not end:\n{self.log()}") from None
        finally:
            self.sidecar.stop()
        assert code == 0, self.log()

    @property
    def master(self) -> int:
        assert self._master is not None
        return self._master.pid

    def log(self) -> str:
        return self.output.read_text(errors="replace")[-6000:]

    def ctl(self, *arguments: str) -> str:
        command = [str(program("catzillactl")), "--address", self.sidecar.control, *arguments]
        made = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS)
        assert made.returncode == 0, made.stderr + self.log()
        return made.stdout

    def ready(self) -> set[int]:
        """The workers that take requests; none while the sidecar is away."""
        with contextlib.suppress(AssertionError):
            pools: list[dict[str, Any]] = json.loads(self.ctl("worker", "ls", "-o", "json"))[
                "pools"
            ]
            return {
                worker["pid"]
                for pool in pools
                for worker in pool.get("workers", [])
                if worker.get("state") == "WORKER_STATE_READY"
            }
        return set()

    def until_all_serve(self, without: set[int] | None = None) -> None:
        def there() -> bool:
            now = self.ready()
            return len(now) == self.workers and not now & (without or set())

        eventually(there, SECONDS, self.log)

    def deploy(self) -> None:
        self.version += 1
        text = APP.replace("VERSION = 1", f"VERSION = {self.version}")
        self.source.write_text(text)
        # Python's cache of bytecode tells versions by size and second.
        stamp = time.time_ns() + self.version * 1_000_000_000
        os.utime(self.source, ns=(stamp, stamp))
        command = [sys.executable, "-m", "catzilla", "deploy", "--pid", str(self.master)]
        command += ["--runtime-dir", str(self.sidecar.runtime)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS)
        assert made.returncode == 0, made.stderr + self.log()

    def start_sidecar_again(self) -> None:
        """On the same ports, as its supervisor would."""
        self.sidecar.start()
        self.until_all_serve()

    def kill_sidecar(self) -> None:
        process = self.sidecar.process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
