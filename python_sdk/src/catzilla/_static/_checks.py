"""Checks of option values: each says what is wrong and what to write instead, or None. The sidecar's own rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from catzilla._static._pattern import Pattern

Check = Callable[[Any], str | None]

SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]{1,9})?)([KMGT]i?B|kB|B)")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FIELD_VALUE: Final = re.compile(r"([^\x00-\x08\x0a-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_PATTERNS_MAX: Final = 64
# Written by whoever serves the file.
_OURS: Final = frozenset(
    ["accept-ranges", "connection", "content-encoding", "content-length", "content-range", "content-type", "date",
     "etag", "keep-alive", "last-modified", "server", "te", "trailer", "transfer-encoding", "upgrade"]
)  # fmt: skip


# Made of others...


def optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def empty_or(check: Check) -> Check:
    return lambda value: None if value == "" else check(value)


def word(*words: str) -> Check:
    return lambda value: None if value in words else f"{value!r}; use {', '.join(words[:-1])} or {words[-1]}"


def number(low: int, high: int) -> Check:
    def check(value: Any) -> str | None:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if good else f"{value!r} is no number from {low} to {high}"

    return check


def instance(kind: type) -> Check:
    return lambda value: None if isinstance(value, kind) else f"{value!r} is no {kind.__name__}(...)"


def each(check: Check) -> Check:
    def check_all(value: Any) -> str | None:
        if not isinstance(value, list | tuple):
            return f"{value!r} is no list; write it as [{value!r}]"
        return next(filter(None, map(check, value)), None)

    return check_all


def mapping(key: Check, content: Check) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return f"{value!r} is no dict"
        for one, what in value.items():
            problem = key(one) or content(what)
            if problem:
                return problem
        return None

    return check


# Plain...


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"{value!r}; use True or False"


def text(value: Any) -> str | None:
    return None if isinstance(value, str) else f"{value!r} is no text"


def name(value: Any) -> str | None:
    good = isinstance(value, str) and _NAME.fullmatch(value)
    return None if good else f"{value!r} is no name: use letters, digits, '.', '_' or '-'"


def size(value: Any) -> str | None:
    good = isinstance(value, str) and (value == "0" or SIZE.fullmatch(value))
    return None if good else f"{value!r} is no size: write a number with its unit, for example 512B, 64KiB or 10MiB"


def charset(value: Any) -> str | None:
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]+", value)
    return None if good else f"{value!r} is no charset, for example utf-8, or off"


# Names and paths...


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", ".", "..") and not set("/\\\0") & set(value)


def file_name(value: Any) -> str | None:
    return None if _is_name(value) else f"{value!r} is no file name: name a file inside the directory"


def file_below(value: Any) -> str | None:
    good = isinstance(value, str) and all(_is_name(one) and one[0] != "." for one in value.split("/"))
    return None if good else f"{value!r} is no path of a visible file below the root, for example 404.html"


def extension(value: Any) -> str | None:
    good = isinstance(value, str) and value and not set("./\\*?[") & set(value)
    return None if good else f"{value!r} is no extension: write it without the dot, for example env"


def _pattern(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"{value!r} is no text"
    try:
        Pattern(value)
    except ValueError as error:
        return f"{error}; for example *.bak or private/**"
    return None


def patterns(value: Any) -> str | None:
    problem = each(_pattern)(value)
    if problem is None and len(value) > _PATTERNS_MAX:
        return f"{len(value)} patterns, and one list takes {_PATTERNS_MAX}: write fewer and wider ones"
    return problem


# Fields of answers...


def field_value(value: Any) -> str | None:
    good = isinstance(value, str) and _FIELD_VALUE.fullmatch(value)
    return None if good else f"{value!r} has control characters or spaces at an end, or is no text"


def _field_name(value: Any) -> str | None:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        return f"{value!r} is no field name: use letters, digits and '-'"
    if value.lower() in _OURS:
        return f"{value!r} is written by the server itself; mime_types, cache_control and etags change what is sent"
    return None


headers: Final = mapping(_field_name, field_value)


def media_type(value: Any) -> str | None:
    good = isinstance(value, str) and "/" in value and _TOKEN.fullmatch(value.partition("/")[0])
    return field_value(value) if good else f"{value!r} is no media type, for example image/webp"


def error_status(value: Any) -> str | None:
    good = isinstance(value, int) and value in (403, 404, 503)
    return None if good else f"{value!r} is no status that has a page: 403, 404 and 503 have"
