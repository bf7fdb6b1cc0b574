"""Classes of difference: conditional requests and ranges."""

from __future__ import annotations

import re

from difference import STATUS, Class, Pair, statuses
from nginx_tables import NEVER, THEN


def _fields(pair: Pair) -> dict[str, str]:
    lines = pair.request.data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}


def _range(pair: Pair) -> str:
    return _fields(pair).get("range", "").removeprefix("bytes=")


def _is_range_set(text: str) -> bool:
    """By the grammar, with optional white space around commas and empty elements."""
    elements = [element.strip(" \t") for element in text.split(",")]
    ends = [re.fullmatch(r"(\d*)-(\d*)", element) for element in elements if element]
    if not ends or not all(end and any(end.groups()) for end in ends):
        return False
    pairs = [end.groups() for end in ends if end]
    return not any(first and last and int(first) > int(last) for first, last in pairs)


def _several(pair: Pair) -> bool:
    """All that nginx sends is in ours, as one range, as several or as the whole file."""
    theirs, ours = pair.nginx.parts(), pair.ours.parts()
    if pair.nginx.status != 206 or "," not in _range(pair) or not _is_range_set(_range(pair)):
        return False
    if (pair.ours.status, len(ours)) == (206, len(theirs)) and ours == theirs:
        return True  # Only the frames of the parts differ.
    return all(
        any(
            mine.first <= part.first
            and mine.data[part.first - mine.first :].startswith(part.data)
            and len(part.data) > 0
            for mine in ours
        )
        for part in theirs
    ) and len(ours) <= len(theirs)


def _is_date(text: str) -> bool:
    """IMF-fixdate; the obsolete forms are in no test that gets here."""
    return (
        re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", text)
        is not None
    )


def _since(pair: Pair) -> str:
    return _fields(pair).get("if-modified-since", "")


def _has(pair: Pair, **fields: str) -> bool:
    got = _fields(pair)
    return all(got.get(name.replace("_", "-")) == value for name, value in fields.items())


CLASSES = [
    Class(
        "304-without-date",
        ("last-modified",),
        lambda pair: (
            pair.ours.status == 304
            and pair.ours.header("last-modified") is None
            and pair.ours.header("etag") is not None
        ),
    ),
    Class(
        "412-keeps-connection",
        ("connection",),
        lambda pair: pair.statuses == (412, 412) and pair.connections == ("closed", "open"),
    ),
    statuses(
        "asterisk-in-list",
        lambda pair: any(
            _fields(pair).get(name, "").startswith("*,") for name in ("if-none-match", "if-match")
        ),
        (304, 200),
        (200, 412),
    ),
    statuses(
        "newer-than-the-file",
        lambda pair: _since(pair) in (NEVER, "Tue, 14 Nov 2023 22:13:21 GMT"),
        (200, 304),
    ),
    statuses(
        "not-quite-a-date",
        lambda pair: (
            _since(pair).startswith(("Tue, 14 Nov 2023 22:13:20", "{modified}"))
            and not _is_date(_since(pair))
        ),
        (304, 200),
    ),
    statuses(
        "if-unmodified-since-no-date",
        lambda pair: (
            _fields(pair).get("if-unmodified-since")
            in (
                "",
                "nonsense",
                "0",
                "tue, 14 nov 2023 22:13:20 gmt",
                "Tue, 32 Nov 2023 22:13:20 GMT",
            )
        ),
        (412, 200),
    ),
    statuses(
        "etag-before-date",
        lambda pair: (
            _has(pair, if_none_match="{etag}", if_modified_since=THEN)
            or _has(pair, if_match="{etag}", if_unmodified_since=THEN)
        ),
        (200, 304),
        (412, 200),
    ),
    statuses(
        "two-if-none-match",
        lambda pair: pair.request.data.count(b"\r\nIf-None-Match:") == 2,
        (400, 304),
        (400, 404),
        (400, 301),
        (400, 405),
    ),
    Class(
        "206-accept-ranges",
        ("accept-ranges",),
        lambda pair: pair.ours.status == 206 and pair.fields("accept-ranges") == (None, "bytes"),
    ),
    statuses(
        "malformed-range",
        lambda pair: pair.request.method == "GET" and not _is_range_set(_range(pair)),
        (416, 200),
        (206, 200),
    ),
    statuses(
        "two-range-lines",
        lambda pair: pair.request.data.count(b"\r\nRange:") == 2,
        (206, 200),
    ),
    statuses(
        "huge-range",
        lambda pair: _range(pair) in ("0-99999999999999999999", "-99999999999999999999"),
        (416, 206),
    ),
    statuses(
        "range-list-form",
        lambda pair: (
            _is_range_set(_range(pair)) and re.search(r"\t|,,|^,|,$|, +,", _range(pair)) is not None
        ),
        (416, 206),
    ),
    Class("several-ranges", (*STATUS, "content", "content-length", "content-range"), _several),
    Class(
        "several-ranges-type",
        ("content-type",),
        lambda pair: (
            _several(pair)
            and (pair.nginx.header("content-type") or "").startswith("multipart/byteranges")
        ),
    ),
    statuses(
        "range-of-nothing",
        lambda pair: pair.request.target == "/empty.txt" and _is_range_set(_range(pair)),
        (200, 416),
    ),
    statuses(
        "range-of-head",
        lambda pair: pair.request.method == "HEAD" and _range(pair) != "",
        (206, 200),
        (416, 200),
    ),
]
