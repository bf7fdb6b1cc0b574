"""What one route needs, step by step: FastAPI's own analysis of it, made flat.

    dependant tree --Planner--> Inputs, Calls (dependencies in the order of solve_dependencies, then the endpoint)

The order and the per-request cache are static: which call is made when, and which value is shared, depends on the
tree alone. Refuses, with the reason, what only the genuine app does: then the route takes the slow lane.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from fastapi._compat import (
    ModelField,
    Undefined,
    field_annotation_is_sequence,
    get_cached_model_fields,
    is_bytes_or_nonable_bytes_annotation,
    is_bytes_sequence_annotation,
)
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies import models, utils
from fastapi.dependencies.models import Dependant
from fastapi.params import File, Form
from fastapi.routing import APIRoute, RouteContext
from fastapi.security.base import SecurityBase
from pydantic_core import SchemaSerializer, SchemaValidator
from starlette import convertors
from starlette.responses import Response

from catzilla._compile._schema import runs_user_code, watcher_of

Flavour = Literal["async", "sync", "async_generator", "generator", "inline"]

_PLACES: Final = ("path", "query", "header", "cookie")
_CONSTANTS: Final = (type(None), bool, int, float, str, bytes, Enum)
_CONVERTORS: Final = (convertors.StringConvertor, convertors.PathConvertor)


class RefusedError(Exception):
    """Why a route takes the slow lane."""


@dataclass(slots=True)
class Input:
    """A value of the request. Where validating it runs no code of the app, that is done before any of it runs."""

    variable: str
    place: str  # path, query, header, cookie, body, form
    names: tuple[str, ...]  # On the wire, the first that is there is taken; of a whole body: "".
    multi: bool
    field: ModelField
    model: Any = None  # Of parameters: takes all of its place.

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def validator(self) -> SchemaValidator | None:
        """None: a plain text, which is taken as it is."""
        adapter = self.field._type_adapter
        schema: Any = adapter.core_schema
        while schema["type"] == "default" or (schema["type"] == "nullable" and "strict" not in schema):
            schema = schema["schema"]
        plain = schema["type"] == "str" and schema.keys() <= {"type", "metadata"}
        taken = plain and self.place in _PLACES and not self.multi
        return None if taken else adapter.validator  # type: ignore[return-value]

    @property
    def locations(self) -> list[tuple[str, ...]]:
        """Of its errors, by name."""
        if self.place == "body":
            return [("body", name) if name else ("body",) for name in self.names]
        return [(self.place, alias) for _, alias in utils._get_param_aliases(self.field)]

    @property
    def required(self) -> bool:
        return bool(self.field.field_info.is_required())

    @property
    def default_is_constant(self) -> bool:
        return isinstance(self.field.default, _CONSTANTS)


@dataclass(slots=True)
class Call:
    """One call of the user's code: a dependency, or at last the endpoint."""

    variable: str
    function: Any
    flavour: Flavour
    arguments: dict[str, str]  # Parameter -> expression over variables.
    function_scope: bool = False  # Of generators: left before the answer, not behind it.


@dataclass(slots=True)
class Mark:
    """Where the parameters of a dependency begin: if one of them is not valid, it is not called."""

    variable: str  # Of the call.


@dataclass(slots=True)
class FormInput:
    """The parameters of one call that are fields of the request's form."""

    inputs: list[Input]
    embed: bool
    flat: bool  # Each is a value of its own: no model, no bytes of a file.

    @property
    def fields(self) -> list[ModelField]:
        return [found.field for found in self.inputs]


@dataclass(slots=True)
class Plan:
    """A route that the fast lane can serve."""

    route_id: int
    context: RouteContext
    limits: dict[str, int] | None = None  # Of its form; None: it takes none.
    steps: list[Mark | Input | FormInput | Call] = field(default_factory=list)  # In the order of solve_dependencies.
    ordered: bool = False  # Validating runs code of the app: in this order, once, in run().
    constants: dict[str, Any] = field(default_factory=dict)  # Of expressions, by name.
    scoped: bool = False  # Some call of the app's takes the Request, and with it the scope and its exit stacks...
    request: bool = False  # ...some call, perhaps of FastAPI's security, takes it...
    response: bool = False  # ...or the Response...
    tasks: bool = False  # ...or BackgroundTasks.

    @property
    def inputs(self) -> list[Input]:
        return [step for step in self.steps if isinstance(step, Input)]

    @property
    def forms(self) -> list[FormInput]:
        return [step for step in self.steps if isinstance(step, FormInput)]

    @property
    def calls(self) -> list[Call]:
        return [step for step in self.steps if isinstance(step, Call)]

    @property
    def synchronous(self) -> bool:
        """All of it: a thread may run it as a whole."""
        return all(call.flavour in ("sync", "generator", "inline") for call in self.calls)

    @property
    def has_exits(self) -> bool:
        return (
            self.scoped
            or self.limits is not None
            or any(call.flavour in ("async_generator", "generator") for call in self.calls)
        )


def plan_route(route_id: int, context: RouteContext, limits: dict[str, int]) -> Plan:
    """`limits`: of its form, if it takes one. Raises RefusedError."""
    original = context.original_route
    if not isinstance(original, APIRoute):
        raise RefusedError("not a path operation")
    _check_route(context, original)
    takes_form = isinstance(getattr(context.body_field, "field_info", None), Form)
    return _Planner(route_id, context, limits if takes_form else None).plan


def _check_route(context: RouteContext, original: APIRoute) -> None:
    kind = type(original)
    for name in ("get_route_handler", "handle", "matches"):
        if getattr(kind, name) is not getattr(APIRoute, name) or name in vars(original):
            raise RefusedError(f"{kind.__name__}.{name} is its own")
    if context.is_sse_stream or context.is_json_stream or context.stream_item_field is not None:
        raise RefusedError("its answer is a stream")
    if context.max_body_size is not None:
        raise RefusedError("it has a max_body_size")
    for name, convertor in context.param_convertors.items():
        if type(convertor) not in _CONVERTORS:
            raise RefusedError(f"{{{name}}} has the convertor {type(convertor).__name__}")
    response_class = context.response_class
    if isinstance(response_class, DefaultPlaceholder):
        response_class = response_class.value
    if not inspect.isclass(response_class) or response_class.__call__ is not Response.__call__:
        raise RefusedError(f"{getattr(response_class, '__name__', response_class)} sends itself")


class _Planner:
    def __init__(self, route_id: int, context: RouteContext, limits: dict[str, int] | None) -> None:
        self.plan = Plan(route_id, context, limits)
        self._solved: dict[Any, str] = {}  # Key in FastAPI's per-request cache -> variable.
        self._repeated = ""
        self._inputs = 0
        self._has_body = False  # Some dependency has what was sent in its hands...
        self._changeable = False  # ...before another takes a part of it.
        dependant = context.dependant
        assert dependant is not None
        arguments = self._arguments(dependant)
        self._call(dependant, arguments, "raw")
        self._check_answer()
        if self._changeable and not self._repeated:
            self.plan.ordered = True
        if self.plan.ordered and self._repeated:
            raise RefusedError(f"validating runs code of the app, and {self._repeated} is asked for twice")

    def _arguments(self, dependant: Dependant) -> dict[str, str]:
        """As solve_dependencies: dependencies first, then parameters by place, then the body, then special ones."""
        arguments: dict[str, str] = {}
        for sub in dependant.dependencies:
            variable = self._dependency(sub)
            if sub.name is not None:
                arguments[sub.name] = variable
        for place in _PLACES:
            for param in getattr(dependant, f"{place}_params"):
                arguments[param.name] = self._parameter(place, param)
        arguments.update(self._body(dependant))
        arguments.update(self._special(dependant))
        return arguments

    def _dependency(self, sub: Dependant) -> str:
        key = models._get_cache_key(dependant=sub)
        if sub.use_cache and key in self._solved:
            # FastAPI walks below it all the same, for the sake of dependencies that are not cached there.
            for below in _uncached(sub):
                raise RefusedError(f"{_name(below)} is not cached below {_name(sub.call)}, which is")
            self._repeated = _name(sub.call)
            return self._solved[key]
        variable = f"d{len(self.plan.steps)}"
        self.plan.steps.append(Mark(variable))
        arguments = self._arguments(sub)
        self._call(sub, arguments, variable)
        self._solved.setdefault(key, variable)
        return variable

    def _call(self, dependant: Dependant, arguments: dict[str, str], variable: str) -> str:
        if dependant.concurrency is not None:
            raise RefusedError(f"{_name(dependant.call)} has a max_concurrency")
        flavour = _flavour_of(dependant.call)
        if variable == "raw" and flavour in ("generator", "async_generator"):
            raise RefusedError("its endpoint is a generator")
        taken = dependant.body_params or dependant.request_param_name or dependant.http_connection_param_name
        self._has_body |= bool(taken) and flavour != "inline"
        leaves_first = dependant.scope == "function" and flavour in ("generator", "async_generator")
        self.plan.steps.append(Call(variable, dependant.call, flavour, arguments, leaves_first))
        return variable

    def _parameter(self, place: str, param: ModelField) -> str:
        model = utils._get_param_model(param)
        if model is not None and place == "path":
            raise RefusedError(f"{param.name} is a model of path parameters")
        if model is not None:  # Its values are read in run(), by FastAPI's own function.
            self.plan.ordered = True
            return self._input(place, ("",), False, param, model)
        names = [alias for _, alias in utils._get_param_aliases(param)]
        if place == "header":
            names = [name.lower() for name in names]
        for name in names:  # On the wire they would be latin-1, and the slots' names are UTF-8.
            if place in ("header", "cookie") and not name.isascii():
                raise RefusedError(f"the {place} {name!r} is not ASCII")
        return self._input(place, tuple(names), place != "path" and takes_several(param), param)

    def _body(self, dependant: Dependant) -> dict[str, str]:
        params = dependant.body_params
        if not params:
            return {}
        if self.plan.limits is not None:
            return self._form(params)
        self._changeable |= self._has_body
        if any(isinstance(param.field_info, Form) for param in params):
            raise RefusedError("it takes a form, and its body is none")
        embed = self.plan.context._embed_body_fields or len(params) > 1 or utils._should_embed_body_fields(params)
        arguments: dict[str, str] = {}
        for param in params:
            names = tuple(alias for alias, _ in utils._get_param_aliases(param)) if embed else ("",)
            arguments[param.name] = self._input("body", names, False, param)
        return arguments

    def _form(self, params: list[ModelField]) -> dict[str, str]:
        embed = bool(self.plan.context._embed_body_fields)
        alone = len(params) == 1 and not embed and not utils._should_embed_body_fields(params)
        found: list[Input] = []
        flat = not alone
        for param in params:
            flat &= not (utils._get_form_models(param) or _takes_bytes(param))
            names = tuple(alias for alias, _ in utils._get_param_aliases(param))
            found.append(self._checked("form", names, takes_several(param), param))
        # Bytes of a file are read from where a dependency has left it.
        self.plan.ordered |= bool(self.plan.calls) and any(_reads_files(param) for param in params)
        self.plan.steps.append(FormInput(found, embed, flat))
        return {one.field.name: one.variable for one in found}

    def _input(self, place: str, names: tuple[str, ...], multi: bool, param: ModelField, model: Any = None) -> str:
        found = self._checked(place, names, multi, param, model)
        self.plan.steps.append(found)
        return found.variable

    def _checked(self, place: str, names: tuple[str, ...], multi: bool, param: ModelField, model: Any = None) -> Input:
        adapter = param._type_adapter
        if watcher := watcher_of(adapter.validator):
            raise RefusedError(f"the validator of {param.name} is of {watcher}")
        factory = param.field_info.default_factory
        self.plan.ordered |= (
            runs_user_code(adapter.core_schema)
            or (factory is not None and not _is_type(factory))
            or (bool(param.field_info.validate_default) and not param.field_info.is_required())
        )
        self._inputs += 1
        return Input(f"v{self._inputs}", place, names, multi, param, model)

    def _special(self, dependant: Dependant) -> Iterator[tuple[str, str]]:
        if dependant.background_tasks_param_name:
            self.plan.tasks = True
            yield dependant.background_tasks_param_name, "tasks"
        for name in (dependant.http_connection_param_name, dependant.request_param_name):
            if name:
                self.plan.request = True
                self.plan.scoped |= _flavour_of(dependant.call) != "inline"
                yield name, "request"
        if dependant.response_param_name:
            self.plan.response = True
            yield dependant.response_param_name, "response"
        if dependant.security_scopes_param_name:
            constant = f"scopes{len(self.plan.constants)}"
            self.plan.constants[constant] = models._get_oauth_scopes(dependant=dependant)
            yield dependant.security_scopes_param_name, f"SecurityScopes(list({constant}))"

    def _check_answer(self) -> None:
        field_ = self.plan.context.response_field
        if field_ is not None:
            adapter = field_._type_adapter
            if watcher := watcher_of(adapter.validator):
                raise RefusedError(f"the validator of its answer is of {watcher}")
            if type(adapter.serializer) is not SchemaSerializer:
                raise RefusedError("the serializer of its answer is not pydantic's own")


def _uncached(dependant: Dependant) -> Iterator[Any]:
    for sub in dependant.dependencies:
        if not sub.use_cache:
            yield sub.call
        yield from _uncached(sub)


def _flavour_of(call: Any) -> Flavour:
    # FastAPI's own security classes read a field or two and never wait.
    if isinstance(call, SecurityBase) and type(call).__module__.startswith("fastapi.security"):
        return "inline"
    if models._is_async_gen_callable(call):
        return "async_generator"
    if models._is_gen_callable(call):
        return "generator"
    return "async" if models._is_coroutine_callable(call) else "sync"


def takes_several(param: ModelField) -> bool:
    """Whether all values of its name are its own."""
    return not utils._is_json_field(param) and bool(field_annotation_is_sequence(param.field_info.annotation))


def _takes_bytes(param: ModelField) -> bool:
    """Of a file, which is read for it."""
    annotation = param.field_info.annotation
    return isinstance(param.field_info, File) and (
        is_bytes_or_nonable_bytes_annotation(annotation) or is_bytes_sequence_annotation(annotation)
    )


def _reads_files(param: ModelField) -> bool:
    fields = [field for model in utils._get_form_models(param) for field in get_cached_model_fields(model)]
    return any(_takes_bytes(field) for field in (param, *fields))


def _is_type(factory: Any) -> bool:
    return factory in (list, dict, set, frozenset, tuple, str, int, float, bool, bytes)


def _name(call: Any) -> str:
    return getattr(call, "__qualname__", None) or type(call).__qualname__


def default_of(found: Input) -> Any:
    """What FastAPI takes where nothing was sent: a copy, each time."""
    value = found.field.default
    assert value is not Undefined
    return deepcopy(value)
