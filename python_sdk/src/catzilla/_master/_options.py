"""What the master is told by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from catzilla._master._sidecar import Sidecar
from catzilla._settings import WorkerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterOptions:
    app: str  # Names the pool.
    worker: WorkerSettings
    address: str  # gRPC's name of the control socket.
    sidecar: Sidecar | None = None  # None: attached to one that others run.
    takeover: bool = False
    reload: bool = False
    reload_hold: float = 0.0
    reload_directories: list[str] = field(default_factory=list)
    reload_files: list[str] = field(default_factory=list)
    development: bool = False  # Says more of the app, also to its clients.
    drain_delay: float = 0.0
    runtime_directory: str = ""  # Where `catzilla deploy` finds us.
