"""What the sidecar says of a request: which route of the app's table takes it, and its slots (frames.md, 4.3).

A second telling of `sidecar/route` and `sidecar/exchange/request_fields.cc`, so that frames can be made without the
sidecar. The first telling is held against Starlette's router in tests/conformance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from catzilla._routing import RouteEntry, Table
from catzilla._worker import _frames as frames

Fields = list[tuple[bytes, bytes]]
Slot = bytes | list[bytes] | None

# What the sidecar can match by itself; the app's own router decides about the rest.
_MATCHED = frozenset({"api", "starlette", "mount", "frontend"})
# RFC 9110 section 7.6.1: about this connection only.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_LENGTH_MAX = 0x7FFF
_OFFSET_MAX = 0xFFFF
# Host, addresses, ids and such, beside the target.
_OTHER_STRINGS = 1024


@dataclass(frozen=True, slots=True)
class Choice:
    """`entry` None: no route of the table takes it."""

    entry: RouteEntry | None
    slots: tuple[Slot, ...]
    flags: int

    @property
    def route_id(self) -> int:
        return frames.NO_ROUTE if self.entry is None else self.entry.id

    @property
    def kind(self) -> str:
        return "none" if self.entry is None else self.entry.kind


class Chooser:
    def __init__(self, table: Table) -> None:
        routes = sorted(table.routes, key=lambda e: (e.low_priority, e.declaration_index))
        self._routes = [(entry, _pattern(entry)) for entry in routes if entry.kind != "websocket"]

    def choose(self, method: str, path: bytes, query: bytes, fields: Fields) -> Choice:
        text = path.decode("utf-8", "replace")
        for entry, pattern in self._routes:
            if entry.kind not in _MATCHED:  # From here on only the app can tell.
                if entry.literal_prefix == "/" or text.startswith(entry.literal_prefix):
                    return Choice(None, (), 0)
                continue
            found = pattern.match(text)
            if found is None or (entry.methods and method not in entry.methods):
                continue
            if entry.host and entry.host != _host(fields):
                continue
            return Choice(entry, *_slots(entry, found.groupdict(), query, fields))
        return Choice(None, (), 0)


def _pattern(entry: RouteEntry) -> re.Pattern[str]:
    if entry.regex and entry.kind != "mount":
        return re.compile(entry.regex)
    prefix = entry.template.removesuffix("/{path:path}")
    return re.compile(f"^{re.escape(prefix)}/(?P<path>.*)$", re.DOTALL)


def _host(fields: Fields) -> str:
    host = next((value for name, value in fields if name == b"host"), b"")
    return host.decode("latin-1").partition(":")[0]


def _slots(
    entry: RouteEntry, path: dict[str, str], query: bytes, fields: Fields
) -> tuple[tuple[Slot, ...], int]:
    if not entry.inputs:
        return (), 0
    flags = 0
    pairs: list[tuple[bytes, bytes]] = []
    if any(wanted["place"] == "query" for wanted in entry.inputs):
        try:
            pairs = _query(query)
        except UnicodeDecodeError:
            flags |= frames.REQUEST_QUERY_NOT_UTF8
    given = {"query": pairs, "header": fields, "cookie": _cookies(fields)}
    slots: list[Slot] = [None] * len(entry.inputs)
    for wanted in entry.inputs:
        name = wanted["name"].encode()
        if wanted["place"] == "path":
            value = path.get(wanted["name"])
            slots[wanted["slot"]] = None if value is None else value.encode()
        else:
            values = [value for known, value in given[wanted["place"]] if known == name]
            slots[wanted["slot"]] = _of(values, wanted)
    if not fits(slots, _OTHER_STRINGS + 2 * len(query) + sum(map(len, path.values()))):
        return (None,) * len(slots), flags | frames.REQUEST_SLOTS_OVERFLOW
    return tuple(slots), flags


def _of(values: list[bytes], wanted: dict[str, Any]) -> Slot:
    """FastAPI takes a header's first value, and the last one of a query or a cookie."""
    if not values:
        return None
    if wanted["multi"]:
        return values
    return values[0] if wanted["place"] == "header" else values[-1]


def _query(query: bytes) -> list[tuple[bytes, bytes]]:
    """As Starlette reads it. Raises UnicodeDecodeError if the raw query is not UTF-8."""
    query.decode()
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return [(name.encode(), value.encode()) for name, value in pairs]


def _cookies(fields: Fields) -> list[tuple[bytes, bytes]]:
    """As Starlette strips them, who has text by then: NEL and the no-break space are blank too."""
    found: list[tuple[bytes, bytes]] = []
    for name, cookies in fields:
        if name == b"cookie":
            for cookie in cookies.decode("latin-1").split(";"):
                key, equals, value = cookie.strip().partition("=")
                if equals:
                    found.append((key.strip().encode("latin-1"), value.strip().encode("latin-1")))
    return found


def fits(slots: Sequence[Slot], before: int) -> bool:
    """Offsets have 16 bits, lengths 15; `before` bytes of other strings come first."""
    at = 120 + 4 * len(slots) + before
    for slot in slots:
        values = slot if isinstance(slot, list) else [slot or b""]
        table = 4 * len(values) if isinstance(slot, list) else 0
        if max(table, *map(len, values)) > _LENGTH_MAX:
            return False
        at += table + sum(map(len, values))
    return at <= _OFFSET_MAX
