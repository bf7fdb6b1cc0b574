"""A plan as Python source: prepare(), which reads and validates a request, and run(), which answers it.

    prepare(payload) -> the validated values, or None: this request is for the genuine app
    run(out, stream, *values): a `def` where all is synchronous and a thread runs it as a whole, else an `async def`,
        whose synchronous calls go to a thread in groups of neighbours

prepare() runs no code of the user, so what it declines has not begun. Where validating would, prepare() only reads,
and run() validates as solve_dependencies does: in its order, each value once, and all errors together. From run() on
nothing is ever begun again:
whatever is not simple (an exception, a streaming response) is handed to `out.resume()`, which goes on inside the
genuine stack. `out` is a catzilla._worker lane.
"""

from __future__ import annotations

import dataclasses
import struct
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from typing import Any, Final

from fastapi._compat import Undefined
from fastapi.datastructures import DefaultPlaceholder
from fastapi.security import SecurityScopes
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.responses import JSONResponse, Response

from catzilla._compile import _outputs as outputs
from catzilla._compile._plan import Call, Input, Mark, Plan, RefusedError, default_of
from catzilla._compile._values import is_json, texts
from catzilla._worker._tasks import Pace

_ENCODINGS: Final = {"path": "utf-8", "query": "utf-8", "header": "latin-1", "cookie": "latin-1"}
# Of a Starlette Request.
_RECEIVED: Final = {"path": "path_params", "query": "query_params", "header": "headers", "cookie": "cookies"}
CONTENT_TYPE: Final = ("header", "content-type")


@dataclasses.dataclass(slots=True)
class Compiled:
    """One route of the fast lane."""

    plan: Plan
    label: str  # "GET /items/{id}"
    source: str
    prepare: Any
    run: Any
    threaded: bool  # `run` is for a thread.
    stack: bool  # It runs inside the app's middleware.
    pace: Pace = dataclasses.field(default_factory=Pace)
    child: dict[str, Any] | None = None  # What its route puts into a scope, if that is always the same.


def compile_plan(
    plan: Plan, label: str, slots: dict[tuple[str, str], int], *, vary: bytes = b"", stack: bool = False
) -> Compiled:
    """`slots`: (place, name) -> index in the slot table. `stack`: inside middleware, so on the loop.

    Raises RefusedError.
    """
    threaded = plan.synchronous and not stack
    emitter = _Emitter(plan, slots, vary, threaded, stack)
    source = emitter.source()
    namespace = emitter.names
    exec(compile(source, f"<catzilla {label}>", "exec"), namespace)
    return Compiled(plan, label, source, namespace["prepare"], namespace["run"], threaded, stack)


class _Emitter:
    def __init__(self, plan: Plan, slots: dict[tuple[str, str], int], vary: bytes, threaded: bool, stack: bool) -> None:
        self._shields = stack and any(call.flavour == "async_generator" for call in plan.calls)
        self._plan = plan
        self._threaded = threaded
        self._wait = "" if threaded else "await "
        self._exits = "inner, outer" if plan.has_exits else "(), ()"
        self._slots = slots
        self._vary = vary
        self.names: dict[str, Any] = {
            "ROUTE": plan.route_id,
            "VARY": vary,
            "Response": Response,
            "SecurityScopes": SecurityScopes,
            "ValidationError": ValidationError,
            "copy_context": copy_context,
            "from_json": from_json,
            "is_json": is_json,
            "texts": texts,
            "outputs": outputs,
            **plan.constants,
        }

    def source(self) -> str:
        return "\n".join([*self._prepare(), "", "", *self._run(), ""])

    # Reading...

    def _prepare(self) -> list[str]:
        plan = self._plan
        slotted = [found for found in plan.inputs if found.place != "body" and found.model is None]
        used = sorted({self._slot(found) for found in slotted})
        bodies = [found for found in plan.inputs if found.place == "body"]
        if bodies and self._strict is not None:
            used = sorted({*used, self._slots[CONTENT_TYPE]}) if CONTENT_TYPE in self._slots else used
        count = len(self._slots)
        layout = struct.Struct("<4xI3xBH86xI16x" + "".join("HH" if i in used else "4x" for i in range(count)))
        self.names["UNPACK"] = layout.unpack_from
        fields = ["flags", "mode", "count", "body_at", *(f"o{i}, n{i}" for i in used)]
        lines = ["def prepare(payload):"]
        provider = plan.context.dependency_overrides_provider
        if provider is not None:
            self.names["PROVIDER"] = provider
            lines += ["    if PROVIDER.dependency_overrides:", "        return None"]
        lines += [
            f"    {', '.join(fields)} = UNPACK(payload)",
            f"    if flags or mode > 1 or count != {count}:",
            "        return None",
        ]
        if plan.ordered:
            self.names["UNDEFINED"] = Undefined
            lines += ["    sent = UNDEFINED"]
        for found in slotted:
            lines += self._parameter(found)
        if bodies:
            lines += self._body(bodies)
        values = "".join(f"{name}, " for name in self._values())
        return [*lines, f"    return ({values.rstrip()})" if values else "    return ()"]

    def _values(self) -> list[str]:
        """What prepare() hands to run()."""
        values = [found.variable for found in self._plan.inputs if found.model is None]
        return [*values, "sent"] if self._plan.ordered else values

    def _slot(self, found: Input) -> int:
        slot = self._slots.get((found.place, found.name))
        if slot is None:
            raise RefusedError(f"{found.name} has no slot")
        return slot

    def _parameter(self, found: Input) -> list[str]:
        slot, name, encoding = self._slot(found), found.variable, _ENCODINGS[found.place]
        lines = [f"    if o{slot}:"]
        if found.multi:
            lines += [
                f"        {name} = texts(payload, o{slot}, n{slot}, {encoding!r})",
                f"        if not {name}:",
                "            return None",
            ]
            if found.place == "cookie":
                raise RefusedError(f"{found.name} is a list of cookies")
        else:
            lines += [f"        if n{slot} > 32767:", "            return None"]
            lines += [f"        {name} = payload[o{slot} : o{slot} + n{slot}].decode({encoding!r}, 'replace')"]
            if found.place == "cookie":  # Quoted ones are unquoted by http.cookies.
                lines += [f"        if '\"' in {name}:", "            return None"]
        lines += self._validate(found, name, "        ")
        return [*lines, "    else:", *self._absent(found, "        ")]

    def _validate(self, found: Input, value: str, indent: str) -> list[str]:
        validator = found.validator
        name = found.variable
        if validator is None or self._plan.ordered:
            return [] if value == name else [f"{indent}{name} = {value}"]
        self.names[f"validate_{name}"] = validator.validate_python
        return [f"{indent}{name} = validate_{name}({value}, from_attributes=True)"]

    def _absent(self, found: Input, indent: str) -> list[str]:
        if self._plan.ordered:
            return [f"{indent}{found.variable} = UNDEFINED"]
        if found.required:
            return [f"{indent}return None"]
        name = found.variable
        if found.default_is_constant:
            self.names[f"default_{name}"] = default_of(found)
            return [f"{indent}{name} = default_{name}"]
        self.names[f"default_{name}"] = lambda: default_of(found)
        return [f"{indent}{name} = default_{name}()"]

    @property
    def _strict(self) -> bool:
        strict = self._plan.context.strict_content_type
        return bool(strict.value if isinstance(strict, DefaultPlaceholder) else strict)

    def _body(self, bodies: list[Input]) -> list[str]:
        slot = self._slots.get(CONTENT_TYPE)
        if slot is None:
            raise RefusedError("content-type has no slot")
        kind = f"payload[o{slot} : o{slot} + n{slot}]"
        lines = ["    body = payload[body_at:]", "    if body:"]
        lines += (
            [f"        if not is_json({kind}):"] if self._strict else [f"        if o{slot} and not is_json({kind}):"]
        )
        lines += ["            return None", "        value = from_json(body)"]
        lines += ["        sent = value"] if self._plan.ordered else []
        if bodies[0].name:
            lines += ["        if type(value) is not dict:", "            return None"]
            for found in bodies:
                lines += [
                    f"        if {found.name!r} in value:",
                    *self._validate(found, f"value[{found.name!r}]", "            "),
                    "        else:",
                    *self._absent(found, "            "),
                ]
        else:
            lines += self._validate(bodies[0], "value", "        ")
        lines += ["    else:"]
        for found in bodies:
            lines += self._absent(found, "        ")
        return lines

    # Answering...

    def _run(self) -> list[str]:
        plan = self._plan
        values = "".join(f", {name}" for name in self._values())
        lines = [f"{'' if self._threaded else 'async '}def run(out, stream{values}):"]
        lines += ["    inner, outer = [], []"] if plan.has_exits else []
        lines += ["    cleanup = outputs.Cleanup()", "    outer.append(cleanup)"] if self._shields else []
        lines += ["    try:"]
        if plan.request:
            lines += ["        request = out.request(stream, ROUTE)"]
        if plan.response:
            lines += ["        response = outputs.new_response()"]
        if plan.tasks:
            lines += ["        tasks = outputs.BackgroundTasks()"]
        lines += ["        " + line for line in (self._ordered_calls() if plan.ordered else self._calls())]
        lines += ["        " + line for line in self._answer()]
        lines += [
            "        if len(head) + len(content) > out.most:",
            f"            return {self._resume('None, outputs.large(status, head, content, VARY)')}",
            "    except BaseException as error:",
            f"        return {self._resume('error, None')}",
        ]
        if not plan.has_exits:
            return [*lines, "    out.answer(stream, status, count, head, content)"]
        lines += ["    out.answer(stream, status, count, head, content, settled=not outer)"]
        return [*lines, "    if outer:", f"        {self._wait}out.leave(stream, ROUTE, outer)"]

    def _resume(self, what: str) -> str:
        return f"{self._wait}out.resume(stream, ROUTE, {what}, {self._exits})"

    def _calls(self) -> list[str]:
        lines: list[str] = []
        calls = list(enumerate(self._plan.calls))
        while calls:
            group = []
            while calls and not self._threaded and calls[0][1].flavour in ("sync", "generator"):
                group.append(calls.pop(0))
            lines += self._hop(group) if group else self._call(*calls.pop(0))
        return lines

    def _ordered_calls(self) -> list[str]:
        """With the validation in between, as solve_dependencies has it."""
        lines = ["errors = []"]
        if any(found.model is not None for found in self._plan.inputs):
            lines += ["received = outputs.received(stream.request)"]
        calls = {call.variable: index for index, call in enumerate(self._plan.calls)}
        for step in self._plan.steps:
            if isinstance(step, Mark):
                lines += [f"{step.variable} = None", f"before_{step.variable} = len(errors)"]
            elif isinstance(step, Input) and step.model is not None:
                name = step.variable
                self.names[f"field_{name}"], self.names[f"model_{name}"] = step.field, step.model
                values = f"received.{_RECEIVED[step.place]}"
                lines += [f"{name} = outputs.validated_model(field_{name}, model_{name}, {values}, errors)"]
            elif isinstance(step, Input):
                name = step.variable
                self.names[f"field_{name}"] = step.field
                self.names[f"loc_{name}"] = step.location
                lines += [f"{name} = outputs.validated(field_{name}, {name}, loc_{name}, errors)"]
            else:
                index = calls[step.variable]
                alone = self._threaded or step.flavour not in ("sync", "generator")
                call = self._call(index, step) if alone else self._hop([(index, step)])
                if step.variable == "raw":
                    self.names["DEPENDANT"] = self._plan.context.dependant
                    lines += [
                        "if errors:",
                        "    raise outputs.invalid_request(errors, sent, DEPENDANT, stream.request)",
                        *call,
                    ]
                else:
                    lines += [f"if len(errors) == before_{step.variable}:", *("    " + line for line in call)]
        return lines

    def _hop(self, group: list[tuple[int, Call]]) -> list[str]:
        """Neighbours that are synchronous share one way to a thread and back."""
        first = group[0][0]
        variables = ", ".join(call.variable for _, call in group)
        lines = [f"def hop{first}():"]
        for index, call in group:
            lines += ["    " + line for line in self._call(index, call)]
        return [*lines, f"    return {variables}", f"{variables} = await out.hop(hop{first})"]

    def _call(self, index: int, call: Call) -> list[str]:
        function = f"call{index}"
        arguments = ", ".join(f"{name}={value}" for name, value in call.arguments.items())
        variable = call.variable
        exits = "inner" if call.function_scope else "outer"
        if call.flavour == "async_generator":
            self.names[function] = asynccontextmanager(call.function)
            return [
                f"manager = {function}({arguments})",
                *(["manager = outputs.shielded(manager, cleanup.scope)"] if self._shields else []),
                f"{variable} = await manager.__aenter__()",
                f"{exits}.append(manager)",
            ]
        if call.flavour == "generator":
            self.names[function] = contextmanager(call.function)
            return [
                f"manager = {function}({arguments})",
                f"{variable} = copy_context().run(manager.__enter__)",
                f"{exits}.append(manager)",
            ]
        self.names[function] = call.function
        if call.flavour == "sync":  # In a copy, as a thread of the pool would: what it sets, it alone sees.
            separator = ", " if arguments else ""
            return [f"{variable} = copy_context().run({function}{separator}{arguments})"]
        if self._threaded:  # It never waits.
            return [f"{variable} = out.immediately({function}({arguments}))"]
        return [f"{variable} = await {function}({arguments})"]

    def _leave(self, response: str) -> list[str]:
        """The context managers of function scope, before the answer."""
        if not any(call.function_scope for call in self._plan.calls):
            return []
        return [
            "try:",
            "    while inner:",
            f"        {self._wait}out.exit(inner.pop())",
            "except BaseException as error:",  # One further out may still swallow it: then this is the answer.
            f"    return {self._resume(f'error, {response}')}",
        ]

    def _answer(self) -> list[str]:
        return [
            "if isinstance(raw, Response):",
            *("    " + line for line in self._send("raw")),
            "else:",
            *("    " + line for line in self._content()),
        ]

    def _send(self, response: str) -> list[str]:
        """A response object."""
        tasks = []
        if self._plan.tasks:  # As FastAPI: those of the response itself go first, and alone.
            tasks = [f"if {response}.background is None and tasks.tasks:", f"    {response}.background = tasks"]
        return [
            *tasks,
            f"if not outputs.is_simple({response}):",
            f"    return {self._resume(f'None, {response}')}",
            *self._leave(response),
            f"simple = outputs.simple({response}, VARY)",
            "if simple is None:",
            f"    return {self._resume(f'None, {response}')}",
            "status, count, head, content = simple",
        ]

    def _content(self) -> list[str]:
        """From what the endpoint returned to status, count, head and content."""
        context = self._plan.context
        field = context.response_field
        default = isinstance(context.response_class, DefaultPlaceholder)
        status = context.status_code or 200
        lines: list[str] = []
        if field is not None:
            self.names["validate_raw"] = field._type_adapter.validator.validate_python
            self.names["DEPENDANT"] = context.dependant
            lines += [
                "invalid = None",
                "try:",
                "    value = validate_raw(raw, from_attributes=True)",
                "except ValidationError as error:",
                "    invalid = error",
                "if invalid is not None:",
                "    raise outputs.invalid_response(invalid, raw, DEPENDANT, stream.request)",
            ]
        shape = {
            "include": context.response_model_include,
            "exclude": context.response_model_exclude,
            "by_alias": context.response_model_by_alias,
            "exclude_unset": context.response_model_exclude_unset,
            "exclude_defaults": context.response_model_exclude_defaults,
            "exclude_none": context.response_model_exclude_none,
        }
        if default and field is not None:
            given = {name: value for name, value in shape.items() if value is not None and value is not False}
            self.names["to_json"] = field._type_adapter.serializer.to_json
            self.names["SHAPE"] = given
            plain = all(value is True for value in given.values())
            how = ", ".join(f"{name}=True" for name in given) if plain else "**SHAPE"
            if not context.response_model_by_alias:
                how += f"{', ' if how else ''}by_alias=False"
            lines += [f"content = to_json(value{', ' if how else ''}{how})"]
        elif default and context.response_class.value is JSONResponse:
            lines += ["content = outputs.plain_json(raw, outputs.render_json)"]
        else:
            return lines + self._object(field, shape)
        if self._plan.response or self._plan.tasks:
            asked = "response" if self._plan.response else "None"
            return [*lines, f"built = outputs.with_response({status}, content, {asked})", *self._send("built")]
        return [*lines, *self._head(status), *self._leave("outputs.large(status, head, content, VARY)")]

    def _head(self, status: int) -> list[str]:
        if status < 200 or status == 205:
            raise RefusedError(f"it answers {status}")
        vary = b"vary\0" + self._vary.replace(b"%", b"%%") + b"\0" if self._vary else b""
        kind = b"content-type\0application/json\0" + vary
        count = 1 + bool(vary)
        if status in outputs.BODILESS:
            self.names["HEAD"] = kind
            return [f"status, count, head, content = {status}, {count}, HEAD, b''"]
        self.names["HEAD"] = b"content-length\0%d\0" + kind
        return [f"status, count, head = {status}, {count + 1}, HEAD % len(content)"]

    def _object(self, field: Any, shape: dict[str, Any]) -> list[str]:
        """A response class of the app's choice: an object of it is made, as FastAPI makes it."""
        context = self._plan.context
        kind = context.response_class
        self.names["RESPONSE"] = kind.value if isinstance(kind, DefaultPlaceholder) else kind
        self.names["SHAPE"] = shape
        if field is not None:
            self.names["serialize"] = field.serialize
            content = "serialize(value, **SHAPE)"
        else:
            content = "outputs.jsonable_encoder(raw)"
        status = f"{context.status_code!r}"
        if self._plan.response:
            status = f"response.status_code or {status}"
        response = "response" if self._plan.response else "None"
        return [f"built = outputs.build(RESPONSE, {content}, {status}, {response})", *self._send("built")]
