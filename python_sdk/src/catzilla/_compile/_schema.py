"""Whether validating a value runs code of others: such validation must run once, where FastAPI runs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic.plugin._schema_validator import PluggableSchemaValidator
from pydantic_core import SchemaValidator

from catzilla._watchers import module_of

_OWN: Final = ("pydantic.", "pydantic_core.", "annotated_types.", "fastapi.")
_STANDARD: Final = frozenset(sys.stdlib_module_names) - {"__main__"}


def runs_user_code(schema: Any) -> bool:
    """Over a whole core schema, its definitions included (references are not followed: they stand there)."""
    todo: list[Any] = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if _is_of_user(node):
                return True
            todo.extend(value for key, value in node.items() if key not in ("metadata", "serialization"))
        elif isinstance(node, list | tuple):
            todo.extend(node)
    return False


def watcher_of(validator: Any) -> str:
    """Whose a validator is, if not pydantic's own; empty: it is.

    Where a plugin of pydantic is installed (Logfire has one), validators are of another class; those that it does not
    watch have the methods of the genuine one.
    """
    if type(validator) is SchemaValidator:
        return ""
    if type(validator) is not PluggableSchemaValidator:
        return type(validator).__module__
    genuine = validator.__pydantic_schema_validator__
    for name in ("validate_python", "validate_json"):
        if getattr(validator, name) != getattr(genuine, name):
            return module_of(getattr(validator, name))
    return ""


def _is_of_user(node: dict[Any, Any]) -> bool:
    kind = node.get("type")
    if not isinstance(kind, str):
        return False
    if kind.startswith("function-"):
        function = node["function"]
        return not _is_own(function["function"] if isinstance(function, dict) else function)
    if kind == "default":
        return _runs_user_factory(node.get("default_factory"))
    if kind == "model":
        name = node.get("post_init")
        private = getattr(node["cls"], "__private_attributes__", {}).values()
        if any(_runs_user_factory(one.default_factory) for one in private):
            return True
        return bool(node.get("custom_init")) or (name is not None and not _is_own(getattr(node["cls"], name, None)))
    if kind == "dataclass":
        return bool(node.get("post_init"))
    if kind == "enum":
        return node.get("missing") is not None
    if kind == "tagged-union":
        return callable(node.get("discriminator"))
    return kind in ("call", "custom-error") and callable(node.get("function"))


def _runs_user_factory(factory: Any) -> bool:
    while isinstance(factory, partial):
        factory = factory.func
    return factory is not None and not (
        _is_own(factory) or _module_of(factory) in _STANDARD or factory in (list, dict, set, str, int)
    )


def _is_own(function: Callable[..., Any] | None) -> bool:
    module = _module_of(function)
    return module in ("pydantic", "pydantic_core") or module.startswith(_OWN)


def _module_of(function: Any) -> str:
    return getattr(function, "__module__", None) or ""
