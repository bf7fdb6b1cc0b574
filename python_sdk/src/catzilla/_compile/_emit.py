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
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from typing import Any, Final

from fastapi.datastructures import DefaultPlaceholder
from fastapi.security import SecurityScopes
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from catzilla._compile import _exits as exits
from catzilla._compile import _forms as forms
from catzilla._compile import _outputs as outputs
from catzilla._compile._plan import Call, FormInput, Input, Mark, Plan, RefusedError
from catzilla._compile._reading import Reading
from catzilla._worker._tasks import Pace

# Of a Starlette Request.
_RECEIVED: Final = {"path": "path_params", "query": "query_params", "header": "headers", "cookie": "cookies"}


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

    @property
    def overridden(self) -> bool:
        """The app's dependencies are overridden now: nothing compiled knows of it."""
        return bool(getattr(self.plan.context.dependency_overrides_provider, "dependency_overrides", None))


def compile_plan(
    plan: Plan,
    label: str,
    slots: dict[tuple[str, str], int],
    *,
    vary: bytes = b"",
    stack: bool = False,
    exact: bool = False,
) -> Compiled:
    """`slots`: (place, name) -> index in the slot table. `stack`: inside middleware, so on the loop. `exact`: there
    are types that JSON would tell otherwise (_types.py).

    Raises RefusedError.
    """
    threaded = plan.synchronous and not stack
    emitter = _Emitter(plan, slots, vary, threaded, stack, exact)
    source = emitter.source()
    namespace = emitter.names
    exec(compile(source, f"<catzilla {label}>", "exec"), namespace)
    return Compiled(plan, label, source, namespace["prepare"], namespace["run"], threaded, stack)


class _Emitter:
    def __init__(
        self, plan: Plan, slots: dict[tuple[str, str], int], vary: bytes, threaded: bool, stack: bool, exact: bool
    ) -> None:
        self._shields = stack and any(call.flavour == "async_generator" for call in plan.calls)
        self._plan = plan
        self._threaded = threaded
        self._json = "exact_json" if exact else "plain_json"
        self._wait = "" if threaded else "await "
        self._exits = "inner, outer" if plan.has_exits else "(), ()"
        self._vary = vary
        self.names: dict[str, Any] = {
            "ROUTE": plan.route_id,
            "VARY": vary,
            "Response": Response,
            "SecurityScopes": SecurityScopes,
            "ValidationError": ValidationError,
            "copy_context": copy_context,
            "exits": exits,
            "forms": forms,
            "outputs": outputs,
            **plan.constants,
        }
        self._reading = Reading(plan, slots, self.names)

    def source(self) -> str:
        return "\n".join([*self._reading.source(), "", "", *self._run(), ""])

    # Answering...

    def _run(self) -> list[str]:
        plan = self._plan
        values = "".join(f", {name}" for name in self._reading.values)
        lines = [f"{'' if self._threaded else 'async '}def run(out, stream{values}):"]
        if plan.scoped:
            lines += ["    inner, outer = exits.Exits(), exits.Exits()"]
            lines += ["    if form.files:", "        outer.append(form)"] if plan.limits is not None else []
        elif plan.has_exits:
            lines += [f"    inner, outer = [], {'[]' if plan.limits is None else '[form]'}"]
        lines += ["    cleanup = outputs.Cleanup()", "    outer.append(cleanup)"] if self._shields else []
        lines += ["    try:"]
        if plan.request:
            made = "out.request(stream, ROUTE)"
            made = made if plan.limits is None else f"form.give_to({made})"
            lines += [f"        request = {f'exits.with_exits({made}, inner, outer)' if plan.scoped else made}"]
        if plan.request and plan.ordered and plan.context.body_field is not None and plan.limits is None:
            lines += ["        if sent is not UNDEFINED:", "            request._json = sent"]  # One object for all.
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
        if plan.limits is not None and not plan.scoped:
            lines += ["    if not form.files:", "        del outer[0]"]
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
                location = self._reading.location_of(step)
                lines += [f"{name} = outputs.validated(field_{name}, {name}, {location}, errors)"]
            elif isinstance(step, FormInput):
                lines += self._form(step)
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

    def _form(self, step: FormInput) -> list[str]:
        fields = f"fields_{step.inputs[0].variable}"
        self.names[fields] = step.fields
        how = "forms.validated_form_here" if self._threaded else "await forms.validated_form"
        lines = [f"values = {how}({fields}, form, {step.embed}, errors)"]
        return lines + [f"{found.variable} = values[{found.field.name!r}]" for found in step.inputs]

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
        if not self._plan.scoped and not any(call.function_scope for call in self._plan.calls):
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
            lines += [f"content = outputs.{self._json}(raw, outputs.render_json)"]
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
