"""The `catzilla` command: run, routes, version."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from catzilla._exceptions import AppLoadError, CatzillaError, ConfigurationError
from catzilla._settings import WorkerSettings, __version__

if TYPE_CHECKING:  # Late: it imports FastAPI, which `run` leaves to the workers.
    from catzilla._routing import Table

_SIZE: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TIME: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 ok, 1 failure, 2 usage."""
    parsed = _parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except CatzillaError as error:
        details = error.details if isinstance(error, AppLoadError) else ""
        print(f"{details}catzilla: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    except BrokenPipeError:
        return 1
    return code


# Verbs...


def _run(options: argparse.Namespace) -> int:
    from catzilla._worker._main import configure_logging

    configure_logging(options.log_level)
    worker = WorkerSettings(
        target=options.app,
        directory=os.path.abspath(options.app_dir),
        factory=options.factory,
        preload=options.preload,
        workers=options.workers,
        loop=options.loop,
        lifespan=options.lifespan,
        lanes=options.lanes,
        max_requests=options.max_requests,
        max_requests_jitter=options.max_requests_jitter,
        max_rss=options.max_rss,
        max_lifetime=options.max_lifetime,
        drain_timeout=options.drain_timeout,
        log_level=options.log_level,
    )
    # Late: gRPC is for the master only.
    from catzilla._master._sidecar import Sidecar, SidecarOptions, default_runtime_directory
    from catzilla._master._supervisor import Master, MasterOptions

    sidecar = None
    if options.attach:
        for flag in ("config", "host", "port", "ops_port", "ops_host", "sidecar", "trusted_proxies"):
            if getattr(options, flag) is not None:
                raise ConfigurationError(f"--{flag.replace('_', '-')} is for a sidecar of our own: drop it or --attach")
        directory = options.runtime_dir or default_runtime_directory()
        address = options.control or f"unix:{os.path.join(directory, 'control.sock')}"
        if "/" in address and ":" not in address:
            address = f"unix:{os.path.abspath(address)}"
    else:
        if options.control is not None:
            raise ConfigurationError("--control names a running sidecar's socket: it goes with --attach")
        host = options.host if options.host or options.config else "127.0.0.1"
        sidecar = Sidecar(
            SidecarOptions(
                binary=options.sidecar,
                config=options.config,
                host=host,
                port=options.port,
                # What is kept from the network is kept from it altogether: metrics do not listen wider than the app.
                ops_host=options.ops_host or (None if os.environ.get("CATZILLA_OPS_HOST") else host),
                ops_port=options.ops_port,
                # As uvicorn: a proxy on this machine is believed. A configuration file says it itself.
                trusted_proxies=options.trusted_proxies or (None if options.config else "127.0.0.1,::1"),
                runtime_directory=options.runtime_dir,
            )
        )
        address = f"unix:{sidecar.control_socket}"
    master = Master(
        MasterOptions(
            app=options.name,
            worker=worker,
            address=address,
            sidecar=sidecar,
            takeover=options.takeover,
            reload=options.reload,
            reload_directories=options.reload_dir or [worker.directory],
            drain_delay=options.drain_delay,
        )
    )
    return asyncio.run(master.run())


def _routes(options: argparse.Namespace) -> int:
    from catzilla._load import load_app
    from catzilla._routing import compile_table

    table = compile_table(load_app(options.app, os.path.abspath(options.app_dir), factory=options.factory))
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
    lanes = [entry.lane for entry in table.routes]
    print(f"\nlanes: {lanes.count('fast')} fast, {lanes.count('stack')} stack, {lanes.count('slow')} slow")
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


def _version(options: argparse.Namespace) -> int:
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


# Usage...


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="catzilla", description="FastAPI apps behind the Catzilla sidecar.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    run = verbs.add_parser("run", help="serve an app", description="Serve an app behind a sidecar.")
    run.set_defaults(run=_run)
    _add_app(run)
    run.add_argument("--workers", type=_count, default=1, metavar="N", help="worker processes (1)")
    run.add_argument(
        "--no-preload", dest="preload", action="store_false", help="each worker imports the app for itself"
    )
    run.add_argument("--reload", action="store_true", help="new workers when a source file changes")
    run.add_argument("--reload-dir", action="append", metavar="DIR", help="what --reload watches (--app-dir)")
    run.add_argument("--name", type=_name, default="app", help="of the app and its pool (app)")
    run.add_argument("--takeover", action="store_true", help="replace a live instance of the same name")
    run.add_argument("--loop", choices=("auto", "uvloop", "asyncio"), default="auto", help="event loop (auto)")
    run.add_argument("--lifespan", choices=("auto", "on", "off"), default="auto", help="ASGI lifespan (auto)")
    run.add_argument(
        "--lanes",
        choices=("on", "off"),
        default=os.environ.get("CATZILLA_LANES", "on"),
        help="off: every route runs the genuine ASGI app, none is compiled (on; CATZILLA_LANES)",
    )
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    ours = run.add_argument_group("the sidecar, started as a child")
    ours.add_argument("--host", metavar="ADDRESS", help="where it listens (127.0.0.1, or what --config says)")
    ours.add_argument("--port", type=_port, metavar="N", help="(8080, or what --config says)")
    ours.add_argument("--ops-host", metavar="ADDRESS", help="of metrics and health (as --host)")
    ours.add_argument("--ops-port", type=_port, metavar="N", help="of metrics and health (9901)")
    ours.add_argument(
        "--trusted-proxies",
        metavar="LIST",
        help="whose X-Forwarded-* is believed: addresses, networks (127.0.0.1,::1, or what --config says)",
    )
    ours.add_argument("--config", metavar="FILE", help="its configuration file")
    ours.add_argument("--sidecar", metavar="PATH", help="the binary, if it is not found by itself")
    ours.add_argument("--runtime-dir", metavar="DIR", help="of the two sockets (a private one)")

    theirs = run.add_argument_group("or one that runs already")
    theirs.add_argument("--attach", action="store_true", help="start none")
    theirs.add_argument("--control", metavar="SOCKET", help="its control socket (in --runtime-dir, or /run/catzilla)")
    theirs.add_argument(
        "--drain-delay", type=_duration, default=0.0, metavar="TIME", help="serve on after SIGTERM, until GOAWAY (0s)"
    )

    life = run.add_argument_group("the life of workers")
    life.add_argument("--max-requests", type=_natural, default=0, metavar="N", help="then a fresh process (never)")
    life.add_argument("--max-requests-jitter", type=_natural, default=0, metavar="N", help="up to so many more (0)")
    life.add_argument("--max-rss", type=_size, default=0, metavar="SIZE", help='"512MiB": then a fresh process (never)')
    life.add_argument("--max-lifetime", type=_duration, default=0.0, metavar="TIME", help='"6h": likewise (never)')
    life.add_argument("--drain-timeout", type=_duration, default=30.0, metavar="TIME", help="to finish requests (30s)")

    routes = verbs.add_parser("routes", help="print an app's route table, with lanes and reasons")
    routes.set_defaults(run=_routes)
    _add_app(routes)
    routes.add_argument("--source", metavar="NAME", help="what a route is compiled to: by its id, path or endpoint")
    routes.add_argument("-o", "--output", choices=("table", "json"), default="table")

    verbs.add_parser("version", help="print versions").set_defaults(run=_version)
    return parser


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", help='"module:app" or "file.py:app"')
    parser.add_argument("--factory", action="store_true", help="what is named makes the app when it is called")
    parser.add_argument("--app-dir", default=".", metavar="DIR", help="goes first on sys.path (.)")


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 256")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: use 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no size: write "512MiB"')
    return int(match[1]) * _SIZE[match[2] or ""]


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no duration: write "30s"')
    return float(match[1]) * _TIME[match[2]]
