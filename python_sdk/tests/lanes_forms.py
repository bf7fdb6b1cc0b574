"""Every kind of form, for the differential of the lanes. make() builds a fresh app with a log of its own."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Depends, FastAPI, File, Form, Query, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import AfterValidator, AliasChoices, BaseModel, Field, Json
from starlette.datastructures import UploadFile as StarletteUpload

Sent = list[tuple[bytes, bytes]]
URLENCODED: Sent = [(b"content-type", b"application/x-www-form-urlencoded")]
MULTIPART: Sent = [(b"content-type", b"multipart/form-data; boundary=B")]


class Profile(BaseModel):
    name: str
    age: int = Field(default=3, ge=1)
    tags: list[str] = []


class Strict(BaseModel):
    model_config = {"extra": "forbid"}
    user: str = Field(alias="user-name")
    code: int | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


class WithFiles(BaseModel):
    title: str
    raw: Annotated[bytes, File()]
    more: list[UploadFile] = []


class Teapot(Exception):
    pass


def part(name: str, value: bytes, filename: str | None = None, more: str = "") -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{more}\r\n'
    return head.encode() + value + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def told(value: Any) -> Any:
    """Of values of forms, files with what is in them."""
    if isinstance(value, StarletteUpload):
        value.file.seek(0)
        return [value.filename, value.size, value.content_type, value.file.read().decode("latin-1"), str(value.headers)]
    if isinstance(value, list | tuple):
        return [told(one) for one in value]
    if isinstance(value, dict):
        return {name: told(one) for name, one in value.items()}
    if isinstance(value, BaseModel):
        return {"model": type(value).__name__, **told(dict(value))}
    return value.decode("latin-1") if isinstance(value, bytes) else value


def make(**settings: Any) -> FastAPI:
    app = FastAPI(**settings)
    log: list[Any] = []
    app.state.kept = kept = {}

    @app.exception_handler(Teapot)
    async def teapot(request: Request, error: Teapot) -> JSONResponse:
        form = await request.form()
        closed = [value.file.closed for _, value in form.multi_items() if isinstance(value, StarletteUpload)]
        return JSONResponse({"form": told(form.multi_items()), "closed": closed}, 418)

    @app.get("/log")
    async def read_log() -> Any:
        return [log, {name: file.file.closed for name, file in kept.items()}]

    for kind in ("async", "def"):
        _fields(app, kind)
        _files(app, kind, log)
    _models(app)
    _around(app, log)
    _validated(app, log)
    _limits(app)
    return app


def endpoint(kind: str, function: Any) -> Any:
    """The same as an `async def`, or as it is: a `def`."""
    if kind == "def":
        return function
    import inspect

    async def call(**values: Any) -> Any:
        return function(**values)

    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return call


def _fields(app: FastAPI, kind: str) -> None:
    def plain(
        name: Annotated[str, Form(min_length=2)],
        count: Annotated[int, Form()] = 1,
        on: Annotated[bool | None, Form()] = None,
        tags: Annotated[list[str], Form(alias="tag")] = ["none"],  # noqa: B006
        ids: Annotated[set[int] | None, Form()] = None,
        data: Annotated[Json[list[int]], Form()] = [0],  # noqa: B006
        q: str = "",
    ) -> Any:
        return [name, count, on, tags, sorted(ids or []), data, q]

    def one(text: Annotated[str, Form()]) -> Any:
        return text

    def optional(text: Annotated[str | None, Form()] = None, n: Annotated[int, Form()] = 4) -> Any:
        return [text, n]

    def aliased(
        a: Annotated[str, Form(validation_alias=AliasChoices("first", "second", "third"))],
        b: Annotated[list[int], Form(validation_alias=AliasChoices("n", "number"))] = [7],  # noqa: B006
        c: Annotated[int, Form(validation_alias="sea")] = 3,
    ) -> Any:
        return [a, b, c]

    def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
        return [form.username, form.password, form.scopes, form.grant_type, form.client_id]

    def with_body(text: Annotated[str, Form()], other: Annotated[int, Body()]) -> Any:
        return [text, other]

    for function in (plain, one, optional, aliased, login, with_body):
        app.post(f"/{kind}/{function.__name__}")(endpoint(kind, function))


def _files(app: FastAPI, kind: str, log: list[Any]) -> None:
    kept = app.state.kept

    def upload(file: UploadFile) -> Any:
        kept[f"{kind} upload"] = file
        return told(file)

    def maybe(file: UploadFile | None = None, note: Annotated[str, Form()] = "none") -> Any:
        return [told(file), note]

    def several(files: list[UploadFile], name: Annotated[str, Form()] = "x") -> Any:
        kept.update({f"{kind} several {i}": file for i, file in enumerate(files)})
        return [told(files), name]

    def raw(file: Annotated[bytes, File()], same: Annotated[UploadFile, File(alias="file")]) -> Any:
        return [file.decode("latin-1"), same.file.read().decode("latin-1")]

    def raws(files: Annotated[list[bytes], File()], n: Annotated[int, Form()] = 1) -> Any:
        return [[one.decode("latin-1") for one in files], n]

    def chosen(file: Annotated[UploadFile, File(validation_alias=AliasChoices("file", "upload"))]) -> Any:
        return told(file)

    for function in (upload, maybe, several, raw, raws, chosen):
        app.post(f"/{kind}/{function.__name__}")(endpoint(kind, function))


def _models(app: FastAPI) -> None:
    @app.post("/model")
    async def model(profile: Annotated[Profile, Form()]) -> Any:
        return told(profile)

    @app.post("/model/def")
    def model_def(profile: Annotated[Profile, Form()], q: int = 1) -> Any:
        return [told(profile), q]

    @app.post("/model/strict")
    def strict(form: Annotated[Strict, Form()]) -> Any:
        return told(form)

    @app.post("/model/maybe")
    async def maybe(form: Annotated[Profile | None, Form()] = None) -> Any:
        return told(form)

    @app.post("/model/union")
    def union(pet: Annotated[Cat | Dog, Form(discriminator="kind")]) -> Any:
        return told(pet)

    @app.post("/model/two")
    async def two(profile: Annotated[Profile, Form()], strict: Annotated[Cat, Form()]) -> Any:
        return [told(profile), told(strict)]

    @app.post("/model/files")
    async def files(form: Annotated[WithFiles, Form()]) -> Any:
        return told(form)

    @app.get("/choices")
    async def choices(
        a: Annotated[str, Query(validation_alias=AliasChoices("a", "b-c"))],
        n: Annotated[list[int], Query(validation_alias=AliasChoices("n", "m"))] = [],  # noqa: B006
        j: Annotated[Json[list[int]], Query()] = [0],  # noqa: B006
    ) -> Any:
        return [a, n, j]

    @app.put("/choices")
    def choices_body(
        a: Annotated[int, Body(validation_alias=AliasChoices("a", "b"))], c: Annotated[str, Body(embed=True)] = "c"
    ) -> Any:
        return [a, c]


def _around(app: FastAPI, log: list[Any]) -> None:
    def opens(file: UploadFile) -> Iterator[str]:
        yield file.filename or ""
        log.append(["torn down", file.file.closed, file.file.read().decode()])

    async def opens_async(file: UploadFile) -> AsyncIterator[str]:
        yield file.filename or ""
        log.append(["async torn down", file.file.closed])

    async def named(name: Annotated[str, Form()] = "nobody") -> str:
        return name

    @app.post("/around/def")
    def of_thread(opened: Annotated[str, Depends(opens)]) -> Any:
        return opened

    @app.post("/around/async")
    async def of_loop(opened: Annotated[str, Depends(opens_async)], name: Annotated[str, Depends(named)]) -> Any:
        return [opened, name]

    @app.post("/around/mixed")
    async def mixed(opened: Annotated[str, Depends(opens)], name: Annotated[str, Depends(named)]) -> Any:
        return [opened, name]

    @app.post("/around/request")
    async def request_too(request: Request, name: Annotated[str, Depends(named)]) -> Any:
        form = await request.form()
        try:
            body: Any = (await request.body()).decode()
        except RuntimeError as error:
            body = str(error)
        return [name, told(form.multi_items()), body]

    @app.post("/around/raises")
    def raises(request: Request, file: UploadFile | None = None, name: Annotated[str, Form()] = "n") -> Any:
        raise Teapot

    @app.post("/around/raises-async")
    async def raises_async(file: UploadFile | None = None, name: Annotated[str, Form()] = "n") -> Any:
        raise Teapot

    @app.post("/around/late")
    def late(opened: Annotated[str, Depends(opens, scope="function")], file: UploadFile) -> Any:
        app.state.kept["late"] = file
        raise RuntimeError("late")

    @app.post("/around/tasks")
    async def tasks(tasks: BackgroundTasks, file: UploadFile) -> Any:
        tasks.add_task(lambda: log.append(["task", file.file.closed]))
        return file.filename

    @app.post("/around/stream")
    def stream(file: UploadFile) -> Any:
        return StreamingResponse(iter([b"<", file.file.read(), b">"]), media_type="text/plain")

    @app.post("/around/rolls")
    def rolls(file: UploadFile, name: Annotated[str, Depends(named)]) -> Any:
        file.file.write(b"x" * 2_000_000)
        app.state.kept["rolls"] = file
        return PlainTextResponse(name, status_code=201)

    async def reads(file: UploadFile) -> str:
        return (await file.read(3)).decode()

    @app.post("/around/reads")
    async def reads_rest(start: Annotated[str, Depends(reads)], file: Annotated[bytes, File()]) -> Any:
        return [start, file.decode()]

    @app.post("/around/reads-model")
    def reads_model(form: Annotated[WithFiles, Form()], start: Annotated[str, Depends(reads)]) -> Any:
        return [start, told(form)]

    @app.post("/around/closes")
    async def closes(file: UploadFile) -> Any:
        await file.close()
        return file.file.closed


def _validated(app: FastAPI, log: list[Any]) -> None:
    def noted(value: str) -> str:
        log.append(f"validated {value}")
        if value == "bad":
            raise ValueError("bad it is")
        return value.upper()

    Noted = Annotated[str, AfterValidator(noted)]

    class Checked(BaseModel):
        name: Noted
        raw: Annotated[bytes, File()] = b""

    def first(a: Annotated[Noted, Form(validation_alias=AliasChoices("a", "b"))] = "x") -> str:
        log.append(f"first {a}")
        return a

    def rolls(file: UploadFile) -> None:
        file.file.write(b"y" * 1_100_000)
        file.file.seek(0)

    def rest(name: Annotated[Noted, Form()], a: Annotated[str, Depends(first)], n: Annotated[int, Form()] = 1) -> Any:
        return [name, a, n]

    def model(form: Annotated[Checked, Form()], a: Annotated[str, Depends(first)]) -> Any:
        return [told(form), a]

    def chosen(q: Annotated[Noted, Query(validation_alias=AliasChoices("q", "p"))] = "none", n: int = 1) -> Any:
        return [q, n]

    def rolled(
        _: Annotated[None, Depends(rolls)], file: Annotated[bytes, File()], name: Annotated[Noted, Form()] = "n"
    ) -> Any:
        return [len(file), name]

    for kind in ("async", "def"):
        for function in (rest, model, chosen, rolled):
            path = f"/validated/{kind}/{function.__name__}"
            method = app.get if function is chosen else app.post
            method(path)(endpoint(kind, function))


def _limits(app: FastAPI) -> None:
    router = APIRouter(prefix="/limited", form_limits={"max_files": 1})
    inner = APIRouter(prefix="/inner", form_limits={"max_fields": 2})

    def many(files: list[UploadFile] = [], names: Annotated[list[str], Form()] = []) -> Any:  # noqa: B006
        return [len(files), names]

    router.post("/files")(many)
    router.post("/fields", form_limits={"max_fields": 1, "max_files": 2})(many)
    inner.post("/both")(many)
    inner.post("/size", form_limits={"max_part_size": 5})(many)
    router.include_router(inner)
    app.include_router(router, form_limits={"max_files": 5, "max_part_size": 20})
