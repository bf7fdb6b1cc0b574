"""What of a mount is served, and how it is labelled: the sidecar's rules (sidecar/files/rules.cc), to the byte."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final

from catzilla._static._options import FileRule, StaticOptions, parse_size
from catzilla._static._pattern import Pattern
from catzilla._static._types import BUILT_IN_CHARSET, media_type

_SIBLINGS: Final = (b".gz", b".br", b".zst")
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_FINGERPRINT: Final = re.compile(rb"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9]{8,}")


class Rules:
    """Immutable; any thread. Paths are relative to the mount, without a slash in front."""

    def __init__(self, options: StaticOptions) -> None:
        self._options = options
        self._allowed = _lower(options.allowed_extensions)
        self._blocked = _lower(options.blocked_extensions)
        self._patterns = [Pattern(text) for text in options.blocked_patterns]
        self._size_max = parse_size(options.max_file_size) if options.max_file_size else 0
        self._types = {extension.lower(): kind for extension, kind in options.mime_types.items()}
        self._rules = [([Pattern(text) for text in rule.match], rule) for rule in options.file_rules]

    def allows_path(self, path: str) -> bool:
        """Whether it may be opened at all; else it is as if missing."""
        name = os.fsencode(path).rstrip(b"/")
        original = _original(name)
        return not any(
            pattern.matches_or_holds(name) or (original and pattern.matches(original)) for pattern in self._patterns
        )

    def allows_file(self, path: str, size: int) -> bool:
        """Of a regular file: its extension and size too. "a.env.gz" is blocked with "a.env"."""
        if (self._size_max and size > self._size_max) or not self.allows_path(path):
            return False
        name = os.fsencode(path)
        extension, original = _extension(name), _original(name)
        if self._allowed and extension not in self._allowed:
            return False
        return extension not in self._blocked and not (original and _extension(original) in self._blocked)

    def content_type(self, path: str) -> str:
        kind, charset = media_type(path, self._types), self._options.charset
        if not kind.endswith(BUILT_IN_CHARSET):
            return kind
        kind = kind.removesuffix(BUILT_IN_CHARSET)
        return kind if charset == "off" else f"{kind}; charset={charset}"

    def cache_control(self, path: str) -> str:
        """Empty: none."""
        rule = self._rule_of(path)
        if rule is not None and rule.cache_control is not None:
            return rule.cache_control
        if self._options.fingerprinted == "immutable" and is_fingerprinted(path):
            return _IMMUTABLE
        return self._options.cache_control or ""

    def headers(self, path: str) -> dict[str, str]:
        """The mount's own fields, and those of the file's rule."""
        rule = self._rule_of(path)
        if rule is None:
            return dict(self._options.headers)
        replaced = {name.lower() for name in rule.headers}
        own = {name: value for name, value in self._options.headers.items() if name.lower() not in replaced}
        return own | dict(rule.headers)

    def _rule_of(self, path: str) -> FileRule | None:
        name = os.fsencode(path)
        for patterns, rule in self._rules:
            if any(pattern.matches(name) for pattern in patterns):
                return rule
        return None


def is_fingerprinted(path: str) -> bool:
    """app.3f2a1b9c.js, index-Diwr4Tda.css: eight or more letters and digits, both among them, set off by '.' or '-'."""
    name = os.fsencode(path).rpartition(b"/")[2]
    # "app.3f2a1b9c.js.map" counts too: the part may stand further in front.
    while (dot := name.rfind(b".")) > 0:
        name = name[:dot]
        begin = max(name.rfind(b"."), name.rfind(b"-"))
        if begin <= 0:
            return False
        if _FINGERPRINT.fullmatch(name, begin + 1):
            return True
    return False


def _lower(extensions: Iterable[str]) -> frozenset[bytes]:
    # bytes.lower() knows ASCII only, as the sidecar does.
    return frozenset(os.fsencode(extension).lower() for extension in extensions)


def _extension(path: bytes) -> bytes:
    _, dot, extension = path.rpartition(b"/")[2].rpartition(b".")
    return extension.lower() if dot else b""


def _original(path: bytes) -> bytes:
    """ "a.env" of "a.env.gz"; empty: it is nobody's sibling."""
    for suffix in _SIBLINGS:
        if len(path) > len(suffix) and path.lower().endswith(suffix):
            return path[: -len(suffix)]
    return b""
