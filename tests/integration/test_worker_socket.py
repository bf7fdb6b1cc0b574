"""worker.sock from outside: whoever is silent there keeps no worker out (O15)."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import time
from contextlib import ExitStack

from app_process import AppProcess, eventually

APP = """
import os
from catzilla import Catzilla

app = Catzilla()

@app.get("/pid")
async def pid():
    return os.getpid()
"""


def worker_pid(app: AppProcess) -> int:
    with app.connect() as client:
        answer = client.get("/pid")
        return int(answer.body) if answer.status == 200 else 0


def test_o15_silent_connections_keep_no_worker_out(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP, "--workers", "1") as app, ExitStack() as stack:
        before = worker_pid(app)
        assert before
        path = f"{app.runtime}/worker.sock"
        # As many as worker.sock takes in all, workers included.
        for _ in range(1100):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.settimeout(5)
            silent.connect(path)
        os.kill(before, signal.SIGKILL)
        begin = time.monotonic()
        eventually(lambda: worker_pid(app) not in (0, before), seconds=30)
        assert time.monotonic() - begin < 15
        assert "too many connections on worker.sock" not in app.log()
        eventually(lambda: "said no HELLO" in app.log(), 30, app.log)
