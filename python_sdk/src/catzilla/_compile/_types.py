"""Types whose instances JSON would tell otherwise than FastAPI does.

json.dumps() writes an instance of a subclass of str, int, dict and so on as its base would be; jsonable_encoder() asks
first whether it is an Enum or a dataclass. Nearly always both say the same. Where some class of this process is not so,
the compiled routes look closer (_outputs.exact_json).
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

_RAW: Final[dict[type, Callable[[Any], Any]]] = {str: str.__str__, int: int.__int__, float: float.__float__}
_VALUE: Final = inspect.getattr_static(Enum, "value")


def misleading_type() -> type | None:
    """The first one there is now."""
    for base in (*_RAW, dict, list, tuple):
        for kind in _below(base, set()):
            if _misleads(kind, base):
                return kind
    return None


def _below(kind: type, seen: set[type]) -> Iterator[type]:
    found: list[type] = type.__subclasses__(kind)
    for one in found:
        if one not in seen:
            seen.add(one)
            yield one
            yield from _below(one, seen)


def _misleads(kind: type, base: type) -> bool:
    if base not in _RAW and (kind.__name__[0] == "_" or kind.__module__.partition(".")[0] in sys.stdlib_module_names):
        return False  # ssl.Purpose, a cache of pytest's: in nobody's answer.
    if dataclasses.is_dataclass(kind) or issubclass(kind, PurePath):
        return True
    if not issubclass(kind, Enum):
        return base in (list, tuple) and kind.__iter__ is not base.__iter__  # type: ignore[attr-defined]
    raw = _RAW.get(base)
    if raw is None or inspect.getattr_static(kind, "value") is not _VALUE:
        return True
    members = kind.__members__.values()
    return any(type(one._value_) is not base or raw(one) != one._value_ for one in members)
