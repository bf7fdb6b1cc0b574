"""The codec of the worker link, version 1: frames as bytes and back, without I/O or state of streams.

The contract is ``proto/catzilla/worker/v1/frames.md``; section numbers below are that page's. Decoders
raise ``FrameError`` for bytes that break it. Encoders raise ``ValueError`` for what cannot be sent (a NUL,
CR or LF in a header field): that is the app's mistake, and nothing has been sent then.

Fast on purpose: a request costs two ``unpack_from`` and one ``split``, a response one ``pack`` and one ``join``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from catzilla._worker._hello import *  # noqa: F403 (one name, ``_frames``, for the whole contract)
from catzilla._worker._wire import *  # noqa: F403
from catzilla._worker._wire import (
    BODY_INLINE,
    BODY_NONE,
    FLAG_END,
    HTTP_VERSIONS,
    INFORMATIONAL,
    LANE_SLOW,
    LENGTH_UNKNOWN,
    METHODS,
    NO_ROUTE,
    RESPONSE,
    SCHEMES,
    TRAILERS,
    WS_ACCEPT,
    FrameError,
    decode_fields,
    encode_fields,
    encode_frame,
)

_REQUEST: Final = struct.Struct("<IIBBBBHHQQQIHH14I16x")
REQUEST_BYTES_MIN: Final = _REQUEST.size
_RESPONSE: Final = struct.Struct("<HBBHHIIIIIII")
_RESPONSE_FRAME: Final = struct.Struct("<IBBHIIHBBHHIIIIIII")
_HEAD: Final = struct.Struct("<HHI")

# REQUEST -----------------------------------------------------------------------


class Request:
    """One REQUEST payload. Nothing is decoded before it is asked for."""

    __slots__ = ("_n", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        try:
            n: tuple[int, ...] = _REQUEST.unpack_from(payload)
        except struct.error:
            raise FrameError("REQUEST is shorter than its fixed part") from None
        self._n = n
        _, _, method, _, scheme, mode, slots, _, _, _, _, _, _, _, q, a, b, c, d, e, f, g, h, i, j, k, x, y = n
        end = len(payload)
        if not (120 + 4 * slots <= a <= b <= c <= d <= e <= f <= g <= h <= i <= j <= k <= x <= y <= end):
            raise FrameError("REQUEST has offsets out of order")
        if not b <= q <= c or method > 9 or scheme > 1 or mode > 2 or (mode != BODY_INLINE and y != end):
            raise FrameError("REQUEST contradicts itself")

    @property
    def route_id(self) -> int:
        return self._n[0]

    @property
    def flags(self) -> int:
        return self._n[1]

    @property
    def method(self) -> str:
        n = self._n
        return METHODS[n[2]] if n[2] else self.payload[n[15] : n[16]].decode("latin-1")

    @property
    def http_version(self) -> str:
        return HTTP_VERSIONS.get(self._n[3], "1.1")

    @property
    def scheme(self) -> str:
        return SCHEMES[self._n[4]]

    @property
    def body_mode(self) -> int:
        return self._n[5]

    @property
    def accept_us(self) -> int:
        return self._n[8]

    @property
    def deadline_us(self) -> int:
        return self._n[9]

    @property
    def body_length(self) -> int | None:
        length = self._n[10]
        return None if length == LENGTH_UNKNOWN else length

    @property
    def queue_us(self) -> int:
        return self._n[11]

    @property
    def target(self) -> bytes:
        return self.payload[self._n[16] : self._n[17]]

    @property
    def raw_path(self) -> bytes:
        n = self._n
        return self.payload[n[16] : n[14] - 1] if n[14] != n[17] else self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        return self.payload[self._n[14] : self._n[17]]

    @property
    def path(self) -> str:
        return self.payload[self._n[17] : self._n[18]].decode("utf-8", "replace")

    @property
    def host(self) -> bytes:
        return self.payload[self._n[18] : self._n[19]]

    @property
    def client(self) -> tuple[str, int] | None:
        n = self._n
        return (self.payload[n[19] : n[20]].decode("latin-1"), n[12]) if n[19] != n[20] else None

    @property
    def server(self) -> tuple[str, int] | None:
        n = self._n
        return (self.payload[n[20] : n[21]].decode("latin-1"), n[13]) if n[20] != n[21] else None

    @property
    def root_path(self) -> str:
        return self.payload[self._n[21] : self._n[22]].decode("utf-8", "replace")

    @property
    def request_id(self) -> str:
        return self.payload[self._n[22] : self._n[23]].decode("latin-1")

    @property
    def traceparent(self) -> bytes:
        return self.payload[self._n[23] : self._n[24]]

    @property
    def tracestate(self) -> bytes:
        return self.payload[self._n[24] : self._n[25]]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        n = self._n
        return decode_fields(self.payload[n[26] : n[27]], n[7])

    @property
    def body(self) -> bytes:
        return self.payload[self._n[27] :]

    def scope(self) -> dict[str, Any]:
        """What an ASGI scope takes from it, in one go."""
        payload, n = self.payload, self._n
        path_at, query_at = n[16], n[14]
        if query_at != n[17]:
            raw_path, query = payload[path_at : query_at - 1], payload[query_at : n[17]]
        else:
            raw_path, query = payload[path_at : n[17]].partition(b"?")[0], b""
        return {
            "http_version": HTTP_VERSIONS.get(n[3], "1.1"),
            "server": (payload[n[20] : n[21]].decode("latin-1"), n[13]) if n[20] != n[21] else None,
            "client": (payload[n[19] : n[20]].decode("latin-1"), n[12]) if n[19] != n[20] else None,
            "scheme": SCHEMES[n[4]],
            "method": METHODS[n[2]] if n[2] else self.method,
            "root_path": payload[n[21] : n[22]].decode("utf-8", "replace"),
            "path": payload[n[17] : n[18]].decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "headers": decode_fields(payload[n[26] : n[27]], n[7]),
        }

    def slots(self) -> list[bytes | list[bytes] | None]:
        """Every slot. Compiled routes read the table themselves, with one Struct per route."""
        payload, end = self.payload, len(self.payload)
        pairs = struct.unpack_from(f"<{2 * self._n[6]}H", payload, 120)
        values: list[bytes | list[bytes] | None] = []
        for offset, length in zip(pairs[::2], pairs[1::2], strict=True):
            size = length & 0x7FFF
            if offset and not 120 <= offset <= offset + size <= end:
                raise FrameError("REQUEST has a slot outside the payload")
            if not offset:
                values.append(None)
            elif not length & 0x8000:
                values.append(payload[offset : offset + size])
            else:
                spots = struct.unpack_from(f"<{size >> 1}H", payload, offset)
                if any(o + n > end for o, n in zip(spots[::2], spots[1::2], strict=True)):
                    raise FrameError("REQUEST has a list slot outside the payload")
                values.append([payload[o : o + n] for o, n in zip(spots[::2], spots[1::2], strict=True)])
        return values

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target!r} route={self.route_id}>"


# RESPONSE ----------------------------------------------------------------------


def encode_response(
    stream: int,
    status: int,
    fields: Iterable[tuple[bytes, bytes]],
    body: bytes = b"",
    *,
    end: bool = False,
    lane: int = LANE_SLOW,
    fallback: int = 0,
    flags: int = 0,
    handler_us: int = 0,
    tags: bytes = b"",
    ttl_ms: int = 0,
    stale_while_revalidate_ms: int = 0,
    stale_if_error_ms: int = 0,
) -> bytes:
    """A whole RESPONSE frame. `tags` are joined by the caller, each followed by NUL."""
    count, data = encode_fields(fields)
    size = len(data)
    return b"".join((
        _RESPONSE_FRAME.pack(
            36 + size + len(tags) + len(body), RESPONSE, FLAG_END if end else 0, 0, stream, 0,
            status, lane, fallback, flags, count, size, len(tags), handler_us,
            ttl_ms, stale_while_revalidate_ms, stale_if_error_ms, 0,
        ),
        data, tags, body,
    ))  # fmt: skip


def encode_head(
    stream: int,
    status: int,
    count: int,
    fields: bytes,
    body: bytes,
    handler_us: int,
    lane: int,
    end: bool = True,
    fallback: int = 0,
    flags: int = 0,
) -> bytes:
    """A whole RESPONSE frame of fields that are encoded already."""
    size = len(fields)
    return (
        _RESPONSE_FRAME.pack(
            36 + size + len(body), RESPONSE, FLAG_END if end else 0, 0, stream, 0,
            status, lane, fallback, flags, count, size, 0, handler_us, 0, 0, 0, 0,
        )
        + fields
        + body
    )  # fmt: skip


class Response(NamedTuple):
    """What a RESPONSE payload says; the worker only encodes them, tests and tools read them."""

    status: int
    lane: int
    fallback: int
    flags: int
    handler_us: int
    ttl_ms: int
    stale_while_revalidate_ms: int
    stale_if_error_ms: int
    fields: list[tuple[bytes, bytes]]
    tags: list[bytes]
    body: bytes


def decode_response(payload: bytes) -> Response:
    if len(payload) < _RESPONSE.size:
        raise FrameError("RESPONSE is shorter than its fixed part")
    status, lane, fallback, flags, count, size, tag_size, us, ttl, swr, sie, _ = _RESPONSE.unpack_from(payload)
    tags_at = 36 + size
    body_at = tags_at + tag_size
    if body_at > len(payload):
        raise FrameError("RESPONSE has fields or tags behind its end")
    fields = decode_fields(payload[36:tags_at], count)
    tags = payload[tags_at:body_at].split(b"\0")
    if tags.pop():
        raise FrameError("RESPONSE has a tag without NUL")
    return Response(status, lane, fallback, flags, us, ttl, swr, sie, fields, tags, payload[body_at:])


def encode_informational(stream: int, status: int, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    count, data = encode_fields(fields)
    return encode_frame(INFORMATIONAL, stream, _HEAD.pack(status, count, len(data)) + data)


def encode_accept(stream: int, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    count, data = encode_fields(fields)
    return encode_frame(WS_ACCEPT, stream, _HEAD.pack(101, count, len(data)) + data)


def encode_trailers(stream: int, fields: Iterable[tuple[bytes, bytes]], *, end: bool = True) -> bytes:
    count, data = encode_fields(fields)
    return encode_frame(TRAILERS, stream, _HEAD.pack(0, count, len(data)) + data, FLAG_END if end else 0)


def decode_head(payload: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The status (0 for TRAILERS) and fields of INFORMATIONAL and TRAILERS."""
    if len(payload) < _HEAD.size:
        raise FrameError("a head is shorter than its fixed part")
    status, count, size = _HEAD.unpack_from(payload)
    if _HEAD.size + size != len(payload):
        raise FrameError("a head has bytes behind its fields")
    return status, decode_fields(payload[_HEAD.size :], count)


# Encoding REQUEST: the sidecar's work, here for tests, the test client and benches -------------------


def encode_request(
    *,
    method: str = "GET",
    target: bytes = b"/",
    path: bytes | None = None,
    fields: Iterable[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    body_mode: int | None = None,
    body_length: int | None = 0,
    slots: Sequence[bytes | list[bytes] | None] = (),
    route_id: int = NO_ROUTE,
    flags: int = 0,
    http_version: int = 0x11,
    scheme: int = 0,
    host: bytes = b"",
    client: tuple[str, int] | None = None,
    server: tuple[str, int] | None = None,
    root_path: bytes = b"",
    request_id: bytes = b"",
    traceparent: bytes = b"",
    tracestate: bytes = b"",
    accept_us: int = 0,
    deadline_us: int = 0,
    queue_us: int = 0,
) -> bytes:
    """A REQUEST payload, as the sidecar makes it. `body_length` None: not known; `path` None: the raw one."""
    raw_path, mark, _ = target.partition(b"?")
    known = METHODS.index(method) if method in METHODS else 0
    client_text = client[0].encode() if client else b""
    server_text = server[0].encode() if server else b""
    strings = (
        b"" if known else method.encode(), target, raw_path if path is None else path, host, client_text,
        server_text, root_path, request_id, traceparent, tracestate,
    )  # fmt: skip
    at = 120 + 4 * len(slots)
    offsets: list[int] = []
    for item in strings:
        offsets.append(at)
        at += len(item)
    offsets.append(at)
    table: list[int] = []
    values: list[bytes] = []

    def place(value: bytes) -> tuple[int, int]:
        nonlocal at
        spot = (at, len(value))
        values.append(value)
        at += len(value)
        return spot

    for slot in slots:
        if slot is None:
            table += (0, 0)
        elif isinstance(slot, list):
            spots = [place(item) for item in slot]
            start, size = place(struct.pack(f"<{2 * len(spots)}H", *chain.from_iterable(spots)))
            table += (start, size | 0x8000)
        else:
            table += place(slot)
    count, data = encode_fields(fields)
    offsets += (at, at + len(data))
    query_at = offsets[1] + len(raw_path) + 1 if mark else offsets[2]
    if body_mode is None:
        body_mode = BODY_INLINE if body else BODY_NONE
        body_length = len(body)
    fixed = _REQUEST.pack(
        route_id, flags, known, http_version, scheme, body_mode, len(slots), count, accept_us, deadline_us,
        LENGTH_UNKNOWN if body_length is None else body_length, queue_us,
        client[1] if client else 0, server[1] if server else 0, query_at, *offsets,
    )  # fmt: skip
    return b"".join((fixed, struct.pack(f"<{len(table)}H", *table), *strings, *values, data, body))
