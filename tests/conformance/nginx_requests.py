"""The requests that both servers get, made from nginx_tables.py and malformed.txt."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from malformed import read_cases
from nginx_tables import (
    CODED_FIELDS,
    CODED_TARGETS,
    CODINGS,
    CONDITIONS,
    ENCODINGS,
    HEADS,
    IF_RANGES,
    LARGE_RANGES,
    LINES,
    METHOD_TARGETS,
    METHODS,
    ONE_RANGE,
    RANGE_AND_CONDITION,
    RANGE_FIELDS,
    SEVERAL_RANGES,
    SPACED_RANGE,
    TARGETS,
)


@dataclasses.dataclass(frozen=True)
class Request:
    group: str  # The table it is from.
    name: str
    method: str
    target: str
    data: bytes  # With {etag} and {modified} still in it.


def made(group: str, method: str, target: str, fields: str = "") -> Request:
    fields, _, body = fields.partition("\r\n\r\n")
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *([fields] if fields else []), "", body]
    shown = f"{method} {target} {fields}".strip()
    return Request(group, shown, method, target, "\r\n".join(lines).encode("latin-1"))


def _paths() -> Iterator[Request]:
    for method, target in itertools.product(("GET", "HEAD"), TARGETS):
        yield made("path", method, target)
    for method, target in itertools.product(METHODS, METHOD_TARGETS):
        yield made("method", method, target, "Content-Length: 0")
    yield made("method", "POST", "/digits.txt", "Content-Length: 4\r\n\r\nbody")
    yield made("method", "OPTIONS", "*")


def _conditions() -> Iterator[Request]:
    for target, fields in itertools.product(("/digits.txt", "/large.bin"), CONDITIONS):
        yield made("condition", "GET", target, fields)
    for method, target in (("HEAD", "/digits.txt"), ("GET", "/empty.txt"), ("GET", "/missing")):
        for fields in CONDITIONS[::3]:
            yield made("condition", method, target, fields)
    for fields in CONDITIONS[::6]:
        yield made("condition", "GET", "/sub", fields)
        yield made("condition", "POST", "/digits.txt", fields + "\r\nContent-Length: 0")


def _ranges() -> Iterator[Request]:
    for value in (*ONE_RANGE, *SPACED_RANGE):
        yield made("range", "GET", "/digits.txt", f"Range: bytes={value}")
    for value in SEVERAL_RANGES:
        yield made("ranges", "GET", "/digits.txt", f"Range: bytes={value}")
    for value in LARGE_RANGES:
        group = "ranges" if "," in value else "range"
        yield made(group, "GET", "/large.bin", f"Range: bytes={value}")
    for fields in RANGE_FIELDS:
        yield made("range", "GET", "/digits.txt", fields)
    for target in ("/empty.txt", "/one.txt", "/missing", "/sub", "/sub/"):
        for value in ONE_RANGE[:18]:
            yield made("range", "GET", target, f"Range: bytes={value}")
    for value in ("0-3", "10-", "5-2", "0-1,4-5"):
        yield made("range", "HEAD", "/digits.txt", f"Range: bytes={value}")
    for value in IF_RANGES:
        for one in ("0-3", "10-"):
            fields = f"Range: bytes={one}\r\nIf-Range: {value}"
            yield made("if-range", "GET", "/digits.txt", fields)
        yield made("if-range", "GET", "/digits.txt", f"If-Range: {value}")
    for condition in RANGE_AND_CONDITION:
        for one in ("0-3", "10-"):
            yield made("range", "GET", "/digits.txt", f"Range: bytes={one}\r\n{condition}")


def _codings() -> Iterator[Request]:
    for target, value in itertools.product(CODED_TARGETS, CODINGS):
        yield made("coding", "GET", target, f"Accept-Encoding: {value}")
    for target in CODED_TARGETS:
        yield made("coding", "GET", target)
        yield made("coding", "HEAD", target)
        yield made("coding", "HEAD", target, "Accept-Encoding: gzip")
        for fields in CODED_FIELDS:
            yield made("coding", "GET", target, f"Accept-Encoding: gzip\r\n{fields}")


def _heads() -> Iterator[Request]:
    for target, value in itertools.product(
        ("/text.html", "/archive.tar.gz", "/missing"), ENCODINGS
    ):
        yield made("encoding", "GET", target, f"Accept-Encoding: {value}")
    for target, fields in itertools.product(("/digits.txt", "/missing", "/sub"), HEADS):
        yield made("head", "GET", target, fields)
    for target, line in itertools.product(("/digits.txt", "/missing", "/sub", "/sub/"), LINES):
        data = line.format(target).encode()
        method = line.split()[0]
        yield Request("line", repr(line.format(target)), method, target, data)


def all_requests() -> list[Request]:
    requests = [*_paths(), *_conditions(), *_ranges(), *_codings(), *_heads()]
    for case in read_cases():
        requests.append(Request("malformed", case.name, "GET", "/", case.data))
        if case.data.startswith(b"GET /"):
            data = b"HEAD" + case.data.removeprefix(b"GET")
            requests.append(Request("malformed head", case.name, "HEAD", "/", data))
    unique = {(request.group, request.data): request for request in requests}
    return list(unique.values())
