"""The parts of FastAPI that the compiled routes stand in for, and who has put his own in their place.

APM tools and telemetry replace these functions when they are set up: a request that passed them by would be
missing in what they record. Asked after start-up, when they are all in place.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, routing
from fastapi.dependencies import utils
from fastapi.routing import APIRoute, APIRouter
from starlette import _exception_handler, formparsers, requests, responses
from starlette import routing as starlette_routing
from starlette.middleware import Middleware
from starlette.requests import Request

from catzilla._watchers import stranger

_PARTS: Final[tuple[tuple[Any, str, str], ...]] = (
    (routing, "request_response", "fastapi.routing"),
    (routing, "get_request_handler", "fastapi.routing"),
    (routing, "solve_dependencies", "fastapi.dependencies.utils"),
    (routing, "run_endpoint_function", "fastapi.routing"),
    (routing, "serialize_response", "fastapi.routing"),
    (routing, "_build_response_args", "fastapi.routing"),
    (routing, "wrap_app_handling_exceptions", "starlette._exception_handler"),
    (routing, "run_in_threadpool", "starlette.concurrency"),
    (routing, "jsonable_encoder", "fastapi.encoders"),
    (utils, "solve_dependencies", "fastapi.dependencies.utils"),
    (utils, "_solve_generator", "fastapi.dependencies.utils"),
    (utils, "request_params_to_args", "fastapi.dependencies.utils"),
    (utils, "request_body_to_args", "fastapi.dependencies.utils"),
    (utils, "run_in_threadpool", "starlette.concurrency"),
    (_exception_handler, "wrap_app_handling_exceptions", "starlette._exception_handler"),
    (starlette_routing, "request_response", "starlette.routing"),
    (APIRoute, "__init__", "fastapi.routing"),
    (APIRoute, "handle", "fastapi.routing"),
    (APIRoute, "matches", "fastapi.routing"),
    (APIRoute, "get_route_handler", "fastapi.routing"),
    (starlette_routing.Route, "__init__", "starlette.routing"),
    (starlette_routing.Route, "handle", "starlette.routing"),
    (starlette_routing.Route, "matches", "starlette.routing"),
    (APIRouter, "app", "fastapi.routing"),
    (APIRouter, "handle", "fastapi.routing"),
    (APIRouter, "matches", "fastapi.routing"),
    (routing._IncludedRouter, "handle", "fastapi.routing"),
    (routing._IncludedRouter, "matches", "fastapi.routing"),
    (routing._IncludedRouter, "_handle_selected", "fastapi.routing"),
    (FastAPI, "__call__", "fastapi.applications"),
    (FastAPI, "build_middleware_stack", "fastapi.applications"),
    (Middleware, "__init__", "starlette.middleware"),
    (Request, "__init__", "starlette.requests"),
    (Request, "form", "starlette.requests"),
    (Request, "_get_form", "starlette.requests"),
    (requests, "FormParser", "starlette.formparsers"),
    (requests, "MultiPartParser", "starlette.formparsers"),
    (formparsers.FormParser, "__init__", "starlette.formparsers"),
    (formparsers.FormParser, "parse", "starlette.formparsers"),
    (formparsers.MultiPartParser, "__init__", "starlette.formparsers"),
    (formparsers.MultiPartParser, "parse", "starlette.formparsers"),
    (responses.Response, "__init__", "starlette.responses"),
    (responses.Response, "__call__", "starlette.responses"),
    (responses.Response, "init_headers", "starlette.responses"),
    (responses.JSONResponse, "__init__", "starlette.responses"),
    (responses.JSONResponse, "render", "starlette.responses"),
)


def patched_part() -> str:
    """The first part that is not FastAPI's own any more, and whose it is; empty: all are."""
    for owner, name, module in _PARTS:
        whose = stranger(getattr(owner, name, None), module)
        if whose:
            return f"{owner.__name__}.{name} is patched by {whose}"
    return ""
