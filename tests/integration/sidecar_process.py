"""A real catzilla-sidecar on free loopback ports, for tests from outside."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import signal
import socket
import subprocess
import urllib.request
from types import TracebackType
from typing import Protocol

from waiting import eventually

READY_SECONDS = 30.0


def program(name: str) -> pathlib.Path:
    """The built program `name`; `./dev test` says where in CATZILLA_BIN_DIR."""
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = pathlib.Path(os.environ.get("CATZILLA_BIN_DIR", root / "build" / "asan" / "bin"))
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run ./dev build, or set CATZILLA_BIN_DIR")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HasOps(Protocol):
    """A sidecar of its own, or that of an app."""

    ops_port: int


def metrics(process: HasOps) -> dict[str, float]:
    """Every series with its labels, as one scrape tells them."""
    url = f"http://127.0.0.1:{process.ops_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {series: float(value) for series, value in samples}


def metric(process: HasOps, series: str) -> float:
    """One of them; it must be there."""
    return metrics(process)[series]


class Sidecar:
    """Starts the daemon in a folder of its own and stops it with SIGTERM.

    `config` is YAML without listeners; the ports are given as flags. The daemon's standard output
    (the access log) and standard error (the log) are files in the folder.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        config: str = "{}\n",
        *,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        self.runtime.mkdir(exist_ok=True)
        self.config = folder / "sidecar.yaml"
        self.config.write_text(config)
        self.port = free_port()
        self.ops_port = free_port()
        self.arguments = arguments
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.stdout = folder / "stdout.log"
        self.stderr = folder / "stderr.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def control(self) -> str:
        return f"unix:{self.runtime}/control.sock"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        return [
            str(program("catzilla-sidecar")),
            "--config",
            str(self.config),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--ops-host",
            "127.0.0.1",
            "--ops-port",
            str(self.ops_port),
            "--runtime-dir",
            str(self.runtime),
            *self.arguments,
        ]

    def start(self) -> Sidecar:
        """Returns when both ports are open; a sidecar that ends before that is an error."""
        # Memory that AddressSanitizer keeps aside would look like a leak to tests that measure.
        sanitizer = f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=4"
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self.process = subprocess.Popen(
                self.command(),
                stdout=out,
                stderr=err,
                env={**os.environ, "ASAN_OPTIONS": sanitizer, **self.environment},
            )
        self.wait_until_it_listens()
        return self

    def wait_until_it_listens(self) -> None:
        """On both ports. A sidecar that ends before that is an error."""
        for port in (self.port, self.ops_port):
            eventually(functools.partial(self._listens, port), READY_SECONDS, self.log)

    def _listens(self, port: int) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            ended = self.process.returncode
            raise RuntimeError(f"the sidecar ended with {ended}: {self.log()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, and the exit code; SIGKILL and a failure when it does not end."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the sidecar did not end in {seconds} s: {self.log()}") from None

    def log(self) -> str:
        return self.stderr.read_text(errors="replace")[-4000:] if self.stderr.exists() else ""

    def open_descriptors(self) -> int:
        return len(list(pathlib.Path(f"/proc/{self.pid}/fd").iterdir()))

    def descriptor_names(self) -> list[str]:
        links = pathlib.Path(f"/proc/{self.pid}/fd").iterdir()
        return sorted(os.readlink(link) for link in links)

    def rss_kib(self) -> int:
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found.group(1))

    def __enter__(self) -> Sidecar:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        code = self.stop()
        if kind is None:
            assert code == 0, f"exit code {code}: {self.log()}"
