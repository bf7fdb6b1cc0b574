"""What mount_static can be told: one field per option, named and meant as in the sidecar's Mount (config.proto).

Each field has a check beside it: a function that says what is wrong with a value, or None. What needs the sidecar
to judge (durations, bounds, whether it sees the folder) is left to the sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Final, Literal, get_args

from catzilla._exceptions import ConfigurationError
from catzilla._static import _checks as check

Coding = Literal["br", "zstd", "gzip"]
Fingerprinted = Literal["off", "immutable"]
Invalidation = Literal["immediate", "lazy", "ttl"]
Listing = Literal["off", "html", "json"]
Symlinks = Literal["never", "inside", "anywhere"]


def _option(default: Any, judge: check.Check) -> Any:
    if isinstance(default, Mapping):
        return field(default_factory=dict, metadata={"check": judge})
    return field(default=default, metadata={"check": judge})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRule:
    """What is said of files whose path matches, instead of what the mount says of all; the first that does decides.

    `match`: patterns as in `blocked_patterns`; one is enough. `cache_control`: instead of the mount's own, and of
    `fingerprinted`; "": none is sent. `headers`: added to the mount's own; with the name of one of those: instead.
    """

    match: Sequence[str] = _option((), check.patterns)
    cache_control: str | None = _option(None, check.optional(check.field_value))
    headers: Mapping[str, str] = _option({}, check.headers)

    def __post_init__(self) -> None:
        _settle(self, "FileRule")
        if not self.match:
            raise ConfigurationError('FileRule: match is empty: say of which files, for example match=["*.js"]')
        if self.cache_control is None and not self.headers:
            raise ConfigurationError("FileRule: it says nothing of the files: give cache_control or headers")


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOptions:
    """The sidecar's mount options; its own defaults hold for what is None. ConfigurationError for what cannot be."""

    name: str = _option("root", check.name)
    index_file: str = _option("index.html", check.empty_or(check.file_name))
    index_files: Sequence[str] = _option((), check.each(check.file_name))
    cache_control: str | None = _option(None, check.optional(check.field_value))
    headers: Mapping[str, str] = _option({}, check.headers)
    mime_types: Mapping[str, str] = _option({}, check.mapping(check.extension, check.media_type))
    charset: str = _option("utf-8", check.charset)
    etags: bool = _option(True, check.flag)
    last_modified: bool = _option(True, check.flag)
    ranges: bool = _option(True, check.flag)
    hidden_files: bool = _option(False, check.flag)
    symlinks: Symlinks = _option("inside", check.word(*get_args(Symlinks)))
    allowed_extensions: Sequence[str] = _option((), check.each(check.extension))
    blocked_extensions: Sequence[str] = _option((), check.each(check.extension))
    blocked_patterns: Sequence[str] = _option((), check.patterns)
    max_file_size: str | None = _option(None, check.optional(check.size))
    directory_listing: Listing = _option("off", check.word(*get_args(Listing)))
    spa_fallback: str = _option("", check.empty_or(check.file_below))
    error_pages: Mapping[int, str] = _option({}, check.mapping(check.error_status, check.file_below))
    fingerprinted: Fingerprinted = _option("off", check.word(*get_args(Fingerprinted)))
    file_rules: Sequence[FileRule] = _option((), check.each(check.instance(FileRule)))
    precompressed: Sequence[Coding] = _option((), check.each(check.word(*get_args(Coding))))
    gzip_level: int = _option(0, check.number(0, 9))
    gzip_min_size: str | None = _option(None, check.optional(check.text))
    gzip_types: Sequence[str] = _option((), check.each(check.media_type))
    max_cached_file: str | None = _option(None, check.optional(check.text))
    preload: Sequence[str] = _option((), check.patterns)
    cache_memory: str | None = _option(None, check.optional(check.text))
    cache_entries: int = _option(0, check.number(0, 100_000_000))
    rate_limit: str | None = _option(None, check.optional(check.text))
    revalidate: str | None = _option(None, check.optional(check.text))
    invalidation: Invalidation = _option("immediate", check.word(*get_args(Invalidation)))

    def __post_init__(self) -> None:
        _settle(self, "mount_static")
        if self.index_files and self.index_file not in ("", "index.html"):
            raise ConfigurationError("mount_static: index_file and index_files: put all names into index_files")
        both = {e.lower() for e in self.allowed_extensions} & {e.lower() for e in self.blocked_extensions}
        if both:
            raise ConfigurationError(f"mount_static: {min(both)!r} is in allowed_extensions and in blocked_extensions")
        if self.gzip_types and not self.gzip_level:
            raise ConfigurationError("mount_static: gzip_types needs a gzip_level from 1 to 9 (6 is usual)")
        if self.cache_entries and self.cache_memory is None:
            raise ConfigurationError("mount_static: cache_entries needs cache_memory: the shared cache counts bytes")

    @property
    def indexes(self) -> Sequence[str]:
        return self.index_files or ((self.index_file,) if self.index_file else ())

    def resource(self) -> dict[str, Any]:
        """As a Mount of the config schema: the name, and what differs from the defaults."""
        return {"name": self.name} | _said(self)


def name_of(path: str) -> str:
    """A resource name for a mount: "/assets/img" -> "assets-img"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.strip("/"))[:64].strip("-") or "root"


def parse_size(text: str) -> int:
    """ "64KiB", "1.5MB", "0": bytes. The form has been checked."""
    found = check.SIZE.fullmatch(text)
    if found is None:
        return 0
    whole, _, fraction = found[1].partition(".")
    factor = _UNITS[found[2]]
    return int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def _settle(options: FileRule | StaticOptions, what: str) -> None:
    """Checks every field; lists and mappings become our own copies."""
    for one in fields(options):
        value = getattr(options, one.name)
        problem = one.metadata["check"](value)
        if problem:
            raise ConfigurationError(f"{what}: {one.name}: {problem}")
        if isinstance(value, Mapping):
            object.__setattr__(options, one.name, dict(value))
        elif isinstance(_default(one), tuple):
            object.__setattr__(options, one.name, tuple(value))


def _said(options: FileRule | StaticOptions) -> dict[str, Any]:
    values = {one.name: (getattr(options, one.name), _default(one)) for one in fields(options)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _plain(value: Any) -> Any:
    """For JSON."""
    if isinstance(value, FileRule):
        return _said(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): text for key, text in value.items()}
    return value


_UNITS: Final = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
