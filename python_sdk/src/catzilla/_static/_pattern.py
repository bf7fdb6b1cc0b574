"""One name pattern of a mount, as the sidecar reads it (sidecar/base/pattern.h).

    *       any bytes but '/'            ?      one byte but '/'
    [a-z]   one of these, [!a-z] none    \\x     x itself
    **      any bytes, also '/'          **/    any directories, also none

A pattern with a '/' counts from the mount's root; one without is about a single name, wherever it stands. Case
matters. Not translated to `re`: that backtracks, and "*a*a*a*b" would let one long path hold a thread for minutes.
Here all positions of the pattern are bits of one number and advance together: the time is linear in the path.
"""

from __future__ import annotations

from typing import Final

TOKENS_MAX: Final = 255
_SLASH: Final = ord("/")
_STAR: Final = ord("*")


class Pattern:
    """Immutable. ValueError, as `PATTERN says what is wrong`, if it is none."""

    __slots__ = ("_accept", "_anchored", "_anything", "_begin", "_bytes", "_directories", "_name", "_open")

    def __init__(self, text: str) -> None:
        pattern = text.encode("utf-8", "surrogateescape")
        if pattern.endswith(b"/"):
            pattern = pattern[:-1]
        self._anchored = b"/" in pattern
        pattern = pattern.removeprefix(b"/")
        # Bit i: the pattern stands before its token i; the last bit is its end.
        self._bytes = [0] * 256  # Byte -> the tokens that take it and are over then.
        self._name = self._anything = self._directories = 0  # Tokens of these kinds: *, **, **/
        size = self._read(text, pattern)
        self._open = self._name | self._anything | self._directories
        self._accept = 1 << size
        self._begin = self._enter(1)

    def matches(self, path: bytes) -> bool:
        """`path` is relative to the mount, without a slash in front."""
        return self._run(path, False)

    def matches_or_holds(self, path: bytes) -> bool:
        """Also true below a directory that matches."""
        return self._run(path, True)

    def _read(self, text: str, pattern: bytes) -> int:
        if not pattern:
            raise ValueError(f"{text!r} is empty")
        token = at = 0
        while at < len(pattern):
            if token == TOKENS_MAX:
                raise ValueError(f"{text[:32]!r}... is too long: {TOKENS_MAX} signs at most")
            bit, byte = 1 << token, pattern[at]
            taken: range | set[int] = range(0)
            if byte == _STAR and pattern[at + 1 : at + 2] == b"*":
                while pattern[at : at + 1] == b"*":
                    at += 1
                if pattern[at : at + 1] == b"/":
                    self._directories |= bit
                else:
                    self._anything |= bit
                    at -= 1
            elif byte == _STAR:
                self._name |= bit
            elif byte == ord("?"):
                taken = set(range(256)) - {_SLASH}
            elif byte == ord("["):
                at, taken = _read_class(text, pattern, at)
            else:
                if byte == ord("\\"):
                    at += 1
                    if at == len(pattern):
                        raise ValueError(f"{text!r} ends with a backslash")
                taken = {pattern[at]}
            for one in taken:
                self._bytes[one] |= bit
            token += 1
            at += 1
        return token

    def _enter(self, states: int) -> int:
        # What may match nothing is passed at once.
        while (more := states | (states & self._open) << 1) != states:
            states = more
        return states

    def _run(self, path: bytes, holds: bool) -> bool:
        states = self._begin
        for byte in path:
            if byte == _SLASH:
                if holds and states & self._accept:
                    return True
                if not self._anchored:
                    states = self._begin  # The next name begins from the start.
                    continue
            moved = (states & self._bytes[byte]) << 1 | states & self._anything
            if byte == _SLASH:
                moved |= (states & self._directories) << 1  # It ends only behind a slash.
            else:
                moved |= states & self._name
            states = self._enter(moved) | states & self._directories
        return bool(states & self._accept)


def _read_class(text: str, pattern: bytes, at: int) -> tuple[int, set[int]]:
    """`at` is at the '['; the place of its ']', and the bytes it takes."""
    at += 1
    negated = pattern[at : at + 1] in (b"!", b"^")
    first = at = at + negated
    found: set[int] = set()
    while True:
        if at >= len(pattern):
            raise ValueError(f"{text!r} has a [ without its ]")
        if pattern[at] == ord("]") and at != first:  # In front it is one of the bytes.
            break
        low = high = pattern[at]
        if at + 2 < len(pattern) and pattern[at + 1] == ord("-") and pattern[at + 2] != ord("]"):
            high = pattern[at + 2]
            at += 2
        if high < low:
            raise ValueError(f"{text!r} has a range that runs backwards")
        found |= set(range(low, high + 1))
        at += 1
    if negated:
        found = set(range(256)) - found
    return at, found - {_SLASH}
