"""How what an endpoint returns becomes the bytes that FastAPI would send."""

from __future__ import annotations

import json
import json.encoder
import marshal
from collections.abc import Callable
from typing import Any, Final

from anyio import CancelScope
from fastapi import BackgroundTasks as BackgroundTasks
from fastapi import routing
from fastapi._compat import ModelField, Undefined
from fastapi._compat.v2 import _regenerate_error_with_loc
from fastapi.concurrency import _asynccontextmanager_with_shielded_exit
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from fastapi.utils import is_body_allowed_for_status_code
from pydantic import ValidationError
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response

from catzilla._worker import _frames as frames
from catzilla._worker._frames import Request

shielded: Final = _asynccontextmanager_with_shielded_exit


class Cleanup:
    """What middleware cancels still closes what it has opened: the scope of _solve_generator(), around all of it."""

    def __init__(self) -> None:
        self.scope = CancelScope()
        self.scope.__enter__()

    async def __aexit__(self, *what: Any) -> bool:
        return bool(self.scope.__exit__(*what))


# is_body_allowed_for_status_code() is false for these, and they say no length.
BODILESS: Final = frozenset({204, 304})


def _refuse(value: Any) -> Any:
    raise TypeError


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_refuse)
_make: Final[Any] = getattr(json.encoder, "c_make_encoder", None)
_text: Final = json.encoder.encode_basestring


# Of C, made once. It looks for no circles: one ends in RecursionError, and the genuine way says what it says.
_pieces: Final[Any] = _make and _make(None, _refuse, _text, None, ":", ",", False, False, False)


def _encode(value: Any) -> str:
    return _ENCODER.encode(value) if _pieces is None else "".join(_pieces(value, 0))


def plain_json(value: Any, render: Callable[[Any], bytes]) -> bytes:
    """As JSONResponse(jsonable_encoder(value)) has it, without the walk if nothing needs it."""
    try:
        text = _encode(value)
    except Exception:
        return render(jsonable_encoder(value))
    if '"_sa' in text:  # Left out by jsonable_encoder, if it is a key.
        return render(jsonable_encoder(value))
    return text.encode("utf-8")


def exact_json(value: Any, render: Callable[[Any], bytes]) -> bytes:
    """As plain_json(), where some type of this process is not told as its base is (_types.py)."""
    try:
        marshal.dumps(value)  # At C's speed: it takes instances of the bases themselves, and of nothing below them.
    except ValueError:
        return render(jsonable_encoder(value))
    return plain_json(value, render)


render_json: Final = JSONResponse(None).render


def invalid_response(
    error: ValidationError, value: Any, dependant: Dependant, request: Request
) -> ResponseValidationError:
    """What serialize_response raises."""
    errors = _regenerate_error_with_loc(errors=error.errors(include_url=False), loc_prefix=("response",))
    return ResponseValidationError(errors=errors, body=value, endpoint_ctx=_endpoint_context(dependant, request))


def validated(field: ModelField, value: Any, location: tuple[str, ...], errors: list[Any]) -> Any:
    """As solve_dependencies validates one value. None if it is not valid; then `errors` tells."""
    result, found = utils._validate_value_with_model_field(field=field, value=value, values={}, loc=location)
    errors.extend(found)
    return result


def received(request: Request) -> StarletteRequest:
    """What models of parameters take their values from."""
    return StarletteRequest({"type": "http", "headers": request.fields, "query_string": request.query})


def validated_model(field: ModelField, model: Any, values: Any, errors: list[Any]) -> Any:
    """As validated(), of a model of parameters."""
    result, found = utils._request_param_model_to_args(field, model, values)
    errors.extend(found)
    return result


def invalid_request(errors: list[Any], sent: Any, dependant: Dependant, request: Request) -> RequestValidationError:
    """What get_request_handler raises."""
    return RequestValidationError(
        errors, body=None if sent is Undefined else sent, endpoint_ctx=_endpoint_context(dependant, request)
    )


def _endpoint_context(dependant: Dependant, request: Request) -> Any:
    context = routing._extract_endpoint_context(dependant.call)
    context["path"] = f"{request.method} {request.root_path.rstrip('/')}{dependant.path}"
    return context


def new_response() -> Response:
    """What a parameter of type Response gets."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response


def is_simple(response: Response) -> bool:
    """Whether head and body are all there is to it, and can be sent: what cannot fails as in the genuine app."""
    return (
        type(response).__call__ is Response.__call__
        and response.background is None
        and type(response.status_code) is int
        and 200 <= response.status_code <= 599
        and isinstance(response.body, bytes | memoryview)
    )


def simple(response: Response, vary: bytes) -> tuple[int, int, bytes, bytes] | None:
    """Status, number of fields, fields, body. None: a field cannot be sent."""
    fields = [*response.raw_headers, (b"vary", vary)] if vary else response.raw_headers
    try:
        count, head = frames.encode_fields([(frames.lower(name), value) for name, value in fields])
    except Exception:
        return None
    status = response.status_code
    return status, count, head, b"" if status in BODILESS else bytes(response.body)


def fields_of(head: bytes, vary: bytes = b"") -> list[tuple[bytes, bytes]]:
    """The pairs again, less the route's Vary at their end, which an Exchange adds."""
    if vary:
        head = head.removesuffix(b"vary\0" + vary + b"\0")
    parts = iter(head.split(b"\0"))
    return list(zip(parts, parts, strict=False))


def large(status: int, head: bytes, content: bytes, vary: bytes = b"") -> Response:
    """What does not fit one frame, for the genuine way of sending."""
    response = Response(status_code=status)
    response.raw_headers = fields_of(head, vary)
    response.body = content
    return response


def with_response(status: int, content: bytes, asked: Response | None) -> Response:
    """The answer for JSON of ours; `asked`: what a parameter of type Response has become."""
    code = asked.status_code if asked is not None else None
    built = Response(content, media_type="application/json", status_code=code or status)
    if not is_body_allowed_for_status_code(built.status_code):
        built.body = b""
    if asked is not None:
        built.headers.raw.extend(asked.headers.raw)
    return built


def build(kind: type[Response], content: Any, status: int | None, asked: Response | None) -> Response:
    """An object of the route's response class, as get_request_handler makes it."""
    arguments: dict[str, Any] = {} if status is None else {"status_code": status}
    built = kind(content, background=None, **arguments)
    if not is_body_allowed_for_status_code(built.status_code):
        built.body = b""
    if asked is not None:
        built.headers.raw.extend(asked.headers.raw)
    return built
