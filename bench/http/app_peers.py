"""The contenders of the app bench, each at its best setting with one worker; what its manual says of it is in quotes.

Those that are no FastAPI do the rows that can be written for them by hand.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable

import environments
import machine
import peers
from measure import Server

APPS = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Peer:
    """How to have it and how to start it."""

    title: str
    lock: str
    command: Callable[[str, str, int], list[str]]  # Of a Python, an app's name and a port.
    packages: tuple[str, ...]  # Whose versions the page tells.
    fastapi: bool = True
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def _uvicorn(python: str, app: str, port: int) -> list[str]:
    command = peers.uvicorn(APPS, "/").command(port)
    # The same settings as in `hello`, quoted there, for another app.
    return [python, *(f"app_rows:{app}" if word == "hello:app" else word for word in command[1:])]


def _granian(python: str, app: str, port: int) -> list[str]:
    return [
        *(python, "-m", "granian", f"app_rows:{app}", "--host", "127.0.0.1", "--port", str(port)),
        # "Application interface type [default: (rsgi)]".
        *("--interface", "asgi"),
        # "On containerized environments like docker or k8s is best to have 1 worker per container".
        *("--workers", "1"),
        # "The default number of runtime threads and runtime blocking threads is fine for the vast majority of
        # applications": one. Of blocking threads: "irrelevant on asynchronous protocols, the value is fixed to a
        # single thread".
        *("--runtime-threads", "1"),
        # "Benchmarks suggests st mode to be more efficient with a small amount of processes".
        *("--runtime-mode", "st"),
        *("--loop", "uvloop"),
        # "HTTP version [default: (auto)]": nothing to find out.
        *("--http", "1"),
        # "Enable websockets handling [default: (enabled)]".
        "--no-ws",
        # "Access log [default: (disabled)]".
        *("--no-access-log", "--log-level", "warning"),
    ]


def _robyn(python: str, app: str, port: int) -> list[str]:
    return [
        *(python, str(APPS / "app_robyn.py")),
        # "Choose the number of processes. [Default: 1]"; `--fast` would take two for each core, and one more.
        *("--processes", "1"),
        # "Choose the number of workers. [Default: 1]".
        *("--workers", "1"),
        *("--log-level", "WARN"),
        # "Disable the OpenAPI documentation."
        "--disable-openapi",
    ]


def _by_port(file: str) -> Callable[[str, str, int], list[str]]:
    return lambda python, app, port: [python, str(APPS / file), str(port)]


PEERS = {
    "uvicorn": Peer(
        "uvicorn + FastAPI", "apps", _uvicorn, ("uvicorn", "uvloop", "httptools", "fastapi")
    ),
    "granian": Peer("granian + FastAPI", "apps", _granian, ("granian",)),
    # "Timeout for keep-alive connections in seconds (default: 20)".
    "robyn": Peer("robyn", "robyn", _robyn, ("robyn",), False, {"ROBYN_KEEP_ALIVE_TIMEOUT": "600"}),
    "socketify": Peer(
        "socketify", "socketify", _by_port("app_socketify.py"), ("socketify",), False
    ),
    # Its manual names no setting of workers or threads for `listen`.
    "heritage": Peer(
        "catzilla of PyPI", "heritage", _by_port("app_heritage.py"), ("catzilla",), False
    ),
}
OURS = "catzilla"
TITLES = {**{name: peer.title for name, peer in PEERS.items()}, OURS: "catzilla + FastAPI"}


def versions(python: str, *packages: str, told: str = "") -> list[str]:
    program = (
        "import importlib.metadata, sys; print(sys.argv[1], *(f'{name} {importlib.metadata.version(name)}'"
        " for name in sys.argv[2:]), 'Python', sys.version.split()[0])"
    )
    return [python, "-c", program, told, *packages]


def sdk_folder() -> pathlib.Path:
    """The tree that is measured: the first of $PYTHONPATH, else this one."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)[0]
    return pathlib.Path(named) if named else peers.ROOT / "python_sdk" / "src"


def binaries() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CATZILLA_BIN_DIR") or peers.BINARIES).resolve()


def catzilla(python: str, app: str, folder: pathlib.Path, lanes: str | None) -> Server:
    """Sidecar, master and one worker, all counted; no access log, as with the others."""
    config = folder / "catzilla.yaml"
    config.write_text("telemetry: {access_log: false}\n")

    def command(port: int) -> list[str]:
        return [
            *(python, "-m", "catzilla", "run", f"app_rows:{app}"),
            *("--host", "127.0.0.1", "--port", str(port), "--ops-port", "0"),
            *("--workers", "1", "--config", str(config)),
        ]

    path = os.pathsep.join([str(APPS), os.environ.get("PYTHONPATH") or str(sdk_folder())])
    environment = {"PYTHONPATH": path, "CATZILLA_BIN_DIR": str(binaries())}
    told = f"{TITLES[OURS]}: {machine.commit(sdk_folder())}"
    if lanes is not None:
        environment["CATZILLA_LANES"] = lanes
        told += f" lanes {lanes}"
    version = versions(python, "uvloop", "fastapi", told=told)
    return Server(TITLES[OURS], command, "/hello", environment, version=version)


def contender(
    name: str, python: str, app: str, folder: pathlib.Path, lanes: str | None = None
) -> Server:
    """One of them, for one of the apps; raises NotInstalled."""
    if name == OURS:
        return catzilla(environments.environment("apps", python), app, folder, lanes)
    peer = PEERS[name]
    program = environments.environment(peer.lock, python)
    environment = {"PYTHONPATH": str(APPS), **peer.environment}

    def command(port: int) -> list[str]:
        environment["ROBYN_PORT"] = str(port)
        return peer.command(program, app, port)

    told = versions(program, *peer.packages, told=f"{peer.title}:")
    return Server(peer.title, command, "/hello", environment, version=told)
