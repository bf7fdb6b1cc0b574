"""Every kind of path operation, for the differential of the lanes. make() builds a fresh app with a log of its own."""

import contextvars
import datetime
import decimal
import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
)
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.security import HTTPBasic, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from lanes_stacks import Teapot, stacks
from pydantic import AfterValidator, BaseModel, Field, model_validator
from starlette.background import BackgroundTask

trail: contextvars.ContextVar[str] = contextvars.ContextVar("trail", default="none")


class Colour(str, enum.Enum):  # noqa: UP042 (as apps have it)
    RED = "red"


class Item(BaseModel):
    name: str = Field(min_length=2)
    price: float = Field(gt=0)
    tags: list[str] = []
    when: datetime.datetime | None = None
    secret: str | None = Field(default=None, exclude=True)


class Out(BaseModel):
    name: str
    cost: decimal.Decimal = Field(serialization_alias="Cost", default=decimal.Decimal("1.50"))
    seen: uuid.UUID | None = None


@dataclass
class Point:
    x: int
    y: int = 2


class Filters(BaseModel):
    model_config = {"extra": "forbid"}
    limit: int = Field(10, le=100)
    order_by: Literal["a", "b"] = "a"
    tags: list[str] = []


class Fields(BaseModel):
    user_agent: str | None = None
    x_many: list[str] = []
    save_data: bool = False


class Session(BaseModel):
    session: str
    other: int | None = None


class Page:
    def __init__(self, limit: int = 10, offset: int = 0) -> None:
        self.limit, self.offset = limit, offset


def make() -> FastAPI:
    app = FastAPI()
    log: list[str] = []
    app.state.log = log

    @app.exception_handler(Teapot)
    async def teapot(request: Request, error: Teapot) -> JSONResponse:
        return JSONResponse({"teapot": str(error), "route": request.scope["route"].path, **request.path_params}, 418)

    _parameters(app)
    _bodies(app)
    _answers(app)
    _dependencies(app, log)
    _failures(app, log)
    _validated(app, log)
    included(app, log)
    return app


def _parameters(app: FastAPI) -> None:
    for kind in ("async", "def"):

        def declare(function: Any, kind: str = kind) -> None:
            path = f"/{kind}/items/{{item_id}}"
            app.get(path)(function if kind == "async" else _sync(function))

        async def read(
            item_id: Annotated[int, Path(ge=1)],
            q: str | None = None,
            tags: Annotated[list[str], Query(alias="tag")] = [],  # noqa: B006
            ids: Annotated[set[int] | None, Query()] = None,
            short: bool = False,
            colour: Colour = Colour.RED,
            user_agent: Annotated[str | None, Header()] = None,
            x_many: Annotated[list[str] | None, Header()] = None,
            raw_name: Annotated[str | None, Header(convert_underscores=False)] = None,
            session: Annotated[str | None, Cookie()] = None,
        ) -> Any:
            return [item_id, q, tags, sorted(ids or []), short, colour, user_agent, x_many, raw_name, session]

        declare(read)

    @app.get("/models")
    async def models(filters: Annotated[Filters, Query()], fields: Annotated[Fields, Header()]) -> Any:
        return [filters, fields]

    @app.get("/models/cookies")
    def cookie_model(found: Annotated[Session, Cookie()], q: str = "") -> Any:
        return [found, q]

    @app.get("/paths/{rest:path}")
    async def paths(rest: str) -> str:
        return rest

    @app.get("/kinds")
    async def kinds(u: uuid.UUID, d: datetime.date, n: decimal.Decimal = decimal.Decimal("1")) -> dict[str, Any]:
        return {"u": u, "d": d, "n": n}


def _sync(function: Any) -> Any:
    """The same, as a `def`."""
    import inspect

    def call(**values: Any) -> Any:
        try:
            function(**values).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waited")

    call.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    call.__name__ = function.__name__
    return call


def _bodies(app: FastAPI) -> None:
    @app.post("/body")
    async def body(item: Item) -> Item:
        return item

    @app.post("/body-def", response_model=Out, response_model_exclude_unset=True)
    def body_def(item: Item, dry: bool = False) -> Any:
        return {"name": item.name, "cost": item.price} if dry else {"name": item.name}

    @app.put("/embedded")
    async def embedded(item: Annotated[Item, Body(embed=True)]) -> Any:
        return item

    @app.put("/several")
    def several(item: Item, factor: Annotated[int, Body()], note: Annotated[str | None, Body()] = None) -> Any:
        return {"item": item, "factor": factor, "note": note}

    @app.post("/maybe")
    async def maybe(item: Item | None = None) -> Any:
        return item

    @app.post("/anything")
    async def anything(value: Annotated[Any, Body()]) -> Any:
        return {"value": value}

    @app.post("/list")
    async def listed(items: list[Item]) -> int:
        return len(items)

    @app.post("/point")
    async def point(point: Point) -> Point:
        return point


def _answers(app: FastAPI) -> None:
    @app.get("/none")
    async def none() -> None:
        return None

    @app.delete("/nothing", status_code=204)
    def nothing() -> None:
        return None

    @app.get("/untyped/{what}")
    async def untyped(what: str) -> Any:
        return {
            "sa": {"_sa_state": 1, "a": "_sa"},
            "nan": {"v": float("nan")},
            "keys": {1: "a", None: "b", 2.5: "c"},
            "enum": {"c": Colour.RED, Colour.RED: 1},
            "model": {"m": Item(name="ab", price=1)},
            "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            "bytes": b"x",
            "set": {1},
            "deep": [[{"a": [1.5, 1e-7, 1e300, "é\u2028"]}]],
            "decimal": decimal.Decimal("0.10"),
            "text": "x" * 70_000,
            "object": object(),
        }[what]

    @app.get("/response/{what}")
    async def response(what: str) -> Any:
        return {
            "plain": lambda: PlainTextResponse("hi", headers={"X-Upper": "1"}),
            "redirect": lambda: RedirectResponse("/elsewhere"),
            "html": lambda: HTMLResponse("<b>", status_code=201),
            "empty": lambda: Response(status_code=304, headers={"etag": '"a"'}),
            "cookie": lambda: _with_cookies(JSONResponse({"a": 1})),
            "stream": lambda: StreamingResponse(iter([b"a", b"b"]), media_type="text/plain"),
            "background": lambda: PlainTextResponse("later", background=BackgroundTask(app.state.log.append, "task")),
            "big": lambda: Response(b"y" * 200_000),
            "bad": lambda: PlainTextResponse("x", headers={"a": "b\r\nc: d"}),
        }[what]()

    @app.get("/stream-def")
    def stream_def() -> Any:
        return StreamingResponse(iter([b"a", b"b"]))

    @app.get("/html", response_class=HTMLResponse)
    def html() -> str:
        return "<i>"

    @app.get("/out", response_model=list[Out], response_model_exclude={"seen"})
    async def out() -> Any:
        return [Out(name="a"), {"name": "b", "cost": 3}]

    @app.get("/by-name", response_model=Out, response_model_by_alias=False)
    async def by_name() -> Any:
        return {"name": "a"}

    @app.get("/with-response", status_code=201)
    async def with_response(response: Response, code: int | None = None) -> Any:
        response.headers["x-r"] = "1"
        response.set_cookie("a", "b")
        if code:
            response.status_code = code
        return {"ok": True}

    @app.get("/with-request/{name}")
    def with_request(request: Request, name: str) -> Any:
        return [request.url.path, dict(request.query_params), request.path_params, request.method,
                str(request.url_for("with_request", name="z")), sorted(request.headers.items())]  # fmt: skip

    @app.post("/reads-itself")
    async def reads_itself(request: Request) -> Any:
        return {"size": len(await request.body())}


def _with_cookies(response: Response) -> Response:
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def _dependencies(app: FastAPI, log: list[str]) -> None:
    def connection(q: int = 3) -> Iterator[int]:
        log.append("open")
        try:
            yield q
        except Teapot as error:
            log.append(f"saw {error}")
            raise
        finally:
            log.append("closed")

    async def session(name: str = "s") -> AsyncIterator[str]:
        log.append("begin")
        try:
            yield name
        finally:
            log.append("end")

    def early() -> Iterator[str]:
        yield "early"
        log.append("early closed")

    async def sets() -> str:
        trail.set("by async")
        return "set"

    def sets_def() -> str:
        trail.set("by def")
        return "set"

    def counted() -> int:
        log.append("counted")
        return len(log)

    async def swallows() -> AsyncIterator[int]:
        try:
            yield 1
        except Exception as error:
            log.append(f"swallowed {type(error).__name__}")

    scheme = OAuth2PasswordBearer("token", scopes={"me": "x"})

    async def user(scopes: SecurityScopes, token: Annotated[str, Depends(scheme)]) -> Any:
        return [scopes.scopes, scopes.scope_str, token]

    stacks(app, log, connection, session)

    app.get("/dep/def")(lambda v=Depends(connection): v)

    @app.get("/dep/async")
    async def dep_async(name: Annotated[str, Depends(session)], page: Annotated[Page, Depends()]) -> Any:
        return [name, page.limit, page.offset]

    @app.get("/dep/mixed")
    async def mixed(
        a: Annotated[int, Depends(connection)],
        b: Annotated[str, Depends(session)],
        c: Annotated[str, Depends(sets_def)],
        d: Annotated[str, Depends(sets)],
    ) -> Any:
        return [a, b, c, d, trail.get()]

    @app.get("/dep/trail")
    def trail_def(c: Annotated[str, Depends(sets_def)]) -> Any:
        return [c, trail.get()]

    @app.get("/dep/cache")
    async def cached(
        one: Annotated[int, Depends(counted)],
        two: Annotated[int, Depends(counted)],
        three: Annotated[int, Depends(counted, use_cache=False)],
    ) -> Any:
        return [one == two, two == three]

    @app.get("/dep/early")
    async def early_async(v: Annotated[str, Depends(early, scope="function")]) -> Any:
        return [v, list(log[-2:])]

    @app.get("/dep/early-def")
    def early_def(v: Annotated[str, Depends(early, scope="function")]) -> Any:
        return v

    @app.get("/dep/raise")
    async def raising(v: Annotated[int, Depends(connection)]) -> Any:
        raise Teapot("async")

    @app.get("/dep/raise-def")
    def raising_def(v: Annotated[int, Depends(connection)]) -> Any:
        raise Teapot("def")

    @app.get("/dep/swallow")
    async def swallowing(v: Annotated[int, Depends(swallows)]) -> Any:
        raise ValueError("gone")

    @app.get("/user")
    async def of_user(found: Annotated[Any, Depends(user)]) -> Any:
        return found

    @app.get("/user-def")
    def of_user_def(token: Annotated[str, Depends(scheme)], bearer: Annotated[Any, Depends(HTTPBearer())]) -> Any:
        return [token, bearer.credentials]

    @app.get("/basic")
    def basic(found: Annotated[Any, Depends(HTTPBasic())]) -> Any:
        return found.username


def _validated(app: FastAPI, log: list[str]) -> None:
    """Validation that runs code of the app: once, where FastAPI runs it."""

    def noted(value: str) -> str:
        log.append(f"validated {value} {trail.get()}")
        if value == "bad":
            raise ValueError("bad it is")
        return value.upper()

    Noted = Annotated[str, AfterValidator(noted)]

    class Strict(BaseModel):
        name: Noted
        size: int = Field(default_factory=lambda: len(log) * 0 + 7)

        @model_validator(mode="after")
        def check(self) -> "Strict":
            if self.name == "WORSE":
                raise ValueError("worse")
            return self

    async def first(a: Noted = "x") -> str:
        trail.set("first")
        log.append(f"first {a}")
        return a

    def second(b: int = 1, up: str = Depends(first)) -> str:
        log.append(f"second {b} {up}")
        return f"{up}{b}"

    @app.get("/checked/async")
    async def checked(q: Noted = "q", a: str = Depends(first)) -> Any:
        return [q, a, trail.get()]

    @app.get("/checked/def")
    def checked_def(q: Noted, n: int = 3) -> Any:
        return [q, n]

    @app.get("/checked/tree")
    async def tree(q: Noted, n: int, b: str = Depends(second)) -> Any:
        return [q, n, b]

    @app.post("/checked/body")
    async def body(item: Strict, q: int = 1) -> Strict:
        return item

    @app.post("/checked/several")
    def several(item: Strict, other: Annotated[Noted, Body()], n: Annotated[int, Body()] = 1) -> Any:
        return [item, other, n]

    @app.get("/tasks/async")
    async def tasks_async(tasks: BackgroundTasks, run: bool = True) -> Any:
        if run:
            tasks.add_task(log.append, "task ran")
        return {"tasks": run}

    def adds(tasks: BackgroundTasks) -> None:
        tasks.add_task(log.append, "task of a dependency")

    @app.get("/tasks/def")
    def tasks_def(tasks: BackgroundTasks, _: None = Depends(adds), plain: bool = False) -> Any:
        tasks.add_task(log.append, "task of def")
        return PlainTextResponse("plain") if plain else {"a": 1}


def _failures(app: FastAPI, log: list[str]) -> None:
    def late() -> Iterator[int]:
        yield 1
        raise RuntimeError("late")

    @app.get("/fail/http")
    async def http() -> Any:
        raise HTTPException(409, {"why": "x"}, headers={"x-a": "b"})

    @app.get("/fail/http-def")
    def http_def() -> Any:
        raise HTTPException(409, "why")

    @app.get("/fail/teapot/{name}")
    def teapot(name: str) -> Any:
        raise Teapot(name)

    @app.get("/fail/boom")
    async def boom() -> Any:
        raise RuntimeError("boom")

    @app.get("/fail/answer", response_model=Out)
    async def answer() -> Any:
        return {"cost": "x"}

    @app.get("/fail/late")
    def fails_late(v: Annotated[int, Depends(late)]) -> Any:
        return v

    @app.get("/fail/exit")
    def exits() -> Any:
        raise SystemExit(3)

    @app.get("/log")
    async def read_log() -> Any:
        return list(log)


def included(app: FastAPI, log: list[str]) -> None:
    async def guard(x_key: Annotated[str, Header()]) -> None:
        if x_key != "secret":
            raise HTTPException(403)

    inner = APIRouter(prefix="/inner", dependencies=[Depends(guard)])

    @inner.get("/thing/{n}", status_code=202)
    async def thing(n: int) -> Any:
        return {"n": n}

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner)
    app.include_router(outer, prefix="/v1")
