"""Finding and starting the sidecar: `catzilla run` without --attach has it as its child."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catzilla._exceptions import SidecarError
from catzilla._master import _process

BINARY: Final = "catzilla-sidecar"
_SOCKET_PATH_MAX: Final = 107  # sun_path


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarOptions:
    """What `catzilla run` passes on; None is the sidecar's own default."""

    binary: str | None = None
    config: str | None = None
    host: str | None = None
    port: int | None = None
    ops_host: str | None = None
    ops_port: int | None = None
    trusted_proxies: str | None = None
    runtime_directory: str | None = None


def find_binary(explicit: str | None) -> str:
    """--sidecar, $CATZILLA_SIDECAR, $CATZILLA_BIN_DIR, beside the package, PATH. Raises SidecarError."""
    named = explicit or os.environ.get("CATZILLA_SIDECAR")
    if named:
        found = shutil.which(named)
        if found is None:
            raise SidecarError(f"{named} is no executable (from {'--sidecar' if explicit else '$CATZILLA_SIDECAR'})")
        return os.path.abspath(found)
    looked = []
    folders = [os.environ.get("CATZILLA_BIN_DIR"), str(Path(__file__).resolve().parent.parent / "bin")]
    for folder in folders:
        if folder:
            candidate = os.path.join(folder, BINARY)
            looked.append(candidate)
            if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
                return os.path.abspath(candidate)
    found = shutil.which(BINARY)
    if found is not None:
        return os.path.abspath(found)
    raise SidecarError(
        f"{BINARY} was not found (looked for {', '.join(looked)}, and in PATH): build it with `./dev build` and set "
        "CATZILLA_BIN_DIR, name it with --sidecar, or use --attach with a running one"
    )


def default_runtime_directory() -> str:
    """Where a sidecar that was started apart has its sockets."""
    explicit = os.environ.get("CATZILLA_RUNTIME_DIR")
    if explicit:
        return explicit
    if os.geteuid() != 0 and os.environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(os.environ["XDG_RUNTIME_DIR"], "catzilla")
    return "/run/catzilla"


class Sidecar:
    """The child. Its runtime directory is private, and removed with it."""

    def __init__(self, options: SidecarOptions) -> None:
        self.binary = find_binary(options.binary)
        self._options = options
        self._private = not (options.runtime_directory or os.environ.get("CATZILLA_RUNTIME_DIR"))
        self.runtime_directory = (
            tempfile.mkdtemp(prefix="catzilla-")
            if self._private
            else os.path.abspath(options.runtime_directory or os.environ["CATZILLA_RUNTIME_DIR"])
        )
        if len(os.fsencode(self.control_socket)) > _SOCKET_PATH_MAX:
            raise SidecarError(f"{self.control_socket} is too long for a socket: choose a shorter --runtime-dir")
        os.makedirs(self.runtime_directory, mode=0o700, exist_ok=True)
        self.pid = 0

    @property
    def control_socket(self) -> str:
        return os.path.join(self.runtime_directory, "control.sock")

    @property
    def command(self) -> list[str]:
        options = self._options
        command = [self.binary, "--runtime-dir", self.runtime_directory, "--expect-app"]
        for flag, value in (
            ("--config", options.config),
            ("--host", options.host),
            ("--port", options.port),
            ("--ops-host", options.ops_host),
            ("--ops-port", options.ops_port),
            ("--trusted-proxies", options.trusted_proxies),
        ):
            if value is not None:
                command += [flag, str(value)]
        return command

    def start(self) -> None:
        environment = {**os.environ, "CATZILLA_RUNTIME_DIR": self.runtime_directory}
        self.pid = _process.start_dependent(self.command, environment)

    def clean_up(self) -> None:
        if self._private:
            shutil.rmtree(self.runtime_directory, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<Sidecar pid={self.pid} {self.runtime_directory}>"
