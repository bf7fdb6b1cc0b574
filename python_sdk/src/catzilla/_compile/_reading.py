"""prepare(), as source: which values of a REQUEST frame a route takes, and what they have to be."""

from __future__ import annotations

import struct
from typing import Any, Final

from fastapi._compat import Undefined, field_annotation_is_sequence
from fastapi.datastructures import DefaultPlaceholder
from pydantic_core import from_json

from catzilla._compile import _forms as forms
from catzilla._compile._plan import FormInput, Input, Plan, RefusedError, default_of
from catzilla._compile._values import is_json, texts

CONTENT_TYPE: Final = ("header", "content-type")
_ENCODINGS: Final = {"path": "utf-8", "query": "utf-8", "header": "latin-1", "cookie": "latin-1"}
# One that is not UTF-8 after all is declined.
_DECODED: Final = {"utf-8": "decode()", "latin-1": "decode('latin-1')"}


class Reading:
    """Adds to `names` what the source needs."""

    def __init__(self, plan: Plan, slots: dict[tuple[str, str], int], names: dict[str, Any]) -> None:
        self._plan = plan
        self._slots = slots
        self._names = names
        names.update(from_json=from_json, is_json=is_json, texts=texts, forms=forms)

    @property
    def values(self) -> list[str]:
        """What prepare() hands to run()."""
        plan = self._plan
        values = [found.variable for found in plan.inputs if found.model is None]
        if plan.ordered:
            values += [self.location_of(found) for found in plan.inputs if len(found.names) > 1]
            values += ["sent"]
        else:
            values += [found.variable for form in plan.forms for found in form.inputs]
        return values if plan.limits is None else [*values, "form"]

    def location_of(self, found: Input) -> str:
        """The variable that has the location of its errors."""
        name = found.variable
        for index, location in enumerate(found.locations):
            self._names[f"loc_{name}_{index}"] = location
        return f"loc_{name}_0" if len(found.names) == 1 else f"loc_{name}"

    def source(self) -> list[str]:
        plan = self._plan
        slotted = [found for found in plan.inputs if found.place != "body" and found.model is None]
        used = {self._slot(found, name) for found in slotted for name in found.names}
        bodies = [found for found in plan.inputs if found.place == "body"]
        if (bodies or plan.limits is not None) and CONTENT_TYPE not in self._slots:
            raise RefusedError("content-type has no slot")
        if bodies or plan.limits is not None:
            used.add(self._slots[CONTENT_TYPE])
        count = len(self._slots)
        layout = struct.Struct("<4xI3xBH86xI16x" + "".join("HH" if i in used else "4x" for i in range(count)))
        self._names["UNPACK"] = layout.unpack_from
        fields = ["flags", "mode", "count", "body_at", *(f"o{i}, n{i}" for i in sorted(used))]
        lines = ["def prepare(payload):"]
        provider = plan.context.dependency_overrides_provider
        if provider is not None:
            self._names["PROVIDER"] = provider
            lines += ["    if PROVIDER.dependency_overrides:", "        return None"]
        lines += [
            f"    {', '.join(fields)} = UNPACK(payload)",
            f"    if flags or mode > 1 or count != {count}:",
            "        return None",
        ]
        lengths = [
            f"n{slot}" for slot in sorted(self._slot(f, name) for f in slotted if not f.multi for name in f.names)
        ]
        if lengths:  # None is a list, which another parameter of its name takes.
            lines += [f"    if {' | '.join(dict.fromkeys(lengths))} > 32767:", "        return None"]
        if plan.ordered:
            self._names["UNDEFINED"] = Undefined
            lines += ["    sent = UNDEFINED"]
        for found in slotted:
            lines += self._parameter(found)
        if bodies:
            lines += self._body(bodies)
        if plan.limits is not None:
            lines += self._form()
        values = "".join(f"{name}, " for name in self.values)
        return [*lines, f"    return ({values.rstrip()})" if values else "    return ()"]

    def _slot(self, found: Input, name: str) -> int:
        slot = self._slots.get((found.place, name))
        if slot is None:
            raise RefusedError(f"{name} has no slot")
        return slot

    def _parameter(self, found: Input) -> list[str]:
        """Of several names the first that is there."""
        name, encoding = found.variable, _ENCODINGS[found.place]
        lines: list[str] = []
        for index, wire in enumerate(found.names):
            slot = self._slot(found, wire)
            lines += [f"    {'el' if index else ''}if o{slot}:"]
            if found.multi:
                lines += [
                    f"        {name} = texts(payload, o{slot}, n{slot}, {encoding!r})",
                    f"        if not {name}:",
                    "            return None",
                ]
                if found.place == "cookie":
                    raise RefusedError(f"{wire} is a list of cookies")
            else:
                lines += [f"        {name} = payload[o{slot} : o{slot} + n{slot}].{_DECODED[encoding]}"]
                if found.place == "cookie":  # Quoted ones are unquoted by http.cookies.
                    lines += [f"        if '\"' in {name}:", "            return None"]
            taken = [*self._validate(found, name, "        "), *self._located(found, index, "        ")]
            if not found.multi and field_annotation_is_sequence(found.field.field_info.annotation):
                # JSON of a list: an empty text is as good as none, whatever stands under other names.
                taken = [
                    f"        if not {name}:",
                    *self._absent(found, "            ", index),
                    "        else:",
                    *(("    " + line for line in taken) if taken else ["            pass"]),
                ]
            lines += taken
        return [*lines, "    else:", *self._absent(found, "        ")]

    def _located(self, found: Input, index: int, indent: str) -> list[str]:
        if not self._plan.ordered or len(found.names) == 1:
            return []
        return [f"{indent}{self.location_of(found)} = loc_{found.variable}_{index}"]

    def _validate(self, found: Input, value: str, indent: str) -> list[str]:
        validator = found.validator
        name = found.variable
        if validator is None or self._plan.ordered:
            return [] if value == name else [f"{indent}{name} = {value}"]
        self._names[f"validate_{name}"] = validator.validate_python
        # A text, or a list of them, has no attributes that pydantic would look at.
        how = "" if found.place in _ENCODINGS else ", from_attributes=True"
        return [f"{indent}{name} = validate_{name}({value}{how})"]

    def _absent(self, found: Input, indent: str, index: int = 0) -> list[str]:
        if self._plan.ordered:
            return [f"{indent}{found.variable} = UNDEFINED", *self._located(found, index, indent)]
        if found.required:
            return [f"{indent}return None"]
        name = found.variable
        if found.default_is_constant:
            self._names[f"default_{name}"] = default_of(found)
            return [f"{indent}{name} = default_{name}"]
        self._names[f"default_{name}"] = lambda: default_of(found)
        return [f"{indent}{name} = default_{name}()"]

    # JSON...

    @property
    def _strict(self) -> bool:
        strict = self._plan.context.strict_content_type
        return bool(strict.value if isinstance(strict, DefaultPlaceholder) else strict)

    @property
    def _content_type(self) -> str:
        slot = self._slots[CONTENT_TYPE]
        return f"payload[o{slot} : o{slot} + n{slot}]"

    def _body(self, bodies: list[Input]) -> list[str]:
        slot = self._slots[CONTENT_TYPE]
        given = "" if self._strict else f"o{slot} and "
        lines = ["    body = payload[body_at:]", "    if body:"]
        lines += [f"        if {given}not is_json({self._content_type}):", "            return None"]
        lines += ["        value = from_json(body)"]
        lines += ["        sent = value"] if self._plan.ordered else []
        named = [found for found in bodies if found.name]
        for found in bodies:  # Dependencies may take all of it, under one name, where others take a part.
            if not found.name:
                lines += self._validate(found, "value", "        ")
        lines += ["        if type(value) is not dict:", "            return None"] if named else []
        for found in named:
            for index, name in enumerate(found.names):
                lines += [
                    f"        {'el' if index else ''}if {name!r} in value:",
                    *self._validate(found, f"value[{name!r}]", "            "),
                    *self._located(found, index, "            "),
                ]
            lines += ["        else:", *self._absent(found, "            ")]
        lines += ["    else:"]
        for found in bodies:
            lines += self._absent(found, "        ")
        return lines

    # Forms...

    def _form(self) -> list[str]:
        plan, slot = self._plan, self._slots[CONTENT_TYPE]
        self._names["LIMITS"] = plan.limits
        kind = f"{self._content_type} if o{slot} else b''"
        lines = [f"    form = forms.read_form({kind}, payload[body_at:], LIMITS)"]
        lines += ["    if form is None:", "        return None"]
        if plan.ordered:
            return [*lines, "    sent = form.data"]
        if any(step.flat for step in plan.forms):
            lines += ["    fields = form.data._dict"]
        for step in plan.forms:
            lines += self._flat_form(step) if step.flat else self._form_by_fastapi(step)
        return lines

    def _flat_form(self, step: FormInput) -> list[str]:
        """What _get_multidict_value() finds: the last of a name, or all of them; what is empty is not there."""
        lines: list[str] = []
        for found in step.inputs:
            value = found.variable
            indent = "    "
            for wire in found.names:
                if found.multi:
                    lines += [
                        f"{indent}{value} = forms.usable(form.data.getlist({wire!r}))",
                        f"{indent}if {value}:",
                    ]
                else:
                    lines += [
                        f"{indent}{value} = fields.get({wire!r})",
                        f"{indent}if {value} and (type({value}) is str or not forms.is_empty_file({value})):",
                    ]
                lines += [*self._validate(found, value, indent + "    "), f"{indent}else:"]
                indent += "    "
            lines += self._absent(found, indent)
        return lines

    def _form_by_fastapi(self, step: FormInput) -> list[str]:
        first = step.inputs[0].variable
        self._names[f"fields_{first}"] = step.fields
        lines = [f"    values = forms.form_values(fields_{first}, form, {step.embed})"]
        lines += ["    if values is None:", "        return None"]
        return lines + [f"    {found.variable} = values[{found.field.name!r}]" for found in step.inputs]
