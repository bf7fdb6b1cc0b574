"""Apps drawn at random, with requests for them: what a parameter can be, in all places, names, defaults and orders."""

import enum
import inspect
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Annotated, Any, Literal
from urllib.parse import quote_plus
from uuid import UUID

from fastapi import BackgroundTasks, Body, Cookie, Depends, FastAPI, File, Form, Header, Path, Query, Request, Response
from fastapi import UploadFile as Upload
from lanes_forms import MULTIPART, URLENCODED, multipart, part, told
from pydantic import AfterValidator, AliasChoices, BaseModel, Field, Json, StringConstraints

Asked = tuple[str, str, bytes, list[tuple[bytes, bytes]]]


class Size(str, enum.Enum):  # noqa: UP042 (as apps have it)
    S = "s"
    L = "l"


class Inner(BaseModel):
    n: int = 1
    tags: list[str] = []


class Item(BaseModel):
    name: str
    inner: Inner | None = None
    price: float = Field(default=1.5, ge=0)


class Flat(BaseModel):
    model_config = {"extra": "allow"}
    x: int
    many: list[str] = []
    other: str | None = Field(default=None, validation_alias=AliasChoices("other", "another"))


def upper(value: str) -> str:
    if value == "bad":
        raise ValueError("bad it is")
    return value.upper()


# Each with a value that it takes.
SCALARS: list[tuple[Any, str]] = [
    (str, "a"), (int, "3"), (float, "1.5"), (bool, "true"), (Size, "s"), (uuid.UUID, str(uuid.UUID(int=1))),
    (date, "2026-01-02"), (Literal["a", "1"], "1"), (int | str, "7"), (str | None, "x y"), (int | None, "4"),
    (Any, "b"),
    (Annotated[str, StringConstraints(min_length=2, strip_whitespace=True)], " ab "),
    (Annotated[int, Field(gt=1)], "2"),
    (Annotated[str, AfterValidator(upper)], "up"), (Json[list[int]], "[1]"), (bytes, "bytes"),
]  # fmt: skip
LISTS: list[tuple[Any, str]] = [
    (list[str], "é"), (list[int], "5"), (set[int], "6"), (tuple[str, ...], "t"), (list[Size] | None, "l"),
    (list[bytes], "b"),
]  # fmt: skip
BODIES: list[tuple[Any, Any]] = [
    (Item, {"name": "x", "inner": {"n": "2"}}), (list[Item], [{"name": "y"}]), (dict[str, int], {"a": "1"}),
    (Item | None, None), (Item | list[int], [1, 2]), (Any, {"any": [None]}), (int, 3), (str, "s"), (list[Size], ["s"]),
    (Inner, {"n": 3}), (float, 1), (datetime, "2026-01-02T03:04:05Z"), (Decimal, "1.50"), (UUID | str, "u"),
]  # fmt: skip
FILES: list[tuple[Any, str]] = [
    (kind, "content") for kind in (
        Upload, Upload | None, list[Upload], bytes, list[bytes], bytes | None, list[Upload] | None,
    )
]  # fmt: skip
DEFAULTS: list[Any] = [None, "d", "", 3, 2.5, [], ["x"], {"a": 1}, True]
NAMES = ["a", "b", "c_d", "e-f", "G", "h", "i", "x", "é"]
WORDS = [
    "",
    "a",
    "1",
    "2",
    "s",
    "bad",
    "true",
    "x y",
    "é",
    "[1]",
    "1.5",
    "2026-01-02",
    str(uuid.UUID(int=1)),
    "a,b",
    '"q"',
]


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.app = FastAPI()
        self.good: dict[tuple[str, str], Any] = {}  # By place and name.
        self.names: dict[str, set[str]] = {}  # Place -> what its parameters are called on the wire.
        self.requests: list[Asked] = []
        self.log: list[Any] = []
        for number in range(5):
            self._route(number)

        @self.app.get("/log")
        async def read_log() -> Any:
            return [told(self.log), self.log.clear()]

    def _one(self, choices: Any) -> Any:
        return self.random.choice(choices)

    def _maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    # Routes...

    def _route(self, number: int) -> None:
        self.names, self.good = {}, {}
        kind = self._one(["none", "none", "json", "json", "form", "files"])
        method = "GET" if kind == "none" else self._one(["POST", "PUT"])
        path = f"/r{number}" + "".join(f"/{{p{i}{self._one(['', ':path'])}}}" for i in range(self.random.randrange(3)))
        names = [piece.strip("{}").partition(":")[0] for piece in path.split("/{")[1:]]
        if self._maybe(0.2):
            path = path.replace(":path", "")
        settings: dict[str, Any] = {}
        if self._maybe(0.2):
            settings["status_code"] = self._one([201, 202, 204, 304])
        if kind == "form" and self._maybe(0.2):
            settings["form_limits"] = {"max_fields": self._one([1, 2]), "max_part_size": self._one([2, 100])}
        before = len(self.app.router.routes)
        for _ in range(20):  # FastAPI refuses some of what is drawn.
            self.names, self.good = {}, {}
            try:
                self.app.api_route(path, methods=[method], response_model=None, **settings)(
                    self._call(f"r{number}", kind, names, 0)
                )
                break
            except Exception:
                del self.app.router.routes[before:]
        else:
            return
        for _ in range(14):
            self.requests.append(self._request(method, path, kind))

    def _call(self, name: str, kind: str, path: list[str], depth: int) -> Callable[..., Any]:
        parameters: list[inspect.Parameter] = []

        def add(called: str, annotation: Any, default: Any = inspect.Parameter.empty) -> None:
            if called.isidentifier() and called not in [one.name for one in parameters]:
                kinds = inspect.Parameter.KEYWORD_ONLY
                parameters.append(inspect.Parameter(called, kinds, annotation=annotation, default=default))

        for called in path:
            self.names.setdefault("path", set()).add(called)
            add(called, Annotated[self._good("path", [called], self._one(SCALARS[:8])), Path()])
        for _ in range(self.random.randrange(3)):
            if depth < 2:
                annotation = Annotated[
                    Any,
                    Depends(
                        self._call(f"{name}d", kind, [], depth + 1),
                        use_cache=self._maybe(0.8),
                        scope=self._one(["function", "request", None]),
                    ),
                ]
                add(self._one(["dep", "dep2"]), annotation)
        for _ in range(self.random.randrange(4)):
            place = self._one(["query", "query", "header", "cookie"])
            taker = {"query": Query, "header": Header, "cookie": Cookie}[place]
            if self._maybe(0.12):
                add(f"model{len(parameters)}", Annotated[Flat, taker()])
                self.names.setdefault(place, set()).update(("x", "many", "other", "another"))
            else:
                self._value(add, place, taker, SCALARS if place == "cookie" else SCALARS + LISTS)
        for _ in range(self.random.randrange(1 if depth else 0, 4 - depth)):
            if kind == "json":
                self._value(add, "body", Body, BODIES)
            elif kind != "none" and self._maybe(0.15):
                add(f"form{len(parameters)}", Annotated[self._one([Flat, Item]), Form()])
                self.names.setdefault("form", set()).update(("x", "many", "other", "name"))
            elif kind == "files" and self._maybe(0.6):
                self._value(add, "file", File, FILES)
            elif kind != "none":
                self._value(add, "form", Form, SCALARS + LISTS)
        for called, annotation in (("request", Request), ("response", Response), ("tasks", BackgroundTasks)):
            if self._maybe(0.12):
                add(called, annotation)
        return self._function(name, parameters, depth)

    def _value(self, add: Any, place: str, taker: Any, annotations: list[Any]) -> None:
        name = self._one(NAMES)
        wire = [name]
        settings: dict[str, Any] = {}
        if self._maybe(0.3):
            settings["alias"] = wire[0] = self._one(NAMES)
        elif self._maybe(0.2):
            wire = self.random.sample(NAMES, 2)
            settings["validation_alias"] = AliasChoices(*wire)
        if place == "header" and not settings and self._maybe(0.3):
            settings["convert_underscores"] = False
        if place == "body" and self._maybe(0.3):
            settings["embed"] = True
        self.names.setdefault("form" if place == "file" else place, set()).update(
            [*wire, wire[0].replace("_", "-")] if place == "header" else wire
        )
        default = inspect.Parameter.empty
        if self._maybe(0.1):
            settings["default_factory"] = list
        elif self._maybe(0.5):
            default = self._one(DEFAULTS)
        annotation = self._good("form" if place == "file" else place, wire, self._one(annotations))
        add(name, Annotated[annotation, taker(**settings)], default)

    def _good(self, place: str, names: list[str], drawn: tuple[Any, Any]) -> Any:
        annotation, value = drawn
        self.good.update(((place, name), value) for name in names)
        return annotation

    def _function(self, name: str, parameters: list[inspect.Parameter], depth: int) -> Callable[..., Any]:
        log, raises, status = self.log, self._maybe(0.05), self._one([None, None, 202, 404])
        plain = self._one(["value", "value", "text", "response"])

        def told_of(values: dict[str, Any]) -> Any:
            log.append([name, sorted(values)])
            shown = {
                key: one for key, one in values.items() if not isinstance(one, Request | Response | BackgroundTasks)
            }
            if isinstance(found := values.get("response"), Response):
                found.headers["x-own"] = name
                found.status_code = status
            if isinstance(tasks := values.get("tasks"), BackgroundTasks):
                tasks.add_task(log.append, f"task of {name}")
            if raises:
                raise KeyError(name)
            if depth == 0 and plain == "response":
                return Response(repr(told(shown)).encode(), media_type="text/plain")
            return repr(told(shown)) if plain == "text" else told(shown)

        def sync(**values: Any) -> Any:
            return told_of(values)

        async def loop(**values: Any) -> Any:
            return told_of(values)

        def generator(**values: Any) -> Iterator[Any]:
            yield told_of(values)
            log.append(f"{name} left")

        async def async_generator(**values: Any) -> Any:
            yield told_of(values)
            log.append(f"{name} left")

        function: Any = self._one([sync, loop, generator, async_generator] if depth else [sync, loop])
        function.__signature__ = inspect.Signature(parameters)
        return function  # type: ignore[no-any-return]

    # Requests...

    def _word(self, place: str, name: str) -> str:
        good = self.good.get((place, name))
        if isinstance(good, str) and self._maybe(0.93):
            return good
        return "1" if name == "x" and self._maybe(0.8) else str(self._one(WORDS))

    def _request(self, method: str, path: str, kind: str) -> Asked:
        for name in self.names.get("path", ()):
            for text in (f"{{{name}}}", f"{{{name}:path}}"):
                path = path.replace(text, quote_plus(self._word("path", name) or "1").replace("+", "%20"))
        query = "&".join(f"{quote_plus(name)}={quote_plus(self._word('query', name))}" for name in self._some("query"))
        fields = [
            (name.lower().encode("latin-1"), self._word("header", name).encode("latin-1"))
            for name in self._some("header")
        ]
        cookies = "; ".join(f"{name}={self._word('cookie', name)}" for name in self._some("cookie"))
        if cookies:
            fields.append((b"cookie", cookies.encode("latin-1")))
        fields = [(name, value.strip()) for name, value in fields if name.isascii() and b" " not in name]
        body, kinds = self._body(kind)
        return method, f"{path}?{query}" if query else path, body, [*fields, *kinds]

    def _some(self, place: str) -> list[str]:
        names = sorted(self.names.get(place, ()))
        taken = [name for name in names if self._maybe(0.92)]
        taken += [self._one(names) for _ in range(self.random.randrange(3)) if names and self._maybe(0.1)]
        return taken + (["unknown"] if self._maybe(0.1) else [])

    def _body(self, kind: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if kind == "json":
            body = json.dumps(self._json()).encode()
            if self._maybe(0.08):
                body = body[:-1]
            return body, [] if self._maybe(0.05) else [(b"content-type", b"application/json")]
        if kind == "none":
            return b"", []
        if kind == "form" and self._maybe(0.7):
            pairs = "&".join(
                f"{quote_plus(name)}={quote_plus(self._word('form', name))}" for name in self._some("form")
            )
            return pairs.encode(), URLENCODED
        parts = []
        for name in self._some("form"):
            filename = None
            if kind == "files" and self.good.get(("form", name)) == "content":
                filename = self._one(["f.txt", "f.txt", "é", "f.bin", "", None])
            parts.append(part(name.replace("é", "e"), self._word("form", name).encode(), filename))
        body = multipart(*parts)
        return body[:-9] if self._maybe(0.05) else body, MULTIPART

    def _json(self) -> Any:
        values = [
            1, "a", "x", None, True, 2.5, [], [1, 2], ["s"], {}, {"a": 1}, {"n": 3}, {"name": "x"},
            [{"name": "y", "price": 2}],
            {"name": "x", "inner": {"n": "2", "tags": ["t"]}, "price": -1}, {"name": "n", "price": "3"},
        ]  # fmt: skip
        good = {name: value for (place, name), value in self.good.items() if place == "body"}
        if self._maybe(0.1):
            return self._one(values)
        if len(good) == 1 and self._maybe(0.5):  # It may be the whole body.
            return next(iter(good.values()))
        return {
            name: good[name] if name in good and self._maybe(0.93) else self._one(values) for name in self._some("body")
        }
