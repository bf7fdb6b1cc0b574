"""An app written by a test, behind a real sidecar, as `catzilla run` starts both."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Self

from raw_http import RawConnection
from sidecar_process import free_port, program
from waiting import eventually

__all__ = ["AppProcess", "eventually"]

READY_SECONDS = 60.0


class AppProcess:
    """`source` is the module `app_under_test`; its app is `app`. Its working directory is `folder`."""

    def __init__(
        self,
        folder: pathlib.Path,
        source: str,
        *arguments: str,
        config: str = "{}\n",
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.port = free_port()
        self.ops_port = free_port()
        self.output = folder / "output.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments = arguments
        self._environment = environment or {}
        (folder / "app_under_test.py").write_text(source)
        (folder / "sidecar.yaml").write_text(config)

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "catzilla", "run", "app_under_test:app"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--ops-host", "127.0.0.1", "--ops-port", str(self.ops_port)),
            *("--runtime-dir", str(self.runtime), "--config", str(self.folder / "sidecar.yaml")),
            *self._arguments,
        ]

    def __enter__(self) -> Self:
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        environment = {
            **os.environ,
            "CATZILLA_BIN_DIR": str(program("catzilla-sidecar").resolve().parent),
            **self._environment,
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(self._ready, READY_SECONDS, self.log)
        except BaseException:
            self.close()
            raise
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the app did not come up:\n{self.log()}")
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.ops_port}/readyz"
            with urllib.request.urlopen(url, timeout=2):
                return "serving " in self.log()
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self.close()
        if kind is None:
            assert code == 0, f"exit code {code}:\n{self.log()}"

    def close(self, seconds: float = 30.0) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end in {seconds} s:\n{self.log()}") from None

    def connect(self) -> RawConnection:
        return RawConnection(self.port, seconds=30)

    def ctl(self, *arguments: str) -> str:
        """What catzillactl prints; it must succeed."""
        address = f"unix:{self.runtime}/control.sock"
        made = subprocess.run(
            [str(program("catzillactl")), "--address", address, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout

    def log(self) -> str:
        return self.output.read_text(errors="replace")[-6000:]
