"""Catzilla: FastAPI apps behind a sidecar that serves static files and cached answers by itself.

Public names only: our own, and everything that people import from fastapi, in modules of the same names
(`catzilla.responses`, `catzilla.middleware.cors`, …); `FastAPI` is `Catzilla`. They are imported when they are first
asked for, so that the `catzilla` command (which never runs the app) stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from catzilla._settings import __version__

if TYPE_CHECKING:
    from fastapi import (
        APIRouter,
        BackgroundTasks,
        Body,
        Cookie,
        Depends,
        File,
        Form,
        Header,
        HTTPException,
        Path,
        Query,
        Request,
        Response,
        Security,
        UploadFile,
        WebSocket,
        WebSocketDisconnect,
        WebSocketException,
        status,
    )
    from fastapi.responses import (
        FileResponse,
        HTMLResponse,
        JSONResponse,
        PlainTextResponse,
        RedirectResponse,
        StreamingResponse,
    )
    from pydantic import BaseModel, Field

    from catzilla._app import Catzilla
    from catzilla._app import Catzilla as FastAPI
    from catzilla._cache import cache
    from catzilla._exceptions import (
        AppLoadError,
        CatzillaError,
        ConfigurationError,
        LinkError,
        SidecarError,
    )
    from catzilla._static import FileRule

_MODULES = {
    "catzilla._app": ("Catzilla", "FastAPI"),
    "catzilla._cache": ("cache",),
    "catzilla._exceptions": ("AppLoadError", "CatzillaError", "ConfigurationError", "LinkError", "SidecarError"),
    "catzilla._static": ("FileRule",),
    "fastapi": (
        "APIRouter", "BackgroundTasks", "Body", "Cookie", "Depends", "File", "Form", "Header", "HTTPException", "Path",
        "Query", "Request", "Response", "Security", "UploadFile", "WebSocket", "WebSocketDisconnect",
        "WebSocketException", "status",
    ),
    "fastapi.responses": (
        "FileResponse", "HTMLResponse", "JSONResponse", "PlainTextResponse", "RedirectResponse", "StreamingResponse",
    ),
    "pydantic": ("BaseModel", "Field"),
}  # fmt: skip
# Replacing `fastapi` by `catzilla` in an app's imports is all of the migration.
_ITS_NAMES = {"FastAPI": "Catzilla"}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "APIRouter",
    "AppLoadError",
    "BackgroundTasks",
    "BaseModel",
    "Body",
    "Catzilla",
    "CatzillaError",
    "ConfigurationError",
    "Cookie",
    "Depends",
    "FastAPI",
    "Field",
    "File",
    "FileResponse",
    "FileRule",
    "Form",
    "HTMLResponse",
    "HTTPException",
    "Header",
    "JSONResponse",
    "LinkError",
    "Path",
    "PlainTextResponse",
    "Query",
    "RedirectResponse",
    "Request",
    "Response",
    "Security",
    "SidecarError",
    "StreamingResponse",
    "UploadFile",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketException",
    "__version__",
    "cache",
    "status",
]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'catzilla' has no attribute {name!r}")
    value = getattr(import_module(module), _ITS_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
