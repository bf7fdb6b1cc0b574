"""Forms that have come whole: read by Starlette's own parsers, taken apart by FastAPI's own functions.

A form that fits an inline body (16 KiB) is read in prepare(), which runs no code of the app: all of it stays in memory,
so nothing of the parsers ever waits. Larger ones are streamed to the genuine app, whose files spool to disk.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Final
from urllib.parse import unquote_plus

import anyio.from_thread
from fastapi import FastAPI, routing
from fastapi._compat import ModelField
from fastapi.dependencies import utils
from fastapi.routing import RouteContext
from starlette import formparsers
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.requests import Request

Limits = dict[str, int]
is_empty_file: Final = utils._is_empty_file_input
_options: Final[Any] = getattr(formparsers, "parse_options_header")  # noqa: B009 (None without python-multipart)

# Of Request.form(), where nothing else is set.
_FIELDS_MAX: Final = 1000
_PART_BYTES_MAX: Final = 1024 * 1024


class Form:
    """One that was read, and the end of its files: behind everything else, as FastAPI has it.

    It stands among the context managers of its request, outermost.
    """

    __slots__ = ("consumed", "data", "files")

    def __init__(self, data: FormData, *, consumed: bool, files: bool) -> None:
        self.data = data
        self.consumed = consumed  # The body was read for it.
        self.files = files

    def give_to(self, request: Request) -> Request:
        """As if the request had parsed it."""
        request._form = self.data
        if self.consumed:
            vars(request).pop("_body", None)
            request._stream_consumed = True
        else:
            request._body = b""
        return request

    async def __aexit__(self, *what: Any) -> None:
        await self.data.close()

    def __exit__(self, *what: Any) -> None:
        for _, value in self.data.multi_items():
            if isinstance(value, UploadFile):
                value.file.close()

    def __del__(self) -> None:
        """Of a request that was declined, or dropped before it began: nobody has seen its files."""
        if self.files:
            self.__exit__()


def read_form(content_type: bytes, body: bytes, limits: Limits) -> Form | None:
    """None: not one that is read here. Raises what the parsers raise: the genuine app says it in its own words."""
    if content_type == b"application/x-www-form-urlencoded":
        kind = content_type
    else:
        kind = _options(content_type.decode("latin-1"))[0]
    if kind == b"application/x-www-form-urlencoded":
        return Form(FormData(_pairs(body, limits)), consumed=True, files=False)
    if kind == b"multipart/form-data":
        parser = formparsers.MultiPartParser(Headers(raw=[(b"content-type", content_type)]), _stream(body), **limits)
        data = at_once(parser.parse())
        return Form(data, consumed=True, files=any(type(value) is not str for _, value in data.multi_items()))
    return None if body else Form(FormData(), consumed=False, files=False)


def _pairs(body: bytes, limits: Limits) -> list[tuple[str, str | UploadFile]]:
    """As FormParser. Raises ValueError where a limit is, or may be, passed."""
    if len(body) > limits.get("max_part_size", _PART_BYTES_MAX):
        raise ValueError("a field may be too large")
    pieces = [piece.partition("=") for piece in body.decode("latin-1").split("&") if piece]
    if len(pieces) > limits.get("max_fields", _FIELDS_MAX):
        raise ValueError("too many fields")
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pieces]


async def _stream(body: bytes) -> AsyncGenerator[bytes, None]:
    if body:
        yield body
    yield b""


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of one that does not wait. Raises RuntimeError if it does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a form waited")


def form_values(fields: list[ModelField], form: Form, embed: bool) -> dict[str, Any] | None:
    """Of one dependency's parameters, as request_body_to_args() has them. None: not all are valid."""
    values, errors = at_once(utils.request_body_to_args(fields, form.data, embed))
    return None if errors else values


def usable(values: list[Any]) -> list[Any]:
    """Of all values of a name those that FastAPI sees."""
    return [value for value in values if not is_empty_file(value)]


async def validated_form(fields: list[ModelField], form: Form, embed: bool, errors: list[Any]) -> dict[str, Any]:
    """As form_values(), where validating runs code of the app. What is not valid is None; then `errors` tells."""
    values, found = await utils.request_body_to_args(fields, form.data, embed)
    errors.extend(found)
    return {field.name: values.get(field.name) for field in fields}


def validated_form_here(fields: list[ModelField], form: Form, embed: bool, errors: list[Any]) -> dict[str, Any]:
    """On a thread."""
    for _, value in form.data.multi_items():
        if isinstance(value, UploadFile) and not value._in_memory:  # A dependency has written to it: reading waits.
            return anyio.from_thread.run(validated_form, fields, form, embed, errors)
    return at_once(validated_form(fields, form, embed, errors))  # type: ignore[no-any-return]


def limits_of(app: FastAPI) -> dict[int, Limits]:
    """What form() is called with: id of a route, or of its effective context -> what all its routers say."""
    found: dict[int, Limits] = {}

    def walk(candidates: Sequence[Any], outer: Limits) -> None:
        for one in candidates:
            if isinstance(one, routing._IncludedRouter):
                walk(one.effective_candidates(), {**outer, **_plain(one.include_context.form_limits)})
            else:
                original = getattr(one, "original_route", one)
                found[id(one)] = {**outer, **_plain(getattr(original, "form_limits", None))}

    walk(app.router.routes, _plain(app.router.form_limits))
    return found


def _plain(limits: Any) -> Limits:
    return dict(limits or {})


def limits_for(context: RouteContext, found: dict[int, Limits]) -> Limits:
    return found[id(context._route_context or context.route)]
