"""The example shop as a user starts it: `catzilla run shop:app`, sidecar and workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "python_sdk" / "examples" / "shop"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bin_dir() -> Path:
    """The folder with catzilla-sidecar and catzillactl."""
    named = os.environ.get("CATZILLA_BIN_DIR")
    if not named:
        raise RuntimeError(
            "CATZILLA_BIN_DIR must name the folder with catzilla-sidecar and catzillactl"
        )
    return Path(named).resolve()


class ShopProcess:
    """A context manager: inside it the shop answers at `url`, its sockets are in `runtime`."""

    def __init__(self, folder: Path, seconds: float = 60) -> None:
        self._seconds = seconds
        self.log = folder / "shop.log"
        self.runtime = folder / "run"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.ops_url = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            **os.environ,
            "PATH": f"{bin_dir()}{os.pathsep}{os.environ['PATH']}",
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
            "CATZILLA_ADDRESS": f"unix:{self.runtime}/control.sock",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "catzilla", "run", "shop:app", "--workers", "2",
            "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2],
            "--ops-port", self.ops_url.rpartition(":")[2], "--runtime-dir", str(self.runtime),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        subprocess.run([SHOP / "install-assets"], check=True, stdout=subprocess.DEVNULL)
        self.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=SHOP, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.close()
            raise
        return self

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        process = self._process

        def told() -> str:
            return f"the shop did not start; its log says:\n{self.log.read_text()[-4000:]}"

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(told())
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}/api/products?size=1", timeout=5).close()
                return True
            return False

        eventually(answers, self._seconds, told)

    def close(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
