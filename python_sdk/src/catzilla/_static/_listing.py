"""What a directory without an index file shows: a plain page for people, the sidecar's JSON for programs."""

from __future__ import annotations

import html
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

NAMES_READ_MAX: Final = 65_536
ENTRIES_MAX: Final = 5_000
URL_PATH: Final = "/!$&'()*+,;=:@"
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"


@dataclass(frozen=True, slots=True)
class ListedFile:
    name: str
    is_directory: bool
    size: int
    modified: int

    @property
    def href(self) -> str:
        # "./" in front: a name with a colon is no scheme.
        return "./" + quote(os.fsencode(self.name), safe=URL_PATH) + ("/" if self.is_directory else "")

    @property
    def time(self) -> str:
        return datetime.fromtimestamp(self.modified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Listing:
    """Directories first, each sorted by name."""

    path: str  # Below the mount.
    files: list[ListedFile]
    cut: bool


def listing_fields(*, as_json: bool, chosen: bool) -> dict[str, str]:
    """`chosen`: the client's Accept decided about the format."""
    fields = {
        "content-type": "application/json" if as_json else "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
    }
    if chosen:
        fields["vary"] = "Accept"
    if not as_json:
        fields["content-security-policy"] = _POLICY
    return fields


def write_listing(listing: Listing, prefix: str, *, as_json: bool) -> bytes:
    """`prefix`: where the mount is, without a slash at its end."""
    path = f"{prefix}/{listing.path}" + ("/" if listing.path else "")
    return (_json(listing, path) if as_json else _html(listing, path)).encode()


def _shown(name: str) -> str:
    """Bytes that are no text, as U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def _json(listing: Listing, path: str) -> str:
    entries = []
    for file in listing.files:
        entry: dict[str, str | int] = {"name": _shown(file.name), "type": "directory" if file.is_directory else "file"}
        if not file.is_directory:
            entry["size"] = file.size
        entries.append(entry | {"mtime": file.time, "href": file.href})
    body = {"path": _shown(path), "entries": entries, "truncated": listing.cut}
    # '<' too: a body that somebody takes for HTML must not become it.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c") + "\n"


def _html(listing: Listing, path: str) -> str:
    title = html.escape(f"Index of {_shown(path)}")
    rows = ['<tr><td><a href="../">..</a></td></tr>\n'] if listing.path else []
    for file in listing.files:
        name = html.escape(_shown(file.name)) + ("/" if file.is_directory else "")
        size = "" if file.is_directory else f"{file.size} B"
        rows.append(
            f'<tr><td><a href="{html.escape(file.href)}">{name}</a></td><td>{size}</td><td>{file.time}</td></tr>\n'
        )
    rest = f"<p>There is more: only the first {len(listing.files)} names are shown.</p>\n" if listing.cut else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<table>\n{''.join(rows)}</table>\n{rest}</body></html>\n"
    )
