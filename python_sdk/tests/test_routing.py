"""The compiled route table: what FastAPI's effective routes become, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI, File, Form, Header, Query, Request, Security, UploadFile
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Route

from catzilla import Catzilla, ConfigurationError, cache
from catzilla._routing import RouteEntry, Table, compile_table, guard_of

BARE: dict[str, Any] = {"openapi_url": None}


async def handler() -> None: ...


class Filters(BaseModel):
    limit: int = 10
    colours: list[str] = []


def one(app: Any) -> RouteEntry:
    [entry] = compile_table(app).routes
    return entry


def test_the_effective_route_has_every_includes_prefix_and_dependencies() -> None:
    def outermost(x_outer: Annotated[str, Header()]) -> None: ...
    def between(tenant: Annotated[str, Cookie()]) -> None: ...
    def own(page: int = 1) -> None: ...

    leaf, middle = APIRouter(prefix="/leaf"), APIRouter(prefix="/middle", dependencies=[Depends(between)])
    leaf.add_api_route("/{item_id:int}", handler, dependencies=[Depends(own)])
    middle.include_router(leaf)
    app = FastAPI(dependencies=[Depends(outermost)], **BARE)
    app.include_router(middle, prefix="/v1")
    entry = one(app)
    assert (entry.kind, entry.template, entry.methods) == ("api", "/v1/middle/leaf/{item_id:int}", ["GET"])
    assert entry.convertors == {"item_id": "int"}
    assert entry.regex == r"^/v1/middle/leaf/(?P<item_id>[0-9]+)$"
    found = {(i["place"], i["name"]) for i in entry.inputs}
    assert found == {("header", "x-outer"), ("cookie", "tenant"), ("query", "page")}
    assert [i["slot"] for i in entry.inputs] == [0, 1, 2]


def test_inputs_have_their_wire_names_and_lists_are_multi() -> None:
    app = FastAPI(**BARE)

    @app.get("/{path_id}")
    def read(
        path_id: int,
        plain: int,
        many: Annotated[list[int], Query(alias="n")],
        user_agent: Annotated[str, Header()],
        raw_name: Annotated[str, Header(convert_underscores=False)],
        named: Annotated[str, Header(alias="X-Named")],
        session: Annotated[str, Cookie(alias="sid")],
    ) -> None: ...

    assert [(i["place"], i["name"], i["multi"]) for i in one(app).inputs] == [
        ("path", "path_id", False),
        ("query", "plain", False),
        ("query", "n", True),
        ("header", "user-agent", False),
        ("header", "raw_name", False),
        ("header", "x-named", False),
        ("cookie", "sid", False),
    ]
    model = FastAPI(**BARE)

    @model.get("/")
    def listing(filters: Annotated[Filters, Query()]) -> None: ...

    assert [(i["name"], i["multi"]) for i in one(model).inputs] == [("limit", False), ("colours", True)]


class Item(BaseModel):
    name: str


def _json(item: Item) -> None: ...
def _form(name: Annotated[str, Form()]) -> None: ...
def _file(file: Annotated[UploadFile, File()]) -> None: ...
def _request(request: Request) -> None: ...
def _json_and_request(item: Item, request: Request) -> None: ...
async def _sse() -> Any:
    yield {}


@pytest.mark.parametrize(
    ("endpoint", "more", "body", "response"),
    [
        (handler, {}, ("none", ""), "complete"),
        (_json, {}, ("buffered", "application/json"), "complete"),
        (_form, {}, ("streamed", ""), "complete"),
        (_file, {}, ("streamed", ""), "complete"),
        (_request, {}, ("streamed", ""), "complete"),
        (_json_and_request, {}, ("streamed", ""), "complete"),
        (handler, {"response_class": StreamingResponse}, ("none", ""), "stream"),
        (_sse, {"response_class": EventSourceResponse}, ("none", ""), "event_stream"),
        (_sse, {}, ("none", ""), "stream"),
    ],
)
def test_bodies_and_answers(endpoint: Any, more: Any, body: Any, response: str) -> None:
    app = FastAPI(**BARE)
    app.add_api_route("/", endpoint, methods=["POST"], **more)
    entry = one(app)
    assert (entry.body, entry.body_type) == body
    assert entry.response == response


def test_max_body_size_is_resolved() -> None:
    app = FastAPI(**BARE)
    router = APIRouter(max_body_size=1000)
    router.add_api_route("/a", _json, methods=["POST"])
    router.add_api_route("/b", _json, methods=["POST"], max_body_size=10)
    app.include_router(router)
    assert [entry.max_body_size for entry in compile_table(app).routes] == [1000, 10]


def test_kinds_in_declaration_order() -> None:
    app = FastAPI()
    app.add_route("/plain", lambda request: PlainTextResponse("x"), methods=["POST"])
    app.mount("/sub", FastAPI())
    app.add_api_websocket_route("/ws", lambda websocket: None)
    app.router.routes.append(Host("api.example.com", Starlette()))
    app.router.routes.append(Host("{tenant}.example.com", Starlette()))
    app.add_api_route("/last", handler)
    table = compile_table(app)
    shapes = [(e.kind, e.template, e.methods, e.host) for e in table.routes]
    assert shapes[:4] == [
        ("starlette", path, ["GET", "HEAD"], "")
        for path in ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")
    ]
    assert shapes[4:] == [
        ("starlette", "/plain", ["POST"], ""),
        ("mount", "/sub/{path:path}", [], ""),
        ("websocket", "/ws", [], ""),
        ("mount", "/{path:path}", [], "api.example.com"),
        ("catch_all", "/{path:path}", [], ""),
        ("api", "/last", ["GET"], ""),
    ]
    assert [e.id for e in table.routes] == list(range(1, len(table.routes) + 1))
    assert [e.declaration_index for e in table.routes] == list(range(len(table.routes)))


def test_frontends_come_last_and_most_specific_first(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    app = FastAPI(**BARE)
    app.frontend("/", directory=tmp_path)
    app.frontend("/admin", directory=tmp_path)
    app.add_api_route("/api", handler)
    routes = compile_table(app).routes
    assert [(e.kind, e.template, e.low_priority) for e in routes] == [
        ("api", "/api", False),
        ("frontend", "/admin/{path:path}", True),
        ("frontend", "/{path:path}", True),
    ]


class HexConvertor(Convertor[int]):
    regex = "[0-9a-f]+"

    def convert(self, value: str) -> int:
        return int(value, 16)

    def to_string(self, value: int) -> str:
        return f"{value:x}"


register_url_convertor("hex", HexConvertor())


def test_what_the_sidecar_cannot_match_is_left_to_the_app() -> None:
    app = Catzilla(**BARE)
    app.add_api_route("/x/{n:hex}", handler)
    app.add_api_route("/x/{name}", cache(ttl=5)(_copy(handler)))
    app.add_api_route("/y/{name}", cache(ttl=5)(_copy(handler)))
    custom, shadowed, free = compile_table(app).routes
    assert (custom.kind, custom.convertors) == ("catch_all", {"n": "HexConvertor"})
    # The sidecar would match it for paths that belong to the one before: it must not cache them.
    assert shadowed.cache_ttl is None
    assert any("stands before it" in reason for reason in shadowed.lane_reasons)
    assert free.cache_ttl == "5s"


def test_a_foreign_asgi_app_is_one_catch_all() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    for foreign in (app, Starlette(routes=[Route("/", lambda request: None)])):
        table = compile_table(foreign)
        assert [(e.kind, e.template) for e in table.routes] == [("catch_all", "/{path:path}")]
        assert table.unmatched == "app"


def test_the_hash_is_of_the_table_alone() -> None:
    def make(path: str) -> bytes:
        app = FastAPI()
        app.add_api_route(path, handler)
        return compile_table(app).hash

    assert make("/a") == make("/a") != make("/b")
    code = "import sys; sys.path[:0] = ['tests']; import conformance_app as c\n"
    code += "from catzilla._routing import compile_table as t\n"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code + "print(t(c.app).hash.hex())"],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parent.parent,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(hashes) == 1


class _Layer:
    app = None


class _OwnStack(FastAPI):
    def build_middleware_stack(self) -> Any:
        return super().build_middleware_stack()


def test_a4_a_subclass_with_a_stack_of_its_own_sees_every_request() -> None:
    table = compile_table(_OwnStack())
    assert table.unmatched == "app"
    assert "build_middleware_stack" in table.unmatched_reason


def test_a4_a_patched_class_sees_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.applications import Starlette

    original = Starlette.__call__

    async def patched(self: Any, scope: Any, receive: Any, send: Any) -> None:  # As Sentry does it.
        await original(self, scope, receive, send)

    monkeypatch.setattr(Starlette, "__call__", patched)
    table = compile_table(FastAPI())
    assert table.unmatched == "app"
    assert "is patched by" in table.unmatched_reason


def test_a5_the_guard_changes_with_the_routes() -> None:
    app = FastAPI()
    app.add_api_route("/a", handler)
    first = guard_of(app)
    assert guard_of(app) == first
    app.add_api_route("/b", handler)
    second = guard_of(app)
    assert second != first
    app.routes.pop()
    assert guard_of(app) == first
    app.mount("/sub", FastAPI())
    assert guard_of(app) not in (first, second)


def _unmatched(change: Any) -> str:
    app = FastAPI()
    change(app)
    return compile_table(app).unmatched


UNMATCHED: list[tuple[str, Any, str]] = [
    ("a plain app", lambda app: None, "sidecar"),
    ("user middleware", lambda app: app.add_middleware(GZipMiddleware), "app"),
    ("a mount", lambda app: app.mount("/sub", FastAPI()), "app"),
    ("a 404 handler", lambda app: app.add_exception_handler(404, handler), "app"),
    ("a 405 handler", lambda app: app.add_exception_handler(405, handler), "app"),
    ("an HTTPException handler", lambda app: app.add_exception_handler(HTTPException, handler), "app"),
    ("a handler for another status", lambda app: app.add_exception_handler(500, handler), "sidecar"),
    ("a handler for an exception of its own", lambda app: app.add_exception_handler(KeyError, handler), "sidecar"),
    ("a root_path", lambda app: setattr(app, "root_path", "/x"), "app"),
    ("an instrumented stack (A4)", lambda app: setattr(app, "build_middleware_stack", lambda: handler), "app"),
    ("a stack with a foreign layer (A4)", lambda app: setattr(app, "middleware_stack", _Layer()), "app"),
    (
        "a stack of FastAPI's own (A4)",
        lambda app: setattr(app, "middleware_stack", app.build_middleware_stack()),
        "sidecar",
    ),
    ("telemetry that is on (A4)", lambda app: setattr(app._native_telemetry, "enabled", lambda: True), "app"),
    ("a default of its own", lambda app: setattr(app.router, "default", handler), "app"),
]


@pytest.mark.parametrize(("what", "change", "expected"), UNMATCHED, ids=[row[0] for row in UNMATCHED])
def test_who_says_404(what: str, change: Any, expected: str) -> None:
    assert _unmatched(change) == expected


# @cache...


def _copy(function: Any) -> Any:
    async def copy() -> None: ...

    copy.__name__ = function.__name__
    return copy


def test_a_policy_goes_with_its_route() -> None:
    app = Catzilla(**BARE)

    @app.get("/report")
    @cache(ttl="2m", tags=["report", "sales"], vary=["Accept-Language"])
    def report(accept_language: Annotated[str, Header()] = "en", days: int = 1) -> None: ...

    table = compile_table(app)
    [entry] = table.routes
    assert (entry.cache_ttl, entry.cache_tags, entry.vary) == ("120s", ["report", "sales"], ["accept-language"])
    assert table.vary == {1: b"accept-language"}


@pytest.mark.parametrize(
    ("arguments", "text"), [({"ttl": 30}, "30s"), ({"ttl": 0.25}, "250ms"), ({"ttl": "1h"}, "3600s")]
)
def test_ttls_are_durations(arguments: Any, text: str) -> None:
    app = Catzilla(**BARE)
    app.add_api_route("/", cache(**arguments)(_copy(handler)))
    assert one(app).cache_ttl == text


@pytest.mark.parametrize("ttl", [0, -1, "30", "x", None, True, 10**12])
def test_what_is_no_duration_is_refused(ttl: Any) -> None:
    with pytest.raises(ConfigurationError, match="duration"):
        cache(ttl=ttl)


@pytest.mark.parametrize("more", [{"tags": ["a,b"]}, {"tags": [""]}, {"tags": ["é"]}, {"vary": ["no field"]}])
def test_bad_tags_and_fields_are_refused(more: Any) -> None:
    with pytest.raises(ConfigurationError):
        cache(ttl=1, **more)


def _reads_cookie(sid: Annotated[str, Cookie()]) -> None: ...
def _reads_header(x_tenant: Annotated[str, Header()]) -> None: ...
def _oauth(token: Annotated[str, Depends(OAuth2PasswordBearer("token"))]) -> None: ...
def _key(key: Annotated[str, Security(APIKeyHeader(name="X-Key"))]) -> None: ...
def _deep(_: Annotated[None, Depends(_key)]) -> None: ...
async def _stream() -> Any:
    yield "x"


@pytest.mark.parametrize(
    ("endpoint", "more", "match"),
    [
        (_reads_cookie, {}, "the cookie 'sid'"),
        (_reads_header, {}, "the header 'x-tenant'"),
        (_oauth, {}, "security scheme"),
        (_key, {}, "security scheme"),
        (_deep, {}, "security scheme"),
        (_stream, {}, "stream"),
        (handler, {"methods": ["POST"]}, "only GET"),
        (handler, {"methods": ["GET", "POST"]}, "only GET"),
        (handler, {"dependencies": [Depends(_key)]}, "security scheme"),
    ],
)
def test_a_cache_that_would_leak_is_refused(endpoint: Any, more: Any, match: str) -> None:
    def cached(*args: Any) -> None: ...

    app = Catzilla(**BARE)
    endpoint.__catzilla_cache__ = cache(ttl=1)(cached).__catzilla_cache__
    try:
        app.add_api_route("/", endpoint, **more)
        with pytest.raises(ConfigurationError, match=match):
            compile_table(app)
    finally:
        del endpoint.__catzilla_cache__


# mount_static...


def _mounts(table: Table) -> list[tuple[str, bool]]:
    return [(mount.prefix, mount.moved) for mount in table.mounts]


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


def _static(directory: Path, *before: Any, after: Any = None, path: str = "/assets") -> Table:
    app = Catzilla(**BARE)
    for change in before:
        change(app)
    app.mount_static(path, directory)
    if after is not None:
        after(app)
    return compile_table(app)


MOVES: list[tuple[str, str, list[Any], Any, str]] = [
    ("alone", "/assets", [], None, ""),
    ("at the root, behind specific routes", "/", [lambda app: app.add_api_route("/api/{x}", handler)], None, ""),
    ("behind a neighbour", "/assets", [lambda app: app.add_api_route("/assetsfoo/{x}", handler)], None, ""),
    ("behind the front page", "/assets", [lambda app: app.add_api_route("/", handler)], None, ""),
    ("behind a vaguer route", "/assets", [lambda app: app.add_api_route("/{a}/{b}", handler)], None, "may answer"),
    ("behind a mount at the root", "/assets", [lambda app: app.mount("/", FastAPI())], None, "may answer"),
    ("behind a route inside", "/assets", [lambda app: app.add_api_route("/assets/live", handler)], None, ""),
    ("with middleware", "/assets", [lambda app: app.add_middleware(GZipMiddleware)], None, "GZipMiddleware"),
    ("before a route inside", "/assets", [], lambda app: app.add_api_route("/assets/x", handler), "declared behind"),
    ("at the root, before a route", "/", [], lambda app: app.add_api_route("/x", handler), "declared behind"),
    ("before a route elsewhere", "/assets", [], lambda app: app.add_api_route("/x", handler), ""),
]


@pytest.mark.parametrize(("what", "path", "before", "after", "reason"), MOVES, ids=[row[0] for row in MOVES])
def test_a_mount_moves_only_if_nothing_stands_before_it(
    what: str, path: str, before: Any, after: Any, reason: str, assets: Path
) -> None:
    table = _static(assets, *before, after=after, path=path)
    [mount] = table.mounts
    assert mount.moved is not bool(reason)
    assert reason in mount.reason
    registered = any(e.kind == "mount" and e.endpoint == "StaticMount" for e in table.routes)
    assert registered is not mount.moved
    if mount.moved and not any(e.kind in ("mount", "catch_all") for e in table.routes):
        assert table.unmatched == "sidecar"


def test_two_mounts_move_both(assets: Path) -> None:
    app = Catzilla(**BARE)
    app.mount_static("/assets", assets)
    app.mount_static("/", assets)
    assert _mounts(compile_table(app)) == [("/assets", True), ("", True)]
    assert [m.resource["name"] for m in compile_table(app).mounts] == ["assets", "root"]


def test_only_what_differs_from_the_defaults_is_registered(assets: Path) -> None:
    app = Catzilla(**BARE)
    app.mount_static("/a", assets, cache_control="max-age=5", hidden_files=True, symlinks="never", headers={"X": "1"})
    [mount] = compile_table(app).mounts
    assert mount.resource == {
        "name": "a", "prefix": "/a", "root": str(assets), "cache_control": "max-age=5", "hidden_files": True,
        "symlinks": "never", "headers": {"X": "1"},
    }  # fmt: skip
