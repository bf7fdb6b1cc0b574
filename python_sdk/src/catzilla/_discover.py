"""Which app is meant when none is named, without importing anything: as `fastapi run` looks for it."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catzilla._exceptions import ConfigurationError

_FILES: Final = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")


@dataclass(frozen=True, slots=True)
class Found:
    target: str  # For load_app().
    how: str = ""  # A sentence for people, if it was not named.


def find_target(named: str | None, directory: str) -> Found:
    """`named` may be "module", "module:name", "file.py" or "file.py:name"; a relative file is looked for here and in
    `directory`. Not named: what pyproject.toml says FastAPI's entrypoint is, or the first of _FILES.

    Raises ConfigurationError.
    """
    if named is not None:
        file, colon, name = named.partition(":")
        inside = os.path.join(directory, file)
        if file.endswith(".py") and not os.path.isfile(file) and os.path.isfile(inside):
            return Found(f"{inside}{colon}{name}")
        return Found(named)
    entrypoint = _entrypoint(directory)
    if entrypoint is not None:
        return Found(entrypoint, f"pyproject.toml says {entrypoint}")
    for file in _FILES:
        path = os.path.join(directory, file)
        if os.path.isfile(path):
            return Found(path, f"found {file}")
    raise ConfigurationError(
        f"no APP was given, and {os.path.abspath(directory)} has none of {', '.join(_FILES)}: "
        'write "module:app" or "file.py", or name the folder with --app-dir'
    )


def package_root(file: Path) -> Path:
    """The folder from which `file` is imported: the first one above it without __init__.py."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _entrypoint(directory: str) -> str | None:
    path = os.path.join(directory, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            entrypoint = tomllib.load(file).get("tool", {}).get("fastapi", {}).get("entrypoint")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if entrypoint is not None and not isinstance(entrypoint, str):
        raise ConfigurationError(f'{path}: [tool.fastapi] entrypoint must be a text such as "shop.main:app"')
    return entrypoint
