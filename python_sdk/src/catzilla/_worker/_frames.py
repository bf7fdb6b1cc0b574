"""The codec of the worker link, version 1: frames as bytes and back, without I/O or state of streams.

The contract is ``proto/catzilla/worker/v1/frames.md``; section numbers below are that page's. Decoders
raise ``FrameError`` for bytes that break it. Encoders raise ``ValueError`` for what cannot be sent (a NUL,
CR or LF in a header field): that is the app's mistake, and nothing has been sent then.

Fast on purpose: a request costs two ``unpack_from`` and one ``split``, a response one ``pack`` and one ``join``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]
Frame: TypeAlias = tuple[int, int, int, int, bytes]  # type, flags, stream, aux, payload

VERSION: Final = 1
MAGIC: Final = 0x314C5A43
HEADER_BYTES: Final = 16

# Section 2: types.
HELLO: Final = 0x01
HELLO_ACK: Final = 0x02
PING: Final = 0x03
PONG: Final = 0x04
GOAWAY: Final = 0x05
WINDOW: Final = 0x06
CREDIT: Final = 0x07
REQUEST: Final = 0x10
REQUEST_DATA: Final = 0x11
RESPONSE: Final = 0x12
RESPONSE_DATA: Final = 0x13
INFORMATIONAL: Final = 0x14
TRAILERS: Final = 0x15
END: Final = 0x16
CANCEL: Final = 0x17
RECALL: Final = 0x18
RETURNED: Final = 0x19
DETACHED: Final = 0x1A
SENDFILE: Final = 0x1B
UPGRADE: Final = 0x20
WS_ACCEPT: Final = 0x21
WS_MESSAGE: Final = 0x22
WS_CLOSE: Final = 0x23
WS_PING: Final = 0x24
WS_PONG: Final = 0x25
STATS: Final = 0x30
LOG: Final = 0x31
DUMP: Final = 0x32

# Header flags.
FLAG_END: Final = 0x01
FLAG_IGNORABLE: Final = 0x80

# End codes.
END_COMPLETE: Final = 0
END_CANCELLED: Final = 1
END_FAILED: Final = 2
END_REFUSED: Final = 3
END_STOPPED: Final = 4

# Cancel codes.
CANCEL_CLIENT_GONE: Final = 1
CANCEL_DEADLINE: Final = 2
CANCEL_DRAIN: Final = 3
CANCEL_BAD_ANSWER: Final = 4
CANCEL_UNWANTED: Final = 5

# GOAWAY codes.
GOAWAY_DRAINING: Final = 0
GOAWAY_SUPERSEDED: Final = 1
GOAWAY_PROTOCOL: Final = 2
GOAWAY_VERSION: Final = 3
GOAWAY_TOKEN: Final = 4
GOAWAY_TABLE: Final = 5
GOAWAY_GENERATION: Final = 6
GOAWAY_INTERNAL: Final = 7
GOAWAY_TOO_MANY: Final = 8
GOAWAY_HELLO_LATE: Final = 9
GOAWAY_UNKNOWN_TYPE: Final = 10
GOAWAY_RECYCLE: Final = 11
GOAWAY_LIMITS: Final = 12

# HELLO: purpose and lane kind.
PURPOSE_LANE: Final = 1
PURPOSE_CONTROL: Final = 2
LANE_NONE: Final = 0
LANE_EVENT_LOOP: Final = 1
LANE_BLOCKING: Final = 2
ANY_LOOP: Final = 0xFFFF

# REQUEST.
NO_ROUTE: Final = 0xFFFFFFFF
LENGTH_UNKNOWN: Final = 0xFFFFFFFFFFFFFFFF
METHODS: Final = ("", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
HTTP_VERSIONS: Final = {0x10: "1.0", 0x11: "1.1", 0x20: "2"}
SCHEMES: Final = ("http", "https")
BODY_NONE: Final = 0
BODY_INLINE: Final = 1
BODY_STREAMING: Final = 2
REQUEST_HEAD: Final = 0x01
REQUEST_EXPECT_CONTINUE: Final = 0x02
REQUEST_OVER_LIMIT: Final = 0x04
REQUEST_QUERY_NOT_UTF8: Final = 0x08
REQUEST_UPGRADE: Final = 0x10
REQUEST_SLOTS_OVERFLOW: Final = 0x20
REQUEST_CANCEL_ON_DISCONNECT: Final = 0x40

# RESPONSE.
LANE_SLOW: Final = 0
LANE_STACK: Final = 1
LANE_FAST: Final = 2
RESPONSE_OUTSIDE_USER_MIDDLEWARE: Final = 0x01
RESPONSE_DETACHED: Final = 0x02
RESPONSE_STORE: Final = 0x04
RESPONSE_NO_STORE: Final = 0x08

# Section 6: limits.
HEAD_BYTES_MAX: Final = 48 * 1024
DATA_BYTES_MAX: Final = 64 * 1024
CONTROL_BYTES_MAX: Final = 8192
HELLO_BYTES_MAX: Final = 4096
SENTENCE_BYTES_MAX: Final = 1024
WINDOW_MAX: Final = 2**31 - 1

_HEADER: Final = struct.Struct("<IBBHII")
_REQUEST: Final = struct.Struct("<IIBBBBHHQQQIHH14I16x")
_RESPONSE: Final = struct.Struct("<HBBHHIIIIIII")
_RESPONSE_FRAME: Final = struct.Struct("<IBBHIIHBBHHIIIIIII")
_HEAD: Final = struct.Struct("<HHI")
_HELLO: Final = struct.Struct("<IHHIBBH16sQQ32sIIQIIIII4xQQQ8x5I12x")
_ACK: Final = struct.Struct("<HHIIIIIIIQQQIIII")
_STATS: Final = struct.Struct("<QQQIIIIQQ8x")

_END_ALLOWED: Final = frozenset({REQUEST, REQUEST_DATA, RESPONSE, RESPONSE_DATA, TRAILERS})
_DATA: Final = frozenset({REQUEST_DATA, RESPONSE_DATA, WS_MESSAGE, DUMP})
_KNOWN: Final = frozenset(
    {*range(HELLO, CREDIT + 1), *range(REQUEST, SENDFILE + 1), *range(UPGRADE, WS_PONG + 1), STATS, LOG, DUMP}
)
# Which types belong to the connection, and which to a stream; CREDIT, WINDOW and GOAWAY may be either.
_ON_CONNECTION: Final = frozenset({HELLO, HELLO_ACK, PING, PONG, STATS, LOG, DUMP})
_ON_STREAM: Final = frozenset(
    {REQUEST, REQUEST_DATA, RESPONSE, RESPONSE_DATA, INFORMATIONAL, TRAILERS, END, CANCEL, DETACHED, SENDFILE}
)
_EMPTY: Final = frozenset({WINDOW, CREDIT, DETACHED})


class FrameError(Exception):
    """The peer's bytes break the contract: answer GOAWAY(``code``) and close."""

    def __init__(self, message: str, code: int = GOAWAY_PROTOCOL) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Limits:
    """What one frame may carry; HELLO_ACK may narrow it."""

    head_bytes_max: int = HEAD_BYTES_MAX
    data_bytes_max: int = DATA_BYTES_MAX

    def payload_max(self, kind: int) -> int:
        if kind in (REQUEST, RESPONSE):
            return self.head_bytes_max + self.data_bytes_max
        if kind in _DATA:
            return self.data_bytes_max
        if kind in (INFORMATIONAL, TRAILERS):
            return self.head_bytes_max
        return HELLO_BYTES_MAX if kind == HELLO else CONTROL_BYTES_MAX


# Frames ------------------------------------------------------------------------


def encode_frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0, aux: int = 0) -> bytes:
    return _HEADER.pack(len(payload), kind, flags, 0, stream, aux) + payload


class FrameReader:
    """Cuts a byte stream into frames. Keeps at most one unfinished frame."""

    __slots__ = ("_have", "_need", "_parts", "limits")

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._parts: list[bytes] = []
        self._have = 0
        self._need = HEADER_BYTES

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes; those of unknown type but ignorable are left out.

        Raises FrameError. Frames in front of the wrong one are lost with it: the connection is over.
        """
        if self._have + len(data) < self._need:
            if data:
                self._parts.append(data)
                self._have += len(data)
            return []
        if self._parts:
            self._parts.append(data)
            data = b"".join(self._parts)
            self._parts = []
        frames: list[Frame] = []
        at, end = 0, len(data)
        need = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            length, kind, flags, reserved, stream, aux = _HEADER.unpack_from(data, at)
            if reserved or flags or length > HELLO_BYTES_MAX or kind not in _KNOWN:
                self._check(length, kind, flags, reserved)
            need = HEADER_BYTES + length
            if end - at < need:
                break
            if kind in _KNOWN:
                frames.append((kind, flags, stream, aux, data[at + HEADER_BYTES : at + need]))
            at += need
            need = HEADER_BYTES
        self._need = need
        self._have = end - at
        if at < end:
            self._parts.append(data[at:])
        return frames

    def _check(self, length: int, kind: int, flags: int, reserved: int) -> None:
        known = kind in _KNOWN
        if not known and not flags & FLAG_IGNORABLE:
            raise FrameError(f"frame of unknown type 0x{kind:02x}", GOAWAY_UNKNOWN_TYPE)
        if reserved:
            raise FrameError("the reserved field of a frame header is not 0")
        if flags & ~(FLAG_END | FLAG_IGNORABLE):
            raise FrameError(f"undefined frame flags 0x{flags:02x}")
        if known and flags & FLAG_END and kind not in _END_ALLOWED:
            raise FrameError(f"END on a frame of type 0x{kind:02x}")
        most = self.limits.payload_max(kind)
        if length > most:
            raise FrameError(f"a frame of type 0x{kind:02x} with {length} bytes, {most} are allowed")

    def __repr__(self) -> str:
        return f"<FrameReader {self._have} of {self._need} bytes>"


def check_frame(frame: Frame) -> None:
    """The rules on stream, aux and payload size that a header alone decides (section 2)."""
    kind, _, stream, aux, payload = frame
    if kind in _ON_CONNECTION and stream:
        raise FrameError(f"type 0x{kind:02x} on stream {stream}")
    if kind in _ON_STREAM and not stream:
        raise FrameError(f"type 0x{kind:02x} on stream 0")
    if kind in _EMPTY and payload:
        raise FrameError(f"type 0x{kind:02x} with a payload")
    if kind == WINDOW and not 0 < aux <= WINDOW_MAX:
        raise FrameError(f"a window of {aux}")
    if kind in (PING, PONG) and len(payload) != 8:
        raise FrameError("a ping is 8 bytes")
    if kind == CANCEL and len(payload) not in (0, 4):
        raise FrameError("CANCEL has a payload of another size")


# Fields ------------------------------------------------------------------------


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """How many pairs, and their bytes. Raises ValueError where a field could not go on the wire."""
    parts = list(chain.from_iterable(fields))
    if not parts:
        return 0, b""
    data = b"\0".join(parts) + b"\0"
    if data.count(b"\0") != len(parts) or b"\n" in data or b"\r" in data:
        raise ValueError("a header field contains NUL, CR or LF")
    return len(parts) >> 1, data


def decode_fields(data: bytes, count: int) -> list[tuple[bytes, bytes]]:
    parts = iter(data.split(b"\0"))
    fields = list(zip(parts, parts, strict=False))
    if len(fields) != count or (data and data[-1]):
        raise FrameError("the number of header fields differs from the count beside them")
    return fields


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


# HELLO, HELLO_ACK, STATS ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Section 4.1. Times: `start_time_us` and `wall_us` are wall, `monotonic_us` CLOCK_MONOTONIC."""

    purpose: int
    lane_kind: int
    loop_index: int
    token: bytes
    epoch: int
    generation: int
    table_hash: bytes
    pid: int
    worker_index: int
    start_time_us: int
    in_flight_max: int
    stream_window: int
    connection_window: int
    monotonic_us: int
    wall_us: int
    rss_bytes: int
    pool: str
    sdk: str
    python: str
    framework: str
    note: str = ""
    version_min: int = VERSION
    version_max: int = VERSION
    capabilities: int = 0
    head_bytes_max: int = HEAD_BYTES_MAX
    data_bytes_max: int = DATA_BYTES_MAX

    def encode(self) -> bytes:
        """The payload."""
        texts = [t.encode() for t in (self.pool, self.sdk, self.python, self.framework, self.note)]
        ends: list[int] = []
        at = _HELLO.size
        for item in texts:
            at += len(item)
            ends.append(at)
        if at > HELLO_BYTES_MAX or len(self.token) != 16 or len(self.table_hash) != 32:
            raise ValueError("HELLO: its texts are too long, or the token or hash has another size")
        return b"".join((
            _HELLO.pack(
                MAGIC, self.version_min, self.version_max, self.capabilities, self.purpose, self.lane_kind,
                self.loop_index, self.token, self.epoch, self.generation, self.table_hash, self.pid,
                self.worker_index, self.start_time_us, self.in_flight_max, self.stream_window,
                self.connection_window, self.head_bytes_max, self.data_bytes_max, self.monotonic_us,
                self.wall_us, self.rss_bytes, *ends,
            ),
            *texts,
        ))  # fmt: skip

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        if len(payload) < _HELLO.size:
            raise FrameError("HELLO is shorter than its fixed part")
        n = _HELLO.unpack_from(payload)
        if n[0] != MAGIC or not 0 < n[1] <= n[2] or n[4] not in (PURPOSE_LANE, PURPOSE_CONTROL) or n[5] > LANE_BLOCKING:
            raise FrameError("HELLO contradicts itself, or is none")
        a, b, c, d, e = n[22:27]
        if not _HELLO.size <= a <= b <= c <= d <= e == len(payload):
            raise FrameError("HELLO has texts out of order")
        try:
            texts = [payload[x:y].decode() for x, y in ((184, a), (a, b), (b, c), (c, d), (d, e))]
        except UnicodeDecodeError:
            raise FrameError("HELLO has a text that is not UTF-8") from None
        return cls(
            version_min=n[1], version_max=n[2], capabilities=n[3], purpose=n[4], lane_kind=n[5], loop_index=n[6],
            token=n[7], epoch=n[8], generation=n[9], table_hash=n[10], pid=n[11], worker_index=n[12],
            start_time_us=n[13], in_flight_max=n[14], stream_window=n[15], connection_window=n[16],
            head_bytes_max=n[17], data_bytes_max=n[18], monotonic_us=n[19], wall_us=n[20], rss_bytes=n[21],
            pool=texts[0], sdk=texts[1], python=texts[2], framework=texts[3], note=texts[4],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAck:
    """Section 4.2."""

    version: int
    loop_count: int
    capabilities: int
    credits: int
    stream_window: int
    connection_window: int
    head_bytes_max: int
    data_bytes_max: int
    ping_interval_ms: int
    monotonic_us: int
    wall_us: int
    worker_id: int
    lane_id: int
    loop_index: int
    sidecar: str

    def encode(self) -> bytes:
        sidecar = self.sidecar.encode()
        return _ACK.pack(
            self.version, self.loop_count, self.capabilities, self.credits, self.stream_window, self.connection_window,
            self.head_bytes_max, self.data_bytes_max, self.ping_interval_ms, self.monotonic_us, self.wall_us,
            self.worker_id, self.lane_id, self.loop_index, _ACK.size + len(sidecar), 0,
        ) + sidecar  # fmt: skip

    @classmethod
    def decode(cls, payload: bytes) -> HelloAck:
        if len(payload) < _ACK.size:
            raise FrameError("HELLO_ACK is shorter than its fixed part")
        n = _ACK.unpack_from(payload)
        if n[14] != len(payload):
            raise FrameError("HELLO_ACK does not end with its text")
        return cls(
            version=n[0], loop_count=n[1], capabilities=n[2], credits=n[3], stream_window=n[4],
            connection_window=n[5], head_bytes_max=n[6], data_bytes_max=n[7], ping_interval_ms=n[8],
            monotonic_us=n[9], wall_us=n[10], worker_id=n[11], lane_id=n[12], loop_index=n[13],
            sidecar=payload[_ACK.size :].decode("utf-8", "replace"),
        )  # fmt: skip


class Stats(NamedTuple):
    """Section 4.6, in its order."""

    rss_bytes: int
    requests: int
    exceptions: int
    active: int
    detached: int
    loop_lag_us: int
    threads: int
    gc_us: int
    wall_us: int

    def encode(self) -> bytes:
        return _STATS.pack(*self)

    @classmethod
    def decode(cls, payload: bytes) -> Stats:
        if len(payload) != _STATS.size:
            raise FrameError("STATS has another size")
        return cls(*_STATS.unpack(payload))


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
