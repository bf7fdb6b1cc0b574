"""StaticMount: mount_static where no sidecar serves it."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from anyio import to_thread
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from catzilla._exceptions import ConfigurationError
from catzilla._static._accept import is_navigation, prefers_json
from catzilla._static._files import Directory, File, Files, Found, Refusal
from catzilla._static._listing import URL_PATH, Listing, listing_fields, write_listing
from catzilla._static._options import StaticOptions
from catzilla._static._rules import Rules

_RANGE: Final = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")
_ALLOW: Final = {"Allow": "GET, HEAD, OPTIONS"}
_FALLBACK_VARY: Final = "Accept, Sec-Fetch-Mode"
# Of a file that is sent as an error's page: it is not what was asked for.
_NOT_OF_A_PAGE: Final = ("etag", "last-modified", "accept-ranges", "cache-control")


class StaticMount(StaticFiles):
    """The plain ASGI side of mount_static: the same files, the same refusals and the same fields as the sidecar's.

    `max_cached_file`, `cache_memory`, `cache_entries`, `revalidate`, `invalidation`, `preload`, `precompressed`,
    `gzip_*` and `rate_limit` steer the sidecar's memory, coding and sending, which there is none of here: every file
    is read when it is asked for, and sent as it is.
    """

    def __init__(self, directory: str | os.PathLike[str], options: StaticOptions) -> None:
        root = Path(directory).absolute()
        if not root.is_dir():
            raise ConfigurationError(f"mount_static: {root} is not a directory: create it or correct the path")
        super().__init__(directory=root, html=False, follow_symlink=options.symlinks == "anywhere")
        self.root = root
        self.options = options
        self._rules = Rules(options)
        self._files = Files(str(root), options, self._rules)

    def resource(self, prefix: str) -> dict[str, Any]:
        """As a Mount of the config schema, for the registration; only what differs from the defaults."""
        return {"prefix": prefix or "/", "root": str(self.root)} | self.options.resource()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__({**scope}, receive, send)  # Our own: _file() may take a Range away.

    async def get_response(self, path: str, scope: Scope) -> Response:
        # Not `path`: it has lost its slash at the end.
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=_ALLOW)
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers=_ALLOW)
        whole = scope["path"]
        prefix = whole.removesuffix(get_route_path(scope))
        clean = without_dot_segments(whole)
        if clean is None or not clean.startswith(prefix + "/"):
            raise HTTPException(400)  # A way around what stands before the mount.
        names = [name for name in clean[len(prefix) :].split("/") if name]
        found = await self._find("/".join(names), as_directory=clean.endswith("/"))
        if isinstance(found, Refusal):
            return await self._instead(found, clean, scope)
        return await self._answer(found, prefix, clean, scope)

    async def _find(self, path: str, *, as_directory: bool = False) -> Found:
        return await to_thread.run_sync(lambda: self._files.find(path, as_directory=as_directory))

    async def _instead(self, refusal: Refusal, path: str, scope: Scope) -> Response:
        """A one-page app's own paths are no files: its page finds its way by itself; and an error may have a page."""
        options, status = self.options, refusal.status
        if options.spa_fallback and refusal.is_missing and is_navigation(Headers(scope=scope), path):
            page = await self._find(options.spa_fallback)
            if isinstance(page, File):
                response = self._file(page, scope)
                response.headers.add_vary_header(_FALLBACK_VARY)
                return response
            status = page.status if isinstance(page, Refusal) else 404
        fields = {"Vary": _FALLBACK_VARY} if status == 404 and options.spa_fallback else {}
        if status == 503:
            fields["Retry-After"] = "1"
        if status in options.error_pages:
            page = await self._find(options.error_pages[status])
            if isinstance(page, File):
                return self._page(page, status, fields)
        raise HTTPException(status, headers=fields or None)

    async def _answer(self, found: Directory | File | Listing, prefix: str, path: str, scope: Scope) -> Response:
        if isinstance(found, File):
            return self._file(found, scope)
        if isinstance(found, Directory):
            # One slash in front: "//host/" would be another server's.
            where = "/" + quote(path.lstrip("/").encode("utf-8", "surrogateescape"), safe=URL_PATH) + "/"
            query = scope["query_string"].decode("latin-1")
            return Response(status_code=301, headers={"Location": f"{where}?{query}" if query else where})
        is_page = self.options.directory_listing == "html"
        as_json = not is_page or prefers_json(Headers(scope=scope))
        body = await to_thread.run_sync(lambda: write_listing(found, prefix, as_json=as_json))
        response = Response(body, headers=listing_fields(as_json=as_json, chosen=is_page))
        _put(response.headers, self._rules.headers(""))
        return response

    def _file(self, file: File, scope: Scope) -> Response:
        response: Response = FileResponse(file.path, stat_result=file.status)
        modified = stat_time(file.status)
        # The times 0 and 1 are what images and reproducible builds set: they say nothing. Nor does the future.
        dated = self.options.last_modified and 1 < modified <= time.time()
        for name, keep in (
            ("etag", self.options.etags),
            ("last-modified", dated),
            ("accept-ranges", self.options.ranges),
        ):
            if not keep:
                del response.headers[name]
        if not self._takes_range(response.headers, scope):
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"range"]
        if self._not_modified(response.headers, Headers(scope=scope)):
            response = NotModifiedResponse(response.headers)
        else:
            response.headers["content-type"] = self._rules.content_type(file.name)
        caching = self._rules.cache_control(file.name)
        _put(response.headers, ({"cache-control": caching} if caching else {}) | self._rules.headers(file.name))
        return response

    def _not_modified(self, fields: Headers, asked: Headers) -> bool:
        tag = asked.get("if-none-match")
        if tag is not None and "etag" not in fields:
            return tag.strip() == "*"
        return self.is_not_modified(fields, asked)

    def _takes_range(self, fields: Headers, scope: Scope) -> bool:
        """Whether a GET's Range is one; of what is none, and of what may have changed, the whole is sent."""
        asked = Headers(scope=scope)
        ranges = asked.getlist("range")
        if len(ranges) != 1 or not self.options.ranges or scope["method"] != "GET":
            return False
        validator, known = asked.get("if-range"), (fields.get("etag"), fields.get("last-modified"))
        if validator is not None and (validator not in known or None in known):
            return False
        unit, _, text = ranges[0].partition("=")
        specs = [_RANGE.fullmatch(item.strip()) for item in text.split(",") if item.strip()]
        return unit.strip().lower() == "bytes" and bool(specs) and all(map(_is_range, specs))

    def _page(self, file: File, status: int, fields: Mapping[str, str]) -> Response:
        response = FileResponse(file.path, status_code=status, stat_result=file.status)
        _put(response.headers, self._rules.headers(file.name))
        for name in _NOT_OF_A_PAGE:
            del response.headers[name]
        response.headers["content-type"] = self._rules.content_type(file.name)
        _put(response.headers, fields)
        return response


def _is_range(spec: re.Match[str] | None) -> bool:
    first, last = spec.groups() if spec else ("", "")
    return bool(first or last) and not (first and last and int(last) < int(first))


def _put(headers: MutableHeaders, fields: Mapping[str, str]) -> None:
    for name, value in fields.items():
        if name.lower() == "vary":
            headers.add_vary_header(value)
        else:
            headers[name] = value


def stat_time(status: os.stat_result) -> int:
    return int(status[stat.ST_MTIME])


def without_dot_segments(path: str) -> str | None:
    """RFC 3986 section 5.2.4 on a decoded path; None: it leads above the root."""
    out: list[str] = []
    names = path.split("/")[1:]
    for at, name in enumerate(names):
        if name == ".." and not out:
            return None
        if name == "..":
            out.pop()
        if name not in (".", ".."):
            out.append(name)
        elif at == len(names) - 1:
            out.append("")
    return "/" + "/".join(out)
