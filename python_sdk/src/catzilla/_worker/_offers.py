"""Which ASGI extensions an app is offered.

uvicorn offers none, so that what stands between an app's answers and us may never have met them: a middleware may wait
for a body that does not come, and GZipMiddleware would leave a file as it is that it compresses elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

# They pass on what they do not know, and look at no body.
_SEES_NO_BODY: Final = frozenset({
    "starlette.middleware.authentication.AuthenticationMiddleware",
    "starlette.middleware.cors.CORSMiddleware",
    "starlette.middleware.errors.ServerErrorMiddleware",
    "starlette.middleware.exceptions.ExceptionMiddleware",
    "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware",
    "starlette.middleware.sessions.SessionMiddleware",
    "starlette.middleware.trustedhost.TrustedHostMiddleware",
    "fastapi.middleware.asyncexitstack.AsyncExitStackMiddleware",
})  # fmt: skip
_OURS: Final = ("starlette", "fastapi", "catzilla")


def extensions_for(app: Any, *, pathsend: str = "auto", debug: bool = False) -> dict[str, dict[str, Any]]:
    """For `scope["extensions"]`; what is in it is shared by all requests. `pathsend`: auto, on, off."""
    offered: dict[str, dict[str, Any]] = {"http.response.early_hint": {}, "http.response.trailers": {}}
    known = takes_pathsend(app)
    if pathsend == "on" or (known and pathsend == "auto"):
        offered["http.response.pathsend"] = {}
    if debug and known:
        offered["http.response.debug"] = {}
    return offered


def takes_pathsend(app: Any) -> bool:
    """Whether nothing on the way could mistake a file for something else: we know all that stands there."""
    if hasattr(app, "user_middleware"):
        return all(_name(one.cls) in _SEES_NO_BODY for one in app.user_middleware) and _routes_take(app)
    if hasattr(app, "middleware_stack"):  # A Router's; apps of other frameworks do not import Starlette.
        return app.middleware_stack == app.app and _routes_take(app)
    if (inner := getattr(app, "app", None)) is not None:
        return _name(type(app)) in _SEES_NO_BODY and takes_pathsend(inner)
    return False  # A function, somebody's class: an app, or what is wrapped around one.


def _routes_take(app: Any) -> bool:
    routes = getattr(app, "routes", ())
    return not isinstance(routes, list | tuple) or all(map(_route_takes, routes))


def _route_takes(route: Any) -> bool:
    if (included := getattr(route, "original_router", None)) is not None:
        return _routes_take(included)
    app = getattr(route, "app", None)
    if app is None:
        return True
    if hasattr(app, "user_middleware") or hasattr(app, "app"):
        return takes_pathsend(app)
    # The function around an endpoint, StaticFiles; or somebody's own app, of which nobody knows what it does.
    return (getattr(app, "__module__", None) or type(app).__module__).split(".")[0] in _OURS


def _name(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"
