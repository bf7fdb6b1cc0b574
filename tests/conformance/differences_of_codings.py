"""Classes of difference: gzip, from files beside the file (/files) and made by the server (/made)."""

from __future__ import annotations

import re

from difference import STATUS, Class, Pair, statuses
from nginx_tree import TEXT

_STALE, _ALONE = "/files/stale.txt", "/files/only.txt"
_CODED = ("/files/coded.txt", "/made/coded.txt")
_WITHOUT_SIBLING = ("/files/coded.txt.gz", "/files/digits.txt", "/files/sub/")


def _accepted(pair: Pair) -> str:
    found = re.search(rb"\r\nAccept-Encoding: ([^\r]*)", pair.request.data)
    return found.group(1).decode() if found else ""


def _is_coded(pair: Pair, coded: str, accepted: tuple[str, ...]) -> bool:
    """Only one of the two is coded, of a file that both have coded, for such a client."""
    ours_or_theirs = {"ours": (None, "gzip"), "nginx": ("gzip", None)}[coded]
    fits = pair.request.target in _CODED and _accepted(pair) in accepted
    return fits and pair.fields("content-encoding") == ours_or_theirs


def _are_coded(pair: Pair) -> bool:
    return pair.fields("content-encoding") == ("gzip", "gzip") and pair.statuses == (200, 200)


def _asks(pair: Pair, field: bytes) -> bool:
    return b"\r\n" + field in pair.request.data


def _is_stale(pair: Pair) -> bool:
    """Ours is about the file itself, nginx's about its older sibling."""
    told = pair.statuses in ((200, 200), (200, 304), (412, 200), (200, 206), (200, 416))
    return (
        pair.request.target == _STALE
        and told
        and "gzip" in _accepted(pair).lower()
        and pair.ours.header("content-encoding") is None
        and (pair.ours.status != 200 or pair.ours.body in (TEXT, b""))
    )


CLASSES = [
    Class(
        "coded-accept-ranges",
        ("accept-ranges",),
        lambda pair: _are_coded(pair) and pair.fields("accept-ranges") == (None, "bytes"),
    ),
    statuses(
        "coded-range",
        lambda pair: pair.request.target in _CODED and _asks(pair, b"Range: bytes="),
        (200, 206),
        (200, 416),
    ),
    Class(
        "identity-preferred",
        ("content-encoding", "content-length", "accept-ranges", "etag"),
        lambda pair: _is_coded(
            pair, "nginx", ("gzip;q=0.5, identity;q=1", "identity, gzip;q=0.001")
        ),
    ),
    Class(
        "asterisk-accepts-gzip",
        ("content-encoding", "content-length"),
        lambda pair: _is_coded(pair, "ours", ("*", "*;q=0.5")),
    ),
    Class(
        "x-gzip",
        ("content-encoding", "content-length"),
        lambda pair: _is_coded(pair, "ours", ("x-gzip",)),
    ),
    Class(
        "vary-of-all-files",
        ("vary",),
        lambda pair: (
            pair.request.target in _WITHOUT_SIBLING
            and pair.fields("vary") == (None, "Accept-Encoding")
        ),
    ),
    Class(
        "304-vary",
        ("vary",),
        lambda pair: (
            pair.request.target == "/made/coded.txt"
            and pair.statuses == (304, 304)
            and pair.fields("vary") == (None, "Accept-Encoding")
        ),
    ),
    Class(
        "412-without-vary",
        ("vary",),
        lambda pair: (
            pair.statuses == (412, 412) and pair.fields("vary") == ("Accept-Encoding", None)
        ),
    ),
    Class(
        "stale-sibling",
        (
            *STATUS,
            *("content", "content-length", "content-encoding", "accept-ranges", "last-modified"),
        ),
        _is_stale,
    ),
    Class(
        "sibling-alone",
        (*STATUS, "vary"),
        lambda pair: (
            pair.request.target == _ALONE
            and pair.statuses in ((200, 404), (304, 404), (412, 404), (404, 404))
        ),
    ),
    Class(
        "gzip-is-kept",
        ("etag", "content-length"),
        lambda pair: (
            pair.request.target == "/made/coded.txt"
            and _are_coded(pair)
            and pair.nginx.header("content-length") is None
            and (pair.nginx.header("etag") or "").startswith("W/")
        ),
    ),
    statuses(
        "etag-of-a-coding",
        lambda pair: (
            pair.request.target == "/made/coded.txt"
            and (_asks(pair, b"If-None-Match: {etag}") or _asks(pair, b"If-Match: {etag}"))
        ),
        (304, 200),
        (200, 412),
    ),
]
