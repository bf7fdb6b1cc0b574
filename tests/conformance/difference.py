"""What two answers differ in, and the classes of difference that are explained.

A class is a name, the aspects it speaks about and a narrow predicate. docs/nginx-differences.md says of each
why it is there; the test checks that both list the same names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from nginx_requests import Request
from wire import Observed

# Compared when the statuses agree; else the status and what became of the connection say it all.
FIELDS = (
    *("content-length", "content-range", "content-type", "location", "allow", "accept-ranges"),
    *("etag", "last-modified", "content-encoding", "vary"),
)


@dataclasses.dataclass(frozen=True)
class Pair:
    request: Request
    nginx: Observed
    ours: Observed

    @property
    def statuses(self) -> tuple[int, int]:
        return self.nginx.status, self.ours.status

    @property
    def connections(self) -> tuple[str, str]:
        return self.nginx.connection, self.ours.connection

    def fields(self, name: str) -> tuple[str | None, str | None]:
        return self.nginx.header(name), self.ours.header(name)


def _aspects(seen: Observed) -> dict[str, object]:
    aspects: dict[str, object] = {
        "status": seen.status,
        "connection": seen.connection,
        "more answers": seen.more_answers,
        "informational": seen.informational,
        "content": seen.parts(),
        "error page": "",
    }
    if seen.status == 0 or seen.status == 9:
        return aspects
    aspects |= {name: seen.header(name) for name in FIELDS}
    location, etag = seen.header("location"), seen.header("etag")
    aspects["location"] = location and re.sub(r"^http://[^/]*", "", location)
    aspects |= {name: seen.header(name) is not None for name in ("server", "date")}
    aspects["etag"] = etag and ("weak" if etag.startswith("W/") else "strong")
    if seen.status >= 300 and seen.status != 304:
        page = (aspects.pop("content-type"), aspects.pop("content-length"), seen.body)
        aspects["error page"] = page
    return aspects


def differences(pair: Pair) -> dict[str, tuple[object, object]]:
    """By aspect: nginx's and ours."""
    theirs, ours = _aspects(pair.nginx), _aspects(pair.ours)
    differing = {
        name: (theirs.get(name), ours.get(name))
        for name in theirs.keys() | ours.keys()
        if theirs.get(name) != ours.get(name)
    }
    if "status" in differing:
        told = ("status", "connection", "more answers", "informational", "server", "date")
        return {name: both for name, both in differing.items() if name in told}
    return differing


@dataclasses.dataclass(frozen=True)
class Class:
    name: str
    aspects: tuple[str, ...]
    covers: Callable[[Pair], bool]


STATUS = ("status", "connection")


def statuses(name: str, covers: Callable[[Pair], bool], *allowed: tuple[int, int]) -> Class:
    """A class of other statuses, of which only `allowed` (nginx's, ours) belong to it."""
    return Class(name, STATUS, lambda pair: pair.statuses in allowed and covers(pair))
