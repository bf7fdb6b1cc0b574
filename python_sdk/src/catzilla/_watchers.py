"""Who sees the requests that no route of an app takes, beside the app's own router.

The sidecar may answer those by itself only where nobody could tell: an APM tool that counts them, a middleware that
puts a field on the 404, telemetry that records a span would all miss them.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRouter
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Router

# What a request meets on its way to a 404, and where that comes from.
_WAY: Final = (
    (FastAPI, "__call__", "fastapi.applications"),
    (FastAPI, "build_middleware_stack", "fastapi.applications"),
    (Starlette, "__call__", "starlette.applications"),
    (ServerErrorMiddleware, "__init__", "starlette.middleware.errors"),
    (ServerErrorMiddleware, "__call__", "starlette.middleware.errors"),
    (ExceptionMiddleware, "__init__", "starlette.middleware.exceptions"),
    (ExceptionMiddleware, "__call__", "starlette.middleware.exceptions"),
    (ExceptionMiddleware, "http_exception", "starlette.middleware.exceptions"),
    (Router, "__call__", "starlette.routing"),
    (Router, "not_found", "starlette.routing"),
)
_OWN: Final = ("fastapi.", "starlette.", "catzilla._compile.")


def watched_by(app: FastAPI, *, of_user: bool = False) -> str:
    """Who it is, in a few words; empty: nobody. `of_user`: its own middleware is no stranger."""
    kind = type(app)
    for name in ("build_middleware_stack", "__call__"):
        own = vars(app).get(name)
        if own is not None and getattr(own, "__func__", own) is not getattr(FastAPI, name):  # A tool may put it back.
            return f"the app's {name} is patched by {module_of(own)}"
        if getattr(kind, name) is not getattr(FastAPI, name):
            return f"{kind.__name__}.{name} is its own"
    if type(app.router).__call__ is not APIRouter.__call__:
        return f"{type(app.router).__name__} overrides __call__"
    for owner, name, module in _WAY:
        whose = stranger(getattr(owner, name), module)
        if whose:
            return f"{owner.__name__}.{name} is patched by {whose}"
    telemetry = getattr(app, "_native_telemetry", None)
    if telemetry is not None and telemetry.enabled():
        return "FastAPI's telemetry records every request"
    known = tuple(one.cls for one in app.user_middleware if isinstance(one.cls, type)) if of_user else ()
    return _foreign_layer(app.middleware_stack, known)


def stranger(found: Any, module: str) -> str:
    """Whose a function is that should be of `module`; empty: it is."""
    named = getattr(found, "__module__", None)
    if named != module:
        return named or "somebody"
    whose = module_of(found)
    return whose if whose != module or hasattr(found, "__wrapped__") else ""


def module_of(found: Any) -> str:
    """Where its code is from: functools.wraps() copies the names of what it wraps, wrapt shows all of it."""
    code = getattr(found, "_self_wrapper", found)
    code = getattr(code, "__func__", code)
    names = getattr(code, "__globals__", None)
    whose = names.get("__name__") if isinstance(names, dict) else getattr(code, "__module__", None)
    return whose or "somebody"


def _foreign_layer(layer: Any, known: tuple[type, ...]) -> str:
    """The stack as it was built; APM tools add to it without a trace in user_middleware."""
    while layer is not None and not isinstance(layer, Router):
        if not type(layer).__module__.startswith(_OWN) and type(layer) not in known:
            return f"{type(layer).__name__} of {type(layer).__module__} sees every request"
        layer = getattr(layer, "app", None)
    return ""
