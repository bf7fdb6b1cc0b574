"""What a path operation reads from a request, over its whole dependency tree."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from fastapi.security.base import SecurityBase
from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Input:
    """A value that the sidecar finds and puts into the slot table."""

    place: str  # path, query, header, cookie
    name: str  # On the wire; headers in lower case.
    multi: bool


@dataclass(slots=True)
class Reads:
    """The union over a tree."""

    inputs: list[Input] = field(default_factory=list)
    security: bool = False
    request: bool = False  # A handler or dependency takes the Request: it may read anything.
    body: bool = False
    form: bool = False
    user_models: bool = False  # Parameter models, whose fields are not slots yet.


def reads_of(dependant: Dependant) -> Reads:
    reads = Reads()
    _walk(dependant, reads, set())
    return reads


def _walk(dependant: Dependant, reads: Reads, seen: set[int]) -> None:
    if id(dependant) in seen:
        return
    seen.add(id(dependant))
    call = dependant.call
    if isinstance(call, SecurityBase) or dependant.security_scopes_param_name or dependant.own_oauth_scopes:
        reads.security = True
    if dependant.request_param_name or dependant.http_connection_param_name:
        # Security classes take the Request, and read only what they say.
        reads.request = reads.request or not isinstance(call, SecurityBase)
    for place, params in (
        ("path", dependant.path_params),
        ("query", dependant.query_params),
        ("header", dependant.header_params),
        ("cookie", dependant.cookie_params),
    ):
        for param in params:
            _add(reads, place, param)
    if dependant.body_params:
        reads.body = True
        reads.form = reads.form or any(_is_form(param) for param in dependant.body_params)
    for sub in dependant.dependencies:
        _walk(sub, reads, seen)


def _add(reads: Reads, place: str, param: Any) -> None:
    annotation = param.field_info.annotation
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        reads.user_models = True
        for name, info in annotation.model_fields.items():
            alias = info.validation_alias or info.alias or name
            if isinstance(alias, str):
                wire = alias.replace("_", "-") if place == "header" and alias == name else alias
                _append(reads, Input(place, wire.lower() if place == "header" else wire, _is_list(info.annotation)))
        return
    for _, alias in utils._get_param_aliases(param):
        # FastAPI has converted the underscores of a header, if it does.
        several = place != "path" and not utils._is_json_field(param) and _is_list(annotation)
        _append(reads, Input(place, alias.lower() if place == "header" else alias, several))


def _append(reads: Reads, found: Input) -> None:
    for index, known in enumerate(reads.inputs):
        if (known.place, known.name) == (found.place, found.name):
            if found.multi and not known.multi:
                reads.inputs[index] = found
            return
    reads.inputs.append(found)


def _is_list(annotation: Any) -> bool:
    from fastapi._compat import field_annotation_is_sequence

    return bool(field_annotation_is_sequence(annotation))


def _is_form(param: Any) -> bool:
    from fastapi import params

    return isinstance(param.field_info, params.Form)
