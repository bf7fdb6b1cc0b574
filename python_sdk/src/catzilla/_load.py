"""From "module:app" to the app, with errors that people can act on."""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from catzilla._discover import package_root
from catzilla._env_file import load_env_file
from catzilla._exceptions import AppLoadError, CatzillaError
from catzilla._settings import WorkerSettings
from catzilla._text import describe, format_traceback

_RACY: Final = 2.0  # Seconds.
# From one collection of the youngest objects to the next. With Python's own 700, what a stream makes for a second (a
# timer, a future) outlives two of them, and ten thousand streams cause a full one every six seconds, 0.7 s long.
_ALLOCATIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Loaded:
    app: Any
    target: str  # "module:name", with what was found where no name was given.


def load(settings: WorkerSettings) -> Loaded:
    """In the process that serves the app, or is forked into those that do. Raises AppLoadError."""
    gc.set_threshold(_ALLOCATIONS)  # The app may set its own.
    if settings.error_page is not None:
        from catzilla._worker._error_page import ErrorPage

        return Loaded(ErrorPage(*settings.error_page), settings.target)
    if settings.env_file:
        load_env_file(settings.env_file)
    return find_app(settings.target, settings.directory, factory=settings.factory)


def load_app(target: str, directory: str = ".", *, factory: bool = False) -> Any:
    return find_app(target, directory, factory=factory).app


def find_app(target: str, directory: str = ".", *, factory: bool = False) -> Loaded:
    """Imports `target`: "module:name" or "file.py:name". Without the name it is what is called `app`, or an app called
    `api`, or the first FastAPI app of the module. `factory`: what is named makes the app when it is called.

    Raises AppLoadError. What @cache asks for is checked here: a route that cannot be cached fails the import.
    """
    module_name, _, attribute = target.partition(":")
    sys.path.insert(0, os.path.abspath(directory))
    try:
        module = _load_module(module_name)
    except AppLoadError:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_part(module_name, error.name):
            raise AppLoadError(
                f"there is no module {error.name!r} (looked in {os.path.abspath(directory)} and sys.path): "
                "check the name, or name the folder with --app-dir"
            ) from None
        raise AppLoadError(f"importing {module_name!r} failed: {describe(error)}", _traceback(error)) from None
    finally:
        _forget_racy_bytecode()
    attribute = attribute or _pick(module)
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and hasattr(v, "router")))
            hint = f": it has {names}" if names else ""
            raise AppLoadError(f"module {module_name!r} has no {attribute!r}{hint}") from None
    target = f"{module.__name__}:{attribute}"
    if factory:
        found = _make_app(target, found)
    elif _looks_like_a_factory(found):
        raise AppLoadError(f"{target} takes no arguments, so it is no ASGI app: if it makes one, add --factory")
    if not callable(found):
        raise AppLoadError(f"{target} is {type(found).__name__}, not an ASGI app")
    from catzilla._routing import compile_table

    try:
        compile_table(found, lanes=False)  # What @cache asks for. Routes are compiled by who serves them.
    except CatzillaError as error:
        raise AppLoadError(str(error)) from None
    return Loaded(found, target)


def _pick(module: ModuleType) -> str:
    """The name of the app in a module of which only the file is known."""
    if callable(getattr(module, "app", None)):
        return "app"
    kind = getattr(sys.modules.get("fastapi"), "FastAPI", ())
    names = [name for name, value in vars(module).items() if isinstance(value, kind)]
    return "api" if "api" in names else names[0] if names else "app"


def _forget_racy_bytecode() -> None:
    """To Python's cache of bytecode two versions of one size and one second are the same: for files that are younger
    than that nothing is kept, so that the next process reads what is there then."""
    now = time.time()
    for path in app_files():
        with contextlib.suppress(OSError, NotImplementedError):
            if abs(now - path.stat().st_mtime) < _RACY:
                os.unlink(importlib.util.cache_from_source(str(path)))


def _make_app(target: str, factory: Any) -> Any:
    if not callable(factory):
        raise AppLoadError(f"{target} is {type(factory).__name__}, which cannot be called: drop --factory")
    try:
        return factory()
    except BaseException as error:
        raise AppLoadError(f"calling {target}() failed: {describe(error)}", _traceback(error)) from None


def _looks_like_a_factory(found: Any) -> bool:
    """A function that cannot be called with scope, receive and send, but can be with nothing."""
    if not inspect.isfunction(found):
        return False
    signature = inspect.signature(found)
    try:
        signature.bind(None, None, None)
    except TypeError:
        try:
            signature.bind()
        except TypeError:
            return False
        return True
    return False


def app_files() -> Iterator[Path]:
    """The files of loaded modules that are the app's own: not the standard library's, not installed ones."""
    outside = tuple({os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, os.path.dirname(__file__))})
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and file.endswith(".py"):
            path = os.path.realpath(file)
            if not path.startswith(outside) and "site-packages" not in path:
                yield Path(path)


@functools.cache  # What a zygote has found its workers have, too: each would touch 4 MiB of shared memory for it.
def code_hash() -> str:
    """Of the app's own modules and of the versions below them. Equal code, equal hash, on every machine."""
    from importlib.metadata import version

    digest = hashlib.sha256(sys.version.encode())
    for name in ("fastapi", "starlette", "pydantic", "catzilla"):
        try:
            digest.update(f"{name} {version(name)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"{name} from source\n".encode())
    for path in sorted(set(app_files())):
        digest.update(path.name.encode())
        try:
            digest.update(path.read_bytes())
        except OSError:
            continue
    return digest.hexdigest()


def _load_module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).absolute()
    if not path.is_file():
        raise AppLoadError(f"there is no file {path}")
    root = package_root(path)
    if root != path.parent:  # Part of a package, whose modules may be imported relatively.
        sys.path.insert(0, str(root))
        parts = path.relative_to(root).with_suffix("").parts
        return importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _is_part(module_name: str, missing: str) -> bool:
    return module_name == missing or module_name.startswith(missing + ".")


def _traceback(error: BaseException) -> str:
    """Without the frames of the import machinery and of this file."""
    return format_traceback(error, ("<frozen importlib", __file__, importlib.__file__))
