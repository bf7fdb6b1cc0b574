"""How the `catzilla` command is called: its verbs, their options, and the variable of each option.

One rule for all: --max-requests is CATZILLA_MAX_REQUESTS. The command line wins; an empty variable says nothing. What
is for a sidecar of our own is not read from the environment with --attach.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from catzilla._exceptions import ConfigurationError

_SIZE: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TIME: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("0", "false", "no", "off")
_CONCURRENCY_MAX: Final = 65535


class Options(argparse.Namespace):
    """What argparse found; `said` are those of the command line itself."""

    verb: str
    said: frozenset[str] = frozenset()


def parse(arguments: Sequence[str] | None) -> Options:
    """Ends the process with code 2, and a line that says why, if the command line or a variable is wrong."""
    parser, verbs = _parser()
    options = parser.parse_args(arguments, namespace=Options())
    verb = verbs[options.verb]
    options.said = frozenset(vars(options))
    for variable in verb.variables:
        if variable.dest not in options.said:
            unread = variable.ours and options.attach
            try:
                setattr(options, variable.dest, variable.default if unread else variable.read())
            except ConfigurationError as error:
                verb.parser.error(str(error))
    return options


@dataclass(frozen=True, slots=True)
class _Variable:
    """Of one option. `ours`: it is for a sidecar of our own."""

    action: argparse.Action
    name: str
    default: Any
    ours: bool

    @property
    def dest(self) -> str:
        return self.action.dest

    def read(self) -> Any:
        text = os.environ.get(self.name, "")
        if not text:
            return self.default
        if self.action.nargs == 0:
            if text.lower() not in (*_YES, *_NO):
                raise ConfigurationError(f"{self.name}: {text!r} is neither of {', '.join((*_YES, *_NO))}")
            return self.action.const if text.lower() in _YES else self.default
        if isinstance(self.action, argparse._AppendAction):
            return text.split(os.pathsep)
        if self.action.choices is not None and text not in self.action.choices:
            raise ConfigurationError(f"{self.name}: {text!r} is none of {', '.join(self.action.choices)}")
        if not callable(self.action.type):
            return text
        try:
            return self.action.type(text)
        except argparse.ArgumentTypeError as error:
            hint = ""
            if "://" in text:
                hint = " (Kubernetes sets it for a Service of our name: put enableServiceLinks: false into the pod)"
            raise ConfigurationError(f"{self.name}: {error}{hint}") from None


class _Verb:
    def __init__(self, verbs: Any, name: str, summary: str, description: str = "") -> None:
        self.parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=description or summary)
        self.parser.set_defaults(verb=name)
        self.name = name
        self.variables: list[_Variable] = []

    def with_variables(self, *, but: Sequence[str] = ()) -> None:
        """Each option that there is by now gets its variable."""
        ours = next((g._group_actions for g in self.parser._action_groups if g.title == _OURS), [])
        for action in self.parser._actions:
            if action.dest in ("help", *but):
                continue
            long = next((flag for flag in action.option_strings if flag.startswith("--")), action.dest)
            name = "CATZILLA_" + long.removeprefix("--").replace("-", "_").upper()
            self.variables.append(_Variable(action, name, action.default, action in ours))
            action.default = argparse.SUPPRESS
            action.help = f"{action.help} [{name}]"
        # Whether a sidecar of our own is asked for decides what is read for it.
        self.variables.sort(key=lambda variable: variable.dest != "attach")


_OURS: Final = "the sidecar, started as a child"


def _parser() -> tuple[argparse.ArgumentParser, dict[str, _Verb]]:
    parser = argparse.ArgumentParser(prog="catzilla", description="FastAPI apps behind the Catzilla sidecar.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    run = _Verb(verbs, "run", "serve an app", "Serve an app behind a sidecar.")
    _add_app(run.parser)
    _add_workers(run.parser)
    _add_run(run.parser)
    run.with_variables()

    dev = _Verb(
        verbs,
        "dev",
        "serve an app while you work on it",
        "run with --reload and one worker; each version of the code says which routes are not compiled, and why.",
    )
    _add_app(dev.parser)
    dev.parser.set_defaults(workers=1, preload=True, reload=True, max_requests=0, max_requests_jitter=0)
    dev.parser.set_defaults(max_rss=0, max_lifetime=0.0)
    _add_run(dev.parser)
    dev.with_variables()

    routes = _Verb(verbs, "routes", "print an app's route table, with lanes and reasons")
    _add_app(routes.parser)
    routes.with_variables()
    routes.parser.add_argument("--source", metavar="NAME", help="what a route is compiled to: id, path or endpoint")
    routes.parser.add_argument("-o", "--output", choices=("table", "json"), default="table")

    openapi = _Verb(verbs, "openapi", "print an app's OpenAPI document as JSON")
    _add_app(openapi.parser)
    openapi.with_variables()
    openapi.parser.add_argument("-o", "--output", metavar="FILE", help="write it there")

    deploy = _Verb(
        verbs,
        "deploy",
        "new code for a running app",
        "The running master imports the code anew; when it is ready it takes over in one step, and the old one "
        "finishes what it has. Exit code 1, with the reason: the new code does not start, and the old one serves on.",
    )
    deploy.parser.add_argument("--runtime-dir", metavar="DIR", help="of the running master (looked for)")
    deploy.parser.add_argument("--name", type=_name, metavar="NAME", help="of the app, if several run (the only one)")
    deploy.with_variables()
    deploy.parser.add_argument("--pid", type=_natural, metavar="N", help="of the master, if several run")
    deploy.parser.add_argument("--timeout", type=_duration, default=60.0, metavar="TIME", help="to wait for it (60s)")

    version = _Verb(verbs, "version", "print versions")
    every = (run, dev, deploy, routes, openapi, version)
    return parser, {verb.name: verb for verb in every}


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "app",
        nargs="?",
        metavar="APP",
        help='"module:app", "file.py:app" or without :app (the app of pyproject.toml, main.py, app.py, api.py or app/)',
    )
    parser.add_argument("--factory", action="store_true", help="what is named makes the app when it is called")
    parser.add_argument("--app-dir", default=".", metavar="DIR", help="goes first on sys.path (.)")
    parser.add_argument(
        "--env-file", metavar="FILE", help="NAME=VALUE lines for the app's environment, where they are not set"
    )


def _add_workers(run: argparse.ArgumentParser) -> None:
    run.add_argument("--workers", type=_count, default=1, metavar="N", help="worker processes (1)")
    run.add_argument(
        "--no-preload",
        dest="preload",
        default=True,
        action="store_false",
        help="each worker imports the app for itself",
    )
    run.add_argument("--reload", action="store_true", help="new workers when a source file changes")
    life = run.add_argument_group("the life of workers")
    life.add_argument("--max-requests", type=_natural, default=0, metavar="N", help="then a fresh process (never)")
    life.add_argument("--max-requests-jitter", type=_natural, default=0, metavar="N", help="up to so many more (0)")
    life.add_argument("--max-rss", type=_size, default=0, metavar="SIZE", help='"512MiB": then a fresh process (never)')
    life.add_argument("--max-lifetime", type=_duration, default=0.0, metavar="TIME", help='"6h": likewise (never)')


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("--reload-dir", action="append", metavar="DIR", help="what a reload watches (--app-dir)")
    run.add_argument(
        "--reload-hold",
        type=_duration,
        default=4.0,
        metavar="TIME",
        help="requests wait for reloaded code for so long, then what serves goes on; 0: not at all (4s)",
    )
    run.add_argument(
        "--concurrency",
        type=_concurrency,
        default=4096,
        metavar="N",
        help="requests a worker has at once, until their answers begin; more wait in the sidecar (1024 there)",
    )
    run.add_argument("--name", type=_name, default="app", help="of the app and its pool (app)")
    run.add_argument("--takeover", action="store_true", help="replace a live instance of the same name")
    run.add_argument("--loop", choices=("auto", "uvloop", "asyncio"), default="auto", help="event loop (auto)")
    run.add_argument("--lifespan", choices=("auto", "on", "off"), default="auto", help="ASGI lifespan (auto)")
    run.add_argument(
        "--lanes",
        choices=("on", "off"),
        default="on",
        help="off: every route runs the genuine ASGI app, none is compiled (on)",
    )
    run.add_argument(
        "--pathsend",
        choices=("auto", "on", "off"),
        default="auto",
        help="offer http.response.pathsend; auto: where nothing could mistake it (auto)",
    )
    run.add_argument("--drain-timeout", type=_duration, default=30.0, metavar="TIME", help="to finish requests (30s)")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(info)")

    ours = run.add_argument_group(_OURS)
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


def _concurrency(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _CONCURRENCY_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_CONCURRENCY_MAX}")
    return int(text)
