"""class Catzilla: FastAPI, and what the sidecar adds to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NoReturn

from fastapi import FastAPI

from catzilla._exceptions import ConfigurationError
from catzilla._settings import WORKER_ENVIRONMENT
from catzilla._static import StaticMount, StaticOptions, name_of

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
        cache_control: str | None = None,
        headers: Mapping[str, str] | None = None,
        mime_types: Mapping[str, str] | None = None,
        etags: bool = True,
        last_modified: bool = True,
        ranges: bool = True,
        hidden_files: bool = False,
        symlinks: Literal["never", "inside", "anywhere"] = "inside",
        max_cached_file: str | None = None,
        revalidate: str | None = None,
        invalidation: Literal["immediate", "lazy", "ttl"] = "immediate",
    ) -> None:
        """Serves the files below `directory` at `path`.

        The sidecar does it, without Python, if nothing of the app stands before the mount: no user middleware,
        no route declared earlier that could answer below `path`. Otherwise, and without a sidecar, StaticFiles
        does; `catzilla routes` says which and why. Declare it behind the routes: it answers all that is left.
        """
        if not path.startswith("/"):
            raise ConfigurationError(f"mount_static: {path!r} does not begin with '/'")
        path = path.rstrip("/")
        options = StaticOptions(
            name=name or name_of(path),
            index_file=index_file,
            cache_control=cache_control,
            headers=dict(headers or {}),
            mime_types=dict(mime_types or {}),
            etags=etags,
            last_modified=last_modified,
            ranges=ranges,
            hidden_files=hidden_files,
            symlinks=symlinks,
            max_cached_file=max_cached_file,
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
