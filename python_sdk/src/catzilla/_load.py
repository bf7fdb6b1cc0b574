"""From "module:app" to the app, with errors that people can act on."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from catzilla._exceptions import AppLoadError, CatzillaError
from catzilla._text import describe, format_traceback


def load_app(target: str, directory: str = ".", *, factory: bool = False) -> Any:
    """Imports `target` ("module:name", "file.py:name"; the name may be left out if it is "app"). `factory`: what is
    named makes the app when it is called.

    Raises AppLoadError. What @cache asks for is checked here: a route that cannot be cached fails the import.
    """
    module_name, _, attribute = target.partition(":")
    attribute = attribute or "app"
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
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and hasattr(v, "router")))
            hint = f": it has {names}" if names else ""
            raise AppLoadError(f"module {module_name!r} has no {attribute!r}{hint}") from None
    if factory:
        found = _make_app(target, found)
    elif _looks_like_a_factory(found):
        raise AppLoadError(f"{target} takes no arguments, so it is no ASGI app: if it makes one, add --factory")
    if not callable(found):
        raise AppLoadError(f"{target} is {type(found).__name__}, not an ASGI app")
    from catzilla._routing import compile_table

    try:
        compile_table(found)
    except CatzillaError as error:
        raise AppLoadError(str(error)) from None
    return found


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
