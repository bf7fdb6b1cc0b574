"""What a worker process is told by its master, as one JSON object."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

__version__ = "0.1.0"

# Set in every process that imports the app for serving it.
WORKER_ENVIRONMENT = "CATZILLA_WORKER"
# Begins the endpoint's name of the routes that FastAPI adds to every app.
FASTAPIS_OWN = "FastAPI.setup."


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Constant for the life of a generation; sizes in bytes, times in seconds, 0: off."""

    target: str  # "module:app"; without a name where it is not known yet.
    directory: str = "."  # Goes first on sys.path.
    env_file: str = ""
    factory: bool = False  # `target` makes the app when it is called.
    preload: bool = True
    workers: int = 1
    loop: str = "auto"  # auto, uvloop, asyncio
    lifespan: str = "auto"  # auto, on, off
    lanes: str = "on"  # on, off: every route runs the genuine ASGI app
    pathsend: str = "auto"  # auto, on, off: whether the app is offered http.response.pathsend
    max_requests: int = 0
    max_requests_jitter: int = 0
    max_rss: int = 0
    max_lifetime: float = 0.0
    drain_timeout: float = 30.0
    in_flight_max: int = 4096  # Requests whose answers have not begun; the sidecar's own limit is lower.
    log_level: str = "info"
    # Instead of the app, in development: its error and traceback.
    error_page: tuple[str, str] | None = None

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> WorkerSettings:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What lets a worker attach to one generation of a pool; the answer to a registration."""

    pool: str
    epoch: int
    generation: int
    token: str  # hexadecimal
    socket: str


@dataclass(slots=True, kw_only=True)
class WorkerPlace:
    """Which worker this process is."""

    index: int
    pid: int
    start_time_us: int
    note: str = ""

    @classmethod
    def here(cls, index: int, note: str = "") -> WorkerPlace:
        import os

        return cls(index=index, pid=os.getpid(), start_time_us=time.time_ns() // 1000, note=note)
