"""The app's real route table, as the sidecar gets it: what is matched where, and what each handler reads.

Pure over the app: it may be called before and after start-up. The table is plain data (JSON), so that a worker
can hand it to the master, which never imports the app; its hash tells whether two workers run the same table.

In the fast lane the sidecar's match decides what answers; in the slow one the app's own router does, and the match
only which mount or policy applies.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from fastapi import routing as fastapi_routing
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exception_handlers import http_exception_handler
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.sse import EventSourceResponse
from starlette import convertors
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import BaseRoute, Host, Mount, Route, Router, WebSocketRoute

from catzilla._cache import policy_of
from catzilla._compile._assign import assign_lanes
from catzilla._compile._emit import Compiled
from catzilla._compile._reading import CONTENT_TYPE
from catzilla._exceptions import ConfigurationError
from catzilla._inputs import Input, Reads, reads_of
from catzilla._static import StaticMount
from catzilla._watchers import watched_by

_CONVERTORS: Final = {
    convertors.StringConvertor: "str",
    convertors.PathConvertor: "path",
    convertors.IntegerConvertor: "int",
    convertors.FloatConvertor: "float",
    convertors.UUIDConvertor: "uuid",
}
_BUFFER_LIMIT: Final = 64 * 1024


@dataclass(slots=True)
class RouteEntry:
    """One AppRoute of the control plane, by its field names."""

    id: int
    declaration_index: int
    kind: str  # api, starlette, mount, frontend, websocket, catch_all
    template: str
    host: str = ""
    methods: list[str] = field(default_factory=list)
    regex: str = ""
    convertors: dict[str, str] = field(default_factory=dict)
    label: str = ""
    endpoint: str = ""
    lane: str = "slow"
    lane_reasons: list[str] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)  # place, name, multi, slot
    body: str = "streamed"  # none, buffered, streamed
    body_type: str = ""
    max_body_size: int | None = None
    response: str = "complete"  # complete, stream, event_stream
    cache_ttl: str | None = None
    cache_tags: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    cache_ignores_cookies: bool = False
    low_priority: bool = False

    @property
    def literal_prefix(self) -> str:
        return self.template.partition("{")[0]


@dataclass(slots=True)
class MountEntry:
    """A mount_static, and who serves it."""

    prefix: str  # Without a trailing slash; "" is the root.
    resource: dict[str, Any]
    moved: bool
    reason: str = ""


@dataclass(slots=True)
class Table:
    routes: list[RouteEntry] = field(default_factory=list)
    mounts: list[MountEntry] = field(default_factory=list)
    unmatched: str = "app"  # app, sidecar
    unmatched_reason: str = ""
    redirect_slashes: bool = True
    compiled: dict[int, Compiled] = field(default_factory=dict, repr=False)  # Of this process: not sent.

    def encode(self) -> str:
        plain = {
            "routes": [asdict(route) for route in self.routes],
            "mounts": [asdict(mount) for mount in self.mounts],
            "unmatched": self.unmatched,
            "unmatched_reason": self.unmatched_reason,
            "redirect_slashes": self.redirect_slashes,
        }
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.encode().encode()).digest()

    @property
    def vary(self) -> dict[int, bytes]:
        """Route id -> the Vary that @cache asks for."""
        return {route.id: ", ".join(route.vary).encode() for route in self.routes if route.vary}


def compile_table(app: Any, *, lanes: bool = True) -> Table:
    """Raises ConfigurationError for a @cache that cannot be honoured. `lanes`: whether routes are compiled."""
    if not isinstance(app, FastAPI):
        return Table(
            routes=[_catch_all(1, 0, type(app).__name__, "not a FastAPI app")],
            unmatched_reason="not a FastAPI app",
            redirect_slashes=False,
        )
    contexts = list(iter_route_contexts(app.routes))
    table = Table(redirect_slashes=bool(app.router.redirect_slashes))
    for index, context in enumerate(contexts):
        table.routes.append(_entry(index + 1, index, context))
    for frontend in _frontends(app, len(contexts)):
        table.routes.append(frontend)
    _refuse_hidden_policies(table)
    assign_lanes(app, contexts, table, "" if lanes else "lanes are off")
    _move_mounts(app, contexts, table)
    table.unmatched, table.unmatched_reason = _unmatched(app, table)
    return table


def guard_of(app: Any) -> int:
    """Another one as soon as compile_table() would say something else of what no route takes.

    Apps may add routes, and tools may begin to watch, long after start-up. Cheap enough for once a second.
    """
    if not isinstance(app, FastAPI):
        return 0
    routes = tuple((id(context.original_route), context.path) for context in iter_route_contexts(app.routes))
    return hash((routes, id(app.router.default), app.debug, len(app.user_middleware), watched_by(app)))


# Routes...


def _entry(route_id: int, index: int, context: RouteContext) -> RouteEntry:
    original = context.original_route
    effective = context._effective_route
    if isinstance(original, APIRoute):
        return _api_entry(route_id, index, context, original)
    if isinstance(effective, WebSocketRoute):
        entry = _plain(route_id, index, "websocket", effective.path, effective)
        entry.methods = []
        return entry
    if isinstance(effective, Route):
        entry = _plain(route_id, index, "starlette", effective.path, effective)
        entry.methods = sorted(effective.methods or ())
        entry.response = "complete"
        return entry
    if isinstance(effective, Mount):
        entry = _plain(route_id, index, "mount", effective.path + "/{path:path}", effective)
        entry.endpoint = _name(effective.app)
        entry.response = "stream"
        return entry
    if isinstance(effective, Host):
        entry = _catch_all(route_id, index, _name(effective.app), f"Host route {effective.host}")
        if "{" not in effective.host:
            entry.kind, entry.host, entry.lane_reasons = "mount", effective.host, []
        return entry
    return _catch_all(route_id, index, type(effective).__name__, f"{type(effective).__name__} has a matcher of its own")


def _plain(route_id: int, index: int, kind: str, template: str, route: Any) -> RouteEntry:
    entry = RouteEntry(id=route_id, declaration_index=index, kind=kind, template=template, label=template)
    entry.regex = route.path_regex.pattern
    entry.endpoint = _name(getattr(route, "endpoint", None))
    _name_convertors(entry, route.param_convertors)
    if type(route).matches not in _OWN_MATCHERS:
        _give_up(entry, f"{type(route).__name__} has a matcher of its own")
    return entry


def _api_entry(route_id: int, index: int, context: RouteContext, original: APIRoute) -> RouteEntry:
    entry = RouteEntry(id=route_id, declaration_index=index, kind="api", template=context.path or "/")
    entry.label = entry.template
    entry.methods = sorted(context.methods or ())
    entry.regex = context.path_regex.pattern
    entry.endpoint = _name(context.endpoint)
    entry.max_body_size = context.max_body_size
    _name_convertors(entry, context.param_convertors)
    if type(original).matches not in _OWN_MATCHERS:
        _give_up(entry, f"{type(original).__name__} has a matcher of its own")
    reads = reads_of(context.dependant)
    entry.inputs = [{**asdict(found), "slot": slot} for slot, found in enumerate(reads.inputs[:255])]
    entry.body, entry.body_type = _body_of(context, reads)
    if reads.body and CONTENT_TYPE not in {(found.place, found.name) for found in reads.inputs}:
        place, name = CONTENT_TYPE
        entry.inputs.append({"place": place, "name": name, "multi": False, "slot": len(entry.inputs)})
    entry.response = _response_of(context)
    policy = policy_of(context.endpoint)
    if policy is not None:
        _check_policy(entry, policy.vary, reads)
        entry.cache_ttl, entry.cache_tags, entry.vary = policy.ttl_text, list(policy.tags), list(policy.vary)
        entry.cache_ignores_cookies = policy.ignores_cookies
    return entry


def _name_convertors(entry: RouteEntry, found: dict[str, Any]) -> None:
    for parameter, convertor in found.items():
        known = _CONVERTORS.get(type(convertor))
        entry.convertors[parameter] = known or type(convertor).__name__
        if known is None:
            _give_up(entry, f"{{{parameter}}} has the convertor {type(convertor).__name__}")


def _give_up(entry: RouteEntry, reason: str) -> None:
    """The sidecar cannot tell what this route matches: the app's own router decides."""
    entry.kind = "catch_all"
    entry.lane_reasons.append(reason)


def _catch_all(route_id: int, index: int, endpoint: str, reason: str) -> RouteEntry:
    return RouteEntry(
        id=route_id,
        declaration_index=index,
        kind="catch_all",
        template="/{path:path}",
        label="/{path}",
        endpoint=endpoint,
        lane_reasons=[reason],
        response="stream",
    )


def _frontends(app: FastAPI, first: int) -> Iterable[RouteEntry]:
    """app.frontend(): asked when nothing else matches, the most specific path first."""
    found: list[tuple[str, str]] = []
    for route in app.router._iter_low_priority_routes():
        group = getattr(route, "original_route", route)
        if isinstance(group, fastapi_routing._FrontendRouteGroup):
            prefix = getattr(route, "frontend_prefix", "")
            for part in group.routes:
                path = fastapi_routing._join_frontend_paths(prefix, part.path)
                found.append((path, str(part.app.directory)))
    found.sort(key=lambda item: -len(item[0]))
    for offset, (path, directory) in enumerate(found):
        index = first + offset
        template = ("" if path == "/" else path) + "/{path:path}"
        yield RouteEntry(
            id=index + 1,
            declaration_index=index,
            kind="frontend",
            template=template,
            label=template,
            methods=["GET", "HEAD"],
            endpoint=f"frontend {directory}",
            body="none",
            response="stream",
            low_priority=True,
        )


# What a route takes and gives...


def _body_of(context: RouteContext, reads: Reads) -> tuple[str, str]:
    if context.body_field is None:
        return ("streamed" if reads.request else "none"), ""
    if reads.form or reads.request:
        return "streamed", ""
    return "buffered", "application/json"


def _response_of(context: RouteContext) -> str:
    kind = context.response_class
    if isinstance(kind, DefaultPlaceholder):
        kind = kind.value
    if context.is_sse_stream or (inspect.isclass(kind) and issubclass(kind, EventSourceResponse)):
        return "event_stream"
    if context.is_json_stream or (inspect.isclass(kind) and issubclass(kind, StreamingResponse | FileResponse)):
        return "stream"
    return "complete"


def _check_policy(entry: RouteEntry, vary: tuple[str, ...], reads: Reads) -> None:
    """A cached answer goes to everyone: what it depends on must be in its key."""

    def refuse(why: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(
            f"@cache on {'/'.join(entry.methods)} {entry.template} ({entry.endpoint}): {why}: {remedy}"
        )

    if entry.methods != ["GET"]:
        raise refuse("only GET answers can be kept", "put it on a route of its own")
    if reads.security:
        raise refuse("it depends on a security scheme", "answers that depend on who asks must not be cached")
    for found in reads.inputs:
        if found.place == "cookie" and "cookie" not in vary:
            raise refuse(f"it reads the cookie {found.name!r}", 'add vary=["cookie"], or drop the cookie or the cache')
        if found.place == "header" and found.name not in vary:
            raise refuse(f"it reads the header {found.name!r}", f'add vary=["{found.name}"], or drop the header')
    if entry.response != "complete":
        raise refuse("its answer is a stream", "cache complete answers")


def _refuse_hidden_policies(table: Table) -> None:
    """Behind a route that only the app can match, a policy might be applied to another route's answer."""
    for entry in table.routes:
        if entry.cache_ttl is None:
            continue
        reason = f"its policy is off: it is a {entry.kind} route" if entry.kind != "api" else ""
        for earlier in table.routes[: entry.declaration_index]:
            if earlier.kind == "catch_all" and _may_overlap(earlier.literal_prefix, entry.literal_prefix):
                reason = f"its policy is off: {earlier.template} stands before it, which only the app can match"
        if reason:
            entry.cache_ttl, entry.cache_tags, entry.vary = None, [], []
            entry.lane_reasons.append(reason)


def _may_overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


# What moves into the sidecar...


def _move_mounts(app: FastAPI, contexts: list[RouteContext], table: Table) -> None:
    moved: set[int] = set()
    for index, context in enumerate(contexts):
        route = context._effective_route
        if isinstance(route, Mount) and isinstance(route.app, StaticMount):
            reason = _stays_because(app, index, route.path, table)
            table.mounts.append(MountEntry(route.path, route.app.resource(route.path), not reason, reason))
            if reason:
                table.routes[index].lane_reasons.append(f"served by StaticFiles: {reason}")
            else:
                moved.add(index)
    # A route of the mount's own path would win over it in the sidecar.
    table.routes = [entry for entry in table.routes if entry.declaration_index not in moved]


def _stays_because(app: FastAPI, index: int, prefix: str, table: Table) -> str:
    if app.user_middleware:
        return f"the middleware {_name(app.user_middleware[0].cls)} stands before it"
    if app.root_path:
        return f"the app has the root_path {app.root_path!r}"
    for entry in table.routes:
        if entry.declaration_index == index or entry.low_priority or entry.kind == "websocket":
            continue
        inside = entry.literal_prefix == prefix or entry.literal_prefix.startswith(prefix + "/")
        if entry.declaration_index < index:
            # A more specific route wins in the sidecar too; a vaguer one wins only in the app.
            vaguer = not inside and "{" in entry.template and f"{prefix}/".startswith(entry.literal_prefix)
            if vaguer or (entry.kind == "catch_all" and _may_overlap(entry.literal_prefix, f"{prefix}/")):
                return f"{entry.template}, declared before it, may answer below it"
        elif inside and not _is_static(entry):
            return f"{entry.template} is declared behind it and would never be reached by FastAPI: declare it before"
    return ""


def _is_static(entry: RouteEntry) -> bool:
    return entry.kind == "mount" and entry.endpoint == StaticMount.__name__


def _unmatched(app: FastAPI, table: Table) -> tuple[str, str]:
    """Whether the sidecar may say FastAPI's 404 and 405 itself, and why not."""
    if app.user_middleware:
        return "app", f"the middleware {_name(app.user_middleware[0].cls)} sees every request"
    for key in (404, 405):
        if key in app.exception_handlers:
            return "app", f"the app has a handler for {key}"
    for kind, handler in app.exception_handlers.items():
        if inspect.isclass(kind) and issubclass(kind, HTTPException) and handler is not http_exception_handler:
            return "app", f"the app has a handler for {kind.__name__}"
    for entry in table.routes:
        if entry.kind in ("mount", "catch_all", "frontend"):
            return "app", f"{entry.template} ({entry.kind}) is the app's to match"
    if app.root_path or app.debug or app.max_body_size is not None:
        return "app", "root_path, debug or an app-wide max_body_size is set"
    router = app.router
    if getattr(router.default, "__func__", None) is not Router.not_found and not _fastapi_default(router):
        return "app", "the router has a default of its own"
    watcher = watched_by(app)
    return ("app", watcher) if watcher else ("sidecar", "")


def _fastapi_default(router: Any) -> bool:
    return getattr(router.default, "__func__", None) is getattr(fastapi_routing.APIRouter, "not_found", None)


def _name(thing: Any) -> str:
    if thing is None:
        return ""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return str(name) if name else type(thing).__name__


_OWN_MATCHERS: Final = frozenset({Route.matches, WebSocketRoute.matches, Mount.matches, APIRoute.matches,
                                  fastapi_routing.APIWebSocketRoute.matches})  # fmt: skip

__all__ = ["BaseRoute", "Input", "MountEntry", "RouteEntry", "Table", "compile_table"]
