"""mount_static: its options, and how they are served where no sidecar does it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from anyio import to_thread
from starlette.datastructures import URL
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from catzilla._exceptions import ConfigurationError

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOptions:
    """The sidecar's mount options; its own defaults hold for what is None."""

    name: str
    index_file: str = "index.html"
    cache_control: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    mime_types: Mapping[str, str] = field(default_factory=dict)
    etags: bool = True
    last_modified: bool = True
    ranges: bool = True
    hidden_files: bool = False
    symlinks: Literal["never", "inside", "anywhere"] = "inside"
    max_cached_file: str | None = None
    revalidate: str | None = None
    invalidation: Literal["immediate", "lazy", "ttl"] = "immediate"

    def check(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(f"mount_static: {self.name!r} is no name: use letters, digits, '.', '_' or '-'")
        if self.symlinks not in ("never", "inside", "anywhere"):
            raise ConfigurationError(f"mount_static: symlinks={self.symlinks!r}; use never, inside or anywhere")
        if self.invalidation not in ("immediate", "lazy", "ttl"):
            raise ConfigurationError(f"mount_static: invalidation={self.invalidation!r}; use immediate, lazy or ttl")
        if "/" in self.index_file:
            raise ConfigurationError(f"mount_static: index_file={self.index_file!r} is a path; give a file name")


def name_of(path: str) -> str:
    """A resource name for a mount: "/assets/img" -> "assets-img"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.strip("/"))[:64].strip("-") or "root"


class StaticMount(StaticFiles):
    """The plain ASGI side of mount_static: Starlette's StaticFiles with the same options.

    `max_cached_file`, `revalidate` and `invalidation` steer the sidecar's memory, which there is none of here.
    """

    def __init__(self, directory: str | os.PathLike[str], options: StaticOptions) -> None:
        options.check()
        root = Path(directory).absolute()
        if not root.is_dir():
            raise ConfigurationError(f"mount_static: {root} is not a directory: create it or correct the path")
        super().__init__(directory=root, html=False, follow_symlink=options.symlinks == "anywhere")
        self.root = root
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.options.ranges and scope["type"] == "http":
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        options = self.options
        path = "" if path == "." else path
        if self._refused(path):
            path = ""  # A directory is 404 here: the same answer as for a missing file.
        elif options.index_file and await self._is_directory(path):
            if not scope["path"].endswith("/"):
                url = URL(scope=scope)
                return RedirectResponse(url.replace(path=url.path + "/"))
            path = f"{path}/{options.index_file}" if path else options.index_file
        response = await super().get_response(path, scope)
        self._decorate(response, path)
        return response

    async def _is_directory(self, path: str) -> bool:
        def look() -> bool:
            return (self.root / path).is_dir()

        return await to_thread.run_sync(look)

    def _refused(self, path: str) -> bool:
        names = path.split("/")
        if not self.options.hidden_files and any(n.startswith(".") and n != ".well-known" for n in names):
            return True
        return self.options.symlinks == "never" and any(part.is_symlink() for part in self._parts(path))

    def _parts(self, path: str) -> list[Path]:
        target = self.root / path
        return [p for p in (target, *target.parents) if p != self.root and self.root in p.parents]

    def _decorate(self, response: Response, path: str) -> None:
        options, headers = self.options, response.headers
        if response.status_code not in (200, 206, 304):
            return
        for name, drop in (
            ("etag", not options.etags),
            ("last-modified", not options.last_modified),
            ("accept-ranges", not options.ranges),
        ):
            if drop and name in headers:
                del headers[name]
        kind = options.mime_types.get(path.rpartition(".")[2])
        if kind and response.status_code != 304:
            headers["content-type"] = kind
        if options.cache_control:
            headers["cache-control"] = options.cache_control
        headers.update(options.headers)

    def resource(self, prefix: str) -> dict[str, Any]:
        """As a Mount of the config schema, for the registration; only what differs from the defaults."""
        options = self.options
        fields: dict[str, Any] = {"name": options.name, "prefix": prefix or "/", "root": str(self.root)}
        for key in ("index_file", "etags", "last_modified", "ranges", "hidden_files"):
            value = getattr(options, key)
            if value != StaticOptions.__dataclass_fields__[key].default:
                fields[key] = value
        for key in ("cache_control", "max_cached_file", "revalidate"):
            if getattr(options, key) is not None:
                fields[key] = getattr(options, key)
        for key, default in (("symlinks", "inside"), ("invalidation", "immediate")):
            if getattr(options, key) != default:
                fields[key] = getattr(options, key)
        for key in ("headers", "mime_types"):
            if getattr(options, key):
                fields[key] = dict(getattr(options, key))
        return fields
