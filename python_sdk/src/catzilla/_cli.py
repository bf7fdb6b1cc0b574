"""The `catzilla` command: what each verb does. How they are called is in _usage.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from catzilla._discover import find_target, package_root
from catzilla._env_file import load_env_file, read_env_file
from catzilla._exceptions import AppLoadError, CatzillaError, ConfigurationError
from catzilla._settings import FASTAPIS_OWN, WorkerSettings, __version__
from catzilla._usage import Options, parse

if TYPE_CHECKING:  # Late: it imports FastAPI, which `run` leaves to the workers.
    from catzilla._routing import Table

log = logging.getLogger("catzilla.master")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 ok, 1 failure, 2 usage."""
    options = parse(arguments)
    try:
        code = _VERBS[options.verb](options)
    except CatzillaError as error:
        details = error.details if isinstance(error, AppLoadError) else ""
        print(f"{details}catzilla: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    except BrokenPipeError:
        return 1
    return code


# Verbs...


def _run(options: Options) -> int:
    from catzilla._worker._main import configure_logging

    configure_logging(options.log_level)
    found = find_target(options.app, options.app_dir)
    if options.env_file:
        read_env_file(options.env_file)  # Now, so that a mistake in it is told at once.
    if found.how:
        log.info("no APP was given: %s", found.how)
    directory = os.path.abspath(options.app_dir)
    worker = WorkerSettings(
        target=found.target,
        directory=directory,
        env_file=os.path.abspath(options.env_file) if options.env_file else "",
        factory=options.factory,
        preload=options.preload,
        workers=options.workers,
        loop=options.loop,
        lifespan=options.lifespan,
        lanes=options.lanes,
        pathsend=options.pathsend,
        max_requests=options.max_requests,
        max_requests_jitter=options.max_requests_jitter,
        max_rss=options.max_rss,
        max_lifetime=options.max_lifetime,
        drain_timeout=options.drain_timeout,
        in_flight_max=options.concurrency,
        log_level=options.log_level,
    )
    # Late: gRPC is for the master only.
    from catzilla._master._sidecar import Sidecar, SidecarOptions, default_runtime_directory
    from catzilla._master._supervisor import Master, MasterOptions

    sidecar = None
    if options.attach:
        for flag in ("config", "host", "port", "ops_port", "ops_host", "sidecar", "trusted_proxies"):
            if flag in options.said:
                raise ConfigurationError(f"--{flag.replace('_', '-')} is for a sidecar of our own: drop it or --attach")
        sockets = options.runtime_dir or default_runtime_directory()
        address = options.control or f"unix:{os.path.join(sockets, 'control.sock')}"
        if "/" in address and ":" not in address:
            address = f"unix:{os.path.abspath(address)}"
        runtime = options.runtime_dir or os.path.dirname(address.removeprefix("unix:"))
    else:
        if "control" in options.said:
            raise ConfigurationError("--control names a running sidecar's socket: it goes with --attach")
        host = options.host if options.host or options.config else "127.0.0.1"
        sidecar = Sidecar(
            SidecarOptions(
                binary=options.sidecar if "sidecar" in options.said else None,
                config=options.config,
                host=host,
                port=options.port,
                # What is kept from the network is kept from it altogether: metrics do not listen wider than the app.
                ops_host=options.ops_host or host,
                ops_port=options.ops_port,
                # As uvicorn: a proxy on this machine is believed. A configuration file says it itself.
                trusted_proxies=options.trusted_proxies or (None if options.config else "127.0.0.1,::1"),
                runtime_directory=options.runtime_dir,
            )
        )
        address, runtime = f"unix:{sidecar.control_socket}", sidecar.runtime_directory
    master = Master(
        MasterOptions(
            app=options.name,
            worker=worker,
            address=address,
            sidecar=sidecar,
            takeover=options.takeover,
            reload=options.reload,
            reload_hold=options.reload_hold,
            reload_directories=options.reload_dir or _sources(worker),
            reload_files=[worker.env_file] if worker.env_file else [],
            development=options.verb == "dev",
            drain_delay=options.drain_delay,
            runtime_directory=runtime,
        )
    )
    return asyncio.run(master.run())


def _deploy(options: Options) -> int:
    from catzilla._deploy import deploy

    return deploy(options.runtime_dir, options.name, options.pid, options.timeout)


def _sources(worker: WorkerSettings) -> list[str]:
    """What --reload watches: --app-dir, and the folder of an app that is a file elsewhere."""
    file = worker.target.partition(":")[0]
    if not file.endswith(".py"):
        return [worker.directory]
    folder = package_root(Path(file).absolute())
    return [worker.directory] if folder.is_relative_to(worker.directory) else [worker.directory, str(folder)]


def _load(options: Options) -> Any:
    """The app, in this process; what it prints on the way is not ours."""
    from catzilla._load import load_app

    if options.env_file:
        load_env_file(options.env_file)
    target = find_target(options.app, options.app_dir).target
    with contextlib.redirect_stdout(sys.stderr):
        return load_app(target, os.path.abspath(options.app_dir), factory=options.factory)


def _openapi(options: Options) -> int:
    app = _load(options)
    if not callable(getattr(app, "openapi", None)):
        raise CatzillaError(f"{type(app).__name__} has no OpenAPI document: it is no FastAPI app")
    with contextlib.redirect_stdout(sys.stderr):
        text = json.dumps(app.openapi(), indent=2, ensure_ascii=False)
    if options.output is None:
        print(text)
        return 0
    try:
        Path(options.output).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise CatzillaError(f"-o {options.output}: {error.strerror}") from None
    return 0


def _routes(options: Options) -> int:
    from catzilla._routing import compile_table

    table = compile_table(_load(options))
    if options.source is not None:
        return _print_source(table, options.source)
    if options.output == "json":
        print(table.encode())
        return 0
    rows = [("ID", "KIND", "METHODS", "PATH", "LANE", "CACHE", "ENDPOINT", "WHY")]
    for entry in table.routes:
        tags = f" [{', '.join(entry.cache_tags)}]" if entry.cache_tags else ""
        rows.append(
            (
                str(entry.id),
                entry.kind,
                ",".join(entry.methods) or "*",
                entry.template,
                entry.lane,
                f"{entry.cache_ttl}{tags}" if entry.cache_ttl else "-",
                entry.endpoint,
                "; ".join(entry.lane_reasons),
            )
        )
    for mount in table.mounts:
        where = "sidecar" if mount.moved else "app"
        path = (mount.prefix or "/") if mount.moved else f"{mount.prefix}/"
        rows.append(("-", "static", "GET,HEAD", path, where, "-", mount.resource["root"], mount.reason))
    _print_table(rows)
    why = f" ({table.unmatched_reason})" if table.unmatched_reason else ""
    lanes = [entry.lane for entry in table.routes if not entry.endpoint.startswith(FASTAPIS_OWN)]
    pages = len(table.routes) - len(lanes)
    more = f", and {pages} of FastAPI's own" if pages else ""
    print(f"\nlanes: {lanes.count('fast')} fast, {lanes.count('stack')} stack, {lanes.count('slow')} slow{more}")
    print(f"other paths: {'404 by the sidecar' if table.unmatched == 'sidecar' else f'to the app{why}'}")
    print(f"table: {table.hash.hex()}")
    return 0


def _print_source(table: Table, name: str) -> int:
    """What the named routes were compiled to."""
    found = [
        e for e in table.routes if name in (str(e.id), e.template, e.endpoint, f"{'/'.join(e.methods)} {e.template}")
    ]
    if not found:
        raise ConfigurationError(f"no route is called {name!r}: give an id, a path or an endpoint of `catzilla routes`")
    for entry in found:
        compiled = table.compiled.get(entry.id)
        print(f"# {entry.id}: {'/'.join(entry.methods)} {entry.template} ({entry.endpoint}), lane {entry.lane}")
        print(compiled.source if compiled is not None else f"# not compiled: {'; '.join(entry.lane_reasons)}\n")
    return 0


def _version(options: Options) -> int:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    parts = [f"catzilla {__version__}", f"Python {platform.python_version()}"]
    for name in ("fastapi", "starlette", "pydantic", "grpcio", "protobuf", "uvloop"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            parts.append(f"{name} not installed")
    print("\n".join(parts))
    return 0


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_VERBS: Final[dict[str, Callable[[Options], int]]] = {
    "run": _run,
    "dev": _run,
    "deploy": _deploy,
    "routes": _routes,
    "openapi": _openapi,
    "version": _version,
}
