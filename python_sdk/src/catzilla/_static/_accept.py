"""What a client asks for beside the path: HTML or JSON, a page or a part of one. The sidecar's own tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from starlette.datastructures import Headers

_QUALITY: Final = re.compile(r"[01](\.\d{0,3})?")


def _items(headers: Headers) -> Iterator[tuple[str, float]]:
    """Of Accept: media types in lower case, each with its quality; what is no quality counts as 0."""
    for value in headers.getlist("accept"):
        for item in value.split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            quality = 1.0
            for parameter in parameters:
                key, equals, text = parameter.partition("=")
                if equals and key.strip().lower() == "q":
                    text = text.strip()
                    quality = float(text) if _QUALITY.fullmatch(text) and float(text) <= 1 else 0.0
                    break
            if name:
                yield name.lower(), quality


def _quality(headers: Headers, kind: str) -> float:
    found = dict(_items(headers))
    for name in (kind, kind.partition("/")[0] + "/*", "*/*"):
        if name in found:
            return found[name]
    return 0.0


def prefers_json(headers: Headers) -> bool:
    return _quality(headers, "application/json") > _quality(headers, "text/html")


def is_navigation(headers: Headers, path: str) -> bool:
    """A person who goes to a page, not the page that fetches its parts (sidecar/exchange/file_way.cc).

    The browser says so, or Accept names HTML (what "*/*" takes too is everybody's), and the path does not look like
    a file.
    """
    if "." in path.rpartition("/")[2]:
        return False
    mode = headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return any(name == "text/html" and quality > 0 for name, quality in _items(headers))
