"""Which route of an app takes which lane."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRouter, RouteContext

from catzilla._compile._compiled import CompiledApp, routers_of
from catzilla._compile._emit import Compiled, compile_plan
from catzilla._compile._forms import Limits, limits_for, limits_of
from catzilla._compile._guards import patched_part
from catzilla._compile._junction import install_junctions
from catzilla._compile._plan import RefusedError, plan_route
from catzilla._compile._types import misleading_type
from catzilla._text import describe
from catzilla._watchers import watched_by

if TYPE_CHECKING:
    from catzilla._routing import RouteEntry, Table

log = logging.getLogger("catzilla.worker")


def assign_lanes(app: FastAPI, contexts: Sequence[RouteContext], table: Table, off: str = "") -> None:
    """Compiles what can be, and writes each route's lane and the reason of a slow one into the table.

    `off`: why no route is compiled, if so. REQUIRES: table.routes[i] is of contexts[i], as far as these go.
    """
    everywhere = off or _why_nowhere(app)
    limits = {} if everywhere else limits_of(app)
    how = {"stack": bool(app.user_middleware), "exact": not everywhere and misleading_type() is not None}
    for entry, context in zip(table.routes, contexts, strict=False):
        reason = everywhere or _compile(entry, context, limits, table, how)
        if reason:
            entry.lane_reasons.append(reason)
        elif app.user_middleware:
            kind = app.user_middleware[0].cls
            entry.lane = "stack"
            entry.lane_reasons.append(f"the middleware {getattr(kind, '__name__', kind)} stands before it")
        else:
            entry.lane = "fast"
    for entry in table.routes[len(contexts) :]:
        entry.lane_reasons.append(everywhere or f"a {entry.kind} is the genuine app's")


def _why_nowhere(app: FastAPI) -> str:
    if app.root_path or app.max_body_size is not None or app.debug:
        return "root_path, debug or an app-wide max_body_size is set"
    for router in routers_of(app.router):
        for name in ("matches", "handle", "app", "__call__"):
            if getattr(type(router), name) is not getattr(APIRouter, name) or name in vars(router):
                return f"{type(router).__name__}.{name} is its own"
    return watched_by(app, of_user=True) or patched_part()


def _compile(
    entry: RouteEntry, context: RouteContext, limits: dict[int, Limits], table: Table, how: dict[str, bool]
) -> str:
    """Why not; empty: it is compiled."""
    if entry.kind != "api":
        return f"a {entry.kind} route is the genuine app's" if not entry.lane_reasons else entry.lane_reasons.pop()
    if entry.response != "complete":
        return "its answer is a stream"
    slots = {(found["place"], found["name"]): found["slot"] for found in entry.inputs}
    vary = ", ".join(entry.vary).encode()
    label = f"{'/'.join(entry.methods)} {entry.template}"
    try:
        plan = plan_route(entry.id, context, limits_for(context, limits))
        table.compiled[entry.id] = compile_plan(plan, label, slots, vary=vary, **how)
    except RefusedError as refused:
        return str(refused)
    except Exception as error:  # FastAPI's internals are not what we know: it runs genuinely.
        log.warning("%s could not be compiled: %s", label, describe(error))
        return f"it could not be compiled: {describe(error)}"
    return ""


def compiled_app(app: Any, routes: dict[int, Compiled]) -> CompiledApp | None:
    """Once the app has started. None: all of it runs genuinely."""
    if not routes or not isinstance(app, FastAPI) or inspect.isfunction(app):
        return None
    stack = install_junctions(app)
    if stack is None:
        log.warning("no route is compiled: the app's middleware stack is not the one that FastAPI builds")
        return None
    return CompiledApp(app, routes, stack)
