"""Text that comes from user code, made safe to report.

An exception's own text runs user code: it may raise, be no text, be huge, or hold what no terminal and no encoding
wants. Whoever reports a failure goes through here, so that reporting never prevents what must come after it.
No function of this module raises, whatever it is given.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any, Final

TEXT_MAX: Final = 2_000  # Characters of one reported text.
DETAILS_MAX: Final = 64_000  # Of a traceback.
_CUT: Final = " …"


def safe_text(value: Any, limit: int = TEXT_MAX) -> str:
    """`str(value)` as plain text of at most `limit` characters that every encoding can take."""
    try:
        text = str.__str__(str(value))
    except BaseException as error:
        text = f"<the text of a {_name(value)} cannot be had: its __str__ raised {_name(error)}>"
    if len(text) > limit:
        text = text[:limit] + _CUT
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(value: Any, limit: int = TEXT_MAX) -> str:
    """The same without line ends and control characters, which could forge lines of a log."""
    text = safe_text(value, limit)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def last_lines(text: str, bytes_max: int) -> str:
    """Its last whole lines that fit, each as one_line() makes it: the end of a traceback says why."""
    kept: list[str] = []
    left = bytes_max
    for line in reversed(text.splitlines()):
        line = one_line(line)
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(reversed(kept))


def describe(error: BaseException, limit: int = TEXT_MAX) -> str:
    """`ValueError: what it says`, on one line."""
    text = one_line(error, limit)
    return f"{_name(error)}: {text}" if text else _name(error)


def utf8(text: str, bytes_max: int) -> bytes:
    """At most so many bytes, cut between characters."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > bytes_max:
        data = data[:bytes_max].decode("utf-8", "ignore").encode("utf-8")
    return data


def format_traceback(error: BaseException, skip: tuple[str, ...] = ()) -> str:
    """As Python prints it, without leading frames of the files in `skip`."""
    try:
        lines = traceback.TracebackException.from_exception(error)
        while skip and lines.stack and lines.stack[0].filename.startswith(skip):
            del lines.stack[0]
        return safe_text("".join(lines.format()), DETAILS_MAX)
    except BaseException:  # Its cause, its notes, its text: one of them raised what traceback does not expect.
        return f"{_stack(error)}{describe(error)}\n"


def log_exception(logger: logging.Logger, message: str, error: BaseException) -> None:
    """logger.error() with the traceback; handlers of the app's own may do with the exception what they like."""
    try:
        logger.error(message, exc_info=error)
    except BaseException:
        try:
            logger.error("%s%s", message, format_traceback(error))
        except BaseException:
            return  # Nobody can be told. What matters has been settled before.


def _stack(error: BaseException) -> str:
    try:
        return "Traceback (most recent call last):\n" + "".join(traceback.format_tb(error.__traceback__))
    except BaseException:
        return ""


def _name(value: Any) -> str:
    try:
        return str.__str__(type.__dict__["__name__"].__get__(type(value)))
    except BaseException:
        return "object"
