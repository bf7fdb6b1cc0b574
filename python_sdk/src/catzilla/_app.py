"""class Catzilla: FastAPI, and what the sidecar adds to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from fastapi import FastAPI

from catzilla._exceptions import ConfigurationError
from catzilla._settings import WORKER_ENVIRONMENT
from catzilla._static import FileRule, StaticMount, StaticOptions, name_of
from catzilla._static._options import Coding, Fingerprinted, Invalidation, Listing, Symlinks

_NO_MAIN: Final = 'call it under `if __name__ == "__main__":`, or start the app with `catzilla run module:app`'


class Catzilla(FastAPI):
    """A FastAPI app. With `catzilla run` it stands behind the sidecar; any ASGI server runs it without one."""

    def mount_static(
        self,
        path: str,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        index_file: str = "index.html",
        index_files: Sequence[str] = (),
        cache_control: str | None = None,
        headers: Mapping[str, str] | None = None,
        mime_types: Mapping[str, str] | None = None,
        charset: str = "utf-8",
        etags: bool = True,
        last_modified: bool = True,
        ranges: bool = True,
        hidden_files: bool = False,
        symlinks: Symlinks = "inside",
        allowed_extensions: Sequence[str] = (),
        blocked_extensions: Sequence[str] = (),
        blocked_patterns: Sequence[str] = (),
        max_file_size: str | None = None,
        directory_listing: Listing = "off",
        spa_fallback: str = "",
        error_pages: Mapping[int, str] | None = None,
        fingerprinted: Fingerprinted = "off",
        file_rules: Sequence[FileRule] = (),
        precompressed: Sequence[Coding] = (),
        gzip_level: int = 0,
        gzip_min_size: str | None = None,
        gzip_types: Sequence[str] = (),
        max_cached_file: str | None = None,
        preload: Sequence[str] = (),
        cache_memory: str | None = None,
        cache_entries: int = 0,
        rate_limit: str | None = None,
        revalidate: str | None = None,
        invalidation: Invalidation = "immediate",
    ) -> None:
        """Serves the files below `directory` at `path`.

        The sidecar does it, without Python, if nothing of the app stands before the mount: no user middleware,
        no route declared earlier that could answer below `path`. Otherwise, and without a sidecar, StaticMount (a
        Starlette StaticFiles) does, by the same rules; `catzilla routes` says which and why. Declare it behind the
        routes: it answers all that is left.

        A pattern is `*.bak` (about a single name, wherever it stands), `private/**` or `/private` (with a slash:
        from the root); `*`, `?` and `[a-z]` stop at a slash, `**` and `**/` do not. Sizes are text with a unit
        ("64KiB", "10MiB"), durations too ("500ms", "30s").

        What is served:
            index_file, index_files: served for a directory; of several the first that is there. "": none.
            directory_listing: a directory without an index is "off" (404), "html" (JSON for clients that prefer
                it) or "json".
            spa_fallback: a file below the root that answers navigations to what is missing.
            error_pages: 403, 404 or 503 -> a file below the root that is sent with it.
            hidden_files: also names that begin with a dot (.well-known always is).
            symlinks: "never" followed, "inside" the root, or "anywhere".
            allowed_extensions: files with another one are 404; without the dot, in any case.
            blocked_extensions: files with such a one are 404, with their compressed siblings (a.env.gz).
            blocked_patterns: paths that match are 404, with all below them.
            max_file_size: larger files are 404.

        What is said of it:
            cache_control: the Cache-Control field of 200, 206 and 304.
            headers: added to each of these.
            fingerprinted: with "immutable" names such as app.3f2a1b9c.js are cached for a year.
            file_rules: FileRule(match=[...], cache_control=..., headers={...}); the first that matches decides.
            mime_types: extension without the dot -> media type. charset: of text types; "off": none.
            etags, last_modified, ranges: whether they are sent, and asked for.

        How the sidecar holds, codes and sends it. Without a sidecar these change nothing: files are read when they
        are asked for and sent as they are, which every client takes.
            precompressed: of "br", "zstd", "gzip": files beside a file (a.js.br, .zst, .gz), for clients that
                accept them.
            gzip_level: 1 to 9: files that are kept in memory are compressed once; 0: none. gzip_min_size: smaller
                ones are not; gzip_types: only these media types, "text/*" for all of a kind.
            max_cached_file: larger files are not kept in memory. preload: patterns of files that are opened at once.
            cache_memory: a file cache of the mount's own; without it the sidecar's is shared by all mounts.
            cache_entries: the most files in it, whatever they take; 0: only the bytes count.
            rate_limit: bytes per second of one answer, after a first second's worth at once.
            revalidate, invalidation: how soon a change on disk is seen.

        Raises ConfigurationError for what cannot be; the rest (durations, folders it cannot see) the sidecar tells
        when the app starts.
        """
        if not path.startswith("/"):
            raise ConfigurationError(f"mount_static: {path!r} does not begin with '/'")
        path = path.rstrip("/")
        options = StaticOptions(
            name=name or name_of(path),
            index_file=index_file,
            index_files=index_files,
            cache_control=cache_control,
            headers=headers or {},
            mime_types=mime_types or {},
            charset=charset,
            etags=etags,
            last_modified=last_modified,
            ranges=ranges,
            hidden_files=hidden_files,
            symlinks=symlinks,
            allowed_extensions=allowed_extensions,
            blocked_extensions=blocked_extensions,
            blocked_patterns=blocked_patterns,
            max_file_size=max_file_size,
            directory_listing=directory_listing,
            spa_fallback=spa_fallback,
            error_pages=error_pages or {},
            fingerprinted=fingerprinted,
            file_rules=file_rules,
            precompressed=precompressed,
            gzip_level=gzip_level,
            gzip_min_size=gzip_min_size,
            gzip_types=gzip_types,
            max_cached_file=max_cached_file,
            preload=preload,
            cache_memory=cache_memory,
            cache_entries=cache_entries,
            rate_limit=rate_limit,
            revalidate=revalidate,
            invalidation=invalidation,
        )
        apps = [getattr(route, "app", None) for route in self.routes]
        taken = {app.options.name for app in apps if isinstance(app, StaticMount)}
        if options.name in taken:
            raise ConfigurationError(f"mount_static: {path or '/'}: the name {options.name!r} is taken; give name=")
        self.mount(path, StaticMount(directory, options), name=options.name)

    def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        workers: int = 1,
        reload: bool = False,
        config: str | os.PathLike[str] | None = None,
        ops_port: int | None = None,
    ) -> NoReturn:
        """Becomes `catzilla run` for this app; does not return. More options: `catzilla run --help`."""
        if os.environ.get(WORKER_ENVIRONMENT):
            raise ConfigurationError(f"app.listen() was called while a worker imports the app: {_NO_MAIN}")
        command = [sys.executable, "-m", "catzilla", "run", self._target(), "--host", host, "--port", str(port)]
        command += ["--workers", str(workers)]
        if reload:
            command.append("--reload")
        if config is not None:
            command += ["--config", os.fspath(config)]
        if ops_port is not None:
            command += ["--ops-port", str(ops_port)]
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, command)

    run = listen

    def _target(self) -> str:
        """How a fresh process finds this app: "file.py:name" for a script, "module:name" otherwise."""
        for module_name in ("__main__", *sys.modules):
            module = sys.modules.get(module_name)
            for name, value in vars(module).items() if module is not None else ():
                if value is not self:
                    continue
                if module_name != "__main__":
                    return f"{module_name}:{name}"
                spec = getattr(module, "__spec__", None)  # python -m package.module
                file = getattr(module, "__file__", None)
                if spec is not None:
                    return f"{spec.name}:{name}"
                if file is not None:
                    return f"{Path(file).absolute()}:{name}"
        raise ConfigurationError(f"app.listen() cannot find the module that holds this app; {_NO_MAIN}")
