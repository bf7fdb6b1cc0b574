"""--env-file: NAME=VALUE lines, for the environment of the process that imports the app.

    # a comment                      PLAIN=up to the end of the line  # and a comment after a space
    export NAME=value                QUOTED='as it stands, \\' and \\\\ aside'
    EMPTY=                           LINES="with \\n, \\" and the like, and as many lines as it takes"

As with python-dotenv and uvicorn, what the environment has already wins. Nothing is expanded: $NAME stays.
"""

from __future__ import annotations

import os
import re
from typing import Final

from catzilla._exceptions import AppLoadError

_SPACE: Final = re.compile(r"(?:\s+|#[^\n]*)*")
_NAME: Final = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE: Final = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_PLAIN: Final = re.compile(r"[^\n]*")
_COMMENT: Final = re.compile(r"(?:^|[ \t])[ \t]*#.*")
_REST: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\n": ""}


def read_env_file(path: str) -> dict[str, str]:
    """Raises AppLoadError, with file and line."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return _parse(file.read(), path)
    except OSError as error:
        raise AppLoadError(f"--env-file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise AppLoadError(f"--env-file {path}: it is not UTF-8") from None


def load_env_file(path: str) -> None:
    """Into this process's environment, but for what is there."""
    for name, value in read_env_file(path).items():
        os.environ.setdefault(name, value)


def _parse(text: str, path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = _end(_SPACE, text, 0)
    while position < len(text):
        start = position

        def wrong(what: str, start: int = start) -> AppLoadError:
            return AppLoadError(f"{path}:{text.count(chr(10), 0, start) + 1}: {what}")

        named = _NAME.match(text, position)
        if named is None:
            raise wrong("this is no NAME=VALUE")
        position = named.end()
        quote = text[position : position + 1]
        if quote in ("'", '"'):
            quoted = (_DOUBLE if quote == '"' else _SINGLE).match(text, position)
            if quoted is None:
                raise wrong(f"the {quote} of {named[1]} is never closed")
            value = _unescape(quoted[1], double=quote == '"')
            rest = _REST.match(text, quoted.end())
            if rest is None:
                raise wrong(f"something follows the closing {quote} of {named[1]}")
            position = rest.end()
        else:
            plain = _PLAIN.match(text, position)
            assert plain is not None
            value = _COMMENT.sub("", plain[0], count=1).strip()
            position = plain.end()
        if "\0" in value:
            raise wrong(f"{named[1]} holds a zero byte")
        found[named[1]] = value
        position = _end(_SPACE, text, position)
    return found


def _unescape(text: str, *, double: bool) -> str:
    def one(match: re.Match[str]) -> str:
        char = match[1]
        if double:
            return _ESCAPES.get(char, char if char in "\\\"'$" else match[0])
        return str(char) if char in "\\'" else str(match[0])

    return re.sub(r"\\(.)", one, text, flags=re.DOTALL)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match is not None else position
