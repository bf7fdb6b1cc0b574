"""The frame layer of the worker link: numbers, limits, frames out of a byte stream, header fields.

The contract is ``proto/catzilla/worker/v1/frames.md``, sections 1, 2, 4 (fields) and 6. What the frames
carry is in ``_frames.py`` and ``_hello.py``. Raises as ``_frames.py`` says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

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

# HELLO and HELLO_ACK: capabilities.
CAPABILITY_SENDFILE: Final = 0x02
CAPABILITY_WEBSOCKET: Final = 0x04
CAPABILITY_DUMP: Final = 0x10
CAPABILITIES: Final = CAPABILITY_SENDFILE | CAPABILITY_WEBSOCKET | CAPABILITY_DUMP

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
REQUEST_BYTES_ONLY: Final = 0x80

# WS_MESSAGE. What a piece takes from a window beside its bytes.
MESSAGE_TEXT: Final = 1
MESSAGE_BINARY: Final = 2
MESSAGE_MORE: Final = 0x100
PIECE_OVERHEAD: Final = 64
REASON_BYTES_MAX: Final = 123
CLOSE_NO_STATUS: Final = 1005
CLOSE_ABNORMAL: Final = 1006

# RESPONSE.
LANE_SLOW: Final = 0
LANE_STACK: Final = 1
LANE_FAST: Final = 2

# Why not the registered lane, in a RESPONSE.
FALLBACK_NONE: Final = 0
FALLBACK_NOT_COMPILED: Final = 1
FALLBACK_INPUT: Final = 2
FALLBACK_OVERRIDES: Final = 3
FALLBACK_PATCHED: Final = 4
FALLBACK_VALIDATION: Final = 5
FALLBACK_EXCEPTION: Final = 6
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

_END_ALLOWED: Final = frozenset({REQUEST, REQUEST_DATA, RESPONSE, RESPONSE_DATA, TRAILERS, SENDFILE, WS_CLOSE})
_DATA: Final = frozenset({REQUEST_DATA, RESPONSE_DATA, WS_MESSAGE, DUMP})
_KNOWN: Final = frozenset(
    {*range(HELLO, CREDIT + 1), *range(REQUEST, SENDFILE + 1), *range(UPGRADE, WS_PONG + 1), STATS, LOG, DUMP}
)
# Which types belong to the connection, and which to a stream; CREDIT, WINDOW and GOAWAY may be either.
_ON_CONNECTION: Final = frozenset({HELLO, HELLO_ACK, PING, PONG, STATS, LOG, DUMP})
_ON_STREAM: Final = frozenset(
    {
        REQUEST,
        REQUEST_DATA,
        RESPONSE,
        RESPONSE_DATA,
        INFORMATIONAL,
        TRAILERS,
        END,
        CANCEL,
        DETACHED,
        SENDFILE,
        UPGRADE,
        WS_ACCEPT,
        WS_MESSAGE,
        WS_CLOSE,
    }
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
        if kind in (REQUEST, UPGRADE, RESPONSE):
            return self.head_bytes_max + self.data_bytes_max
        if kind in _DATA:
            return self.data_bytes_max
        if kind in (INFORMATIONAL, TRAILERS, WS_ACCEPT):
            return self.head_bytes_max
        return HELLO_BYTES_MAX if kind == HELLO else CONTROL_BYTES_MAX


# Frames ------------------------------------------------------------------------


def encode_frame(kind: int, stream: int = 0, payload: bytes | memoryview = b"", flags: int = 0, aux: int = 0) -> bytes:
    return _HEADER.pack(len(payload), kind, flags, 0, stream, aux) + payload


_WHOLE: Final = (FLAG_END, REQUEST)  # The most frequent one.


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
            if reserved or length > HELLO_BYTES_MAX or kind not in _KNOWN or (flags and (flags, kind) != _WHOLE):
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
    if kind == SENDFILE and len(payload) != 16:
        raise FrameError("SENDFILE is 16 bytes")
    if kind == WS_MESSAGE and aux & ~MESSAGE_MORE not in (MESSAGE_TEXT, MESSAGE_BINARY):
        raise FrameError("a message is neither text nor binary")
    if kind == WS_CLOSE and len(payload) > REASON_BYTES_MAX:
        raise FrameError(f"a reason is {REASON_BYTES_MAX} bytes at most")


# Fields ------------------------------------------------------------------------


# RFC 9110 section 5.5, less NUL, which is counted.
_CONTROL: Final = re.compile(rb"[\x01-\x08\x0a-\x1f\x7f]")


# Names of answer fields, in lower case. Apps use few different ones; past _NAMES_MAX they are not kept.
LOWER: Final[dict[bytes, bytes]] = {}
_NAMES_MAX: Final = 1024
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def lower(name: bytes) -> bytes:
    """A field's name as the link wants it. Raises ValueError for what is none."""
    known = LOWER.get(name)
    if known is not None:
        return known
    name = bytes(name)
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header field")
    lowered = name.lower()
    if len(LOWER) < _NAMES_MAX:
        LOWER[name] = lowered
    return lowered


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """How many pairs, and their bytes. Raises ValueError where a field could not go on the wire."""
    parts = list(chain.from_iterable(fields))
    if not parts:
        return 0, b""
    data = b"\0".join(parts) + b"\0"
    if data.count(b"\0") != len(parts) or _CONTROL.search(data):
        raise ValueError("a header field contains NUL, CR, LF or another control character")
    return len(parts) >> 1, data


def decode_fields(data: bytes, count: int) -> list[tuple[bytes, bytes]]:
    parts = iter(data.split(b"\0"))
    fields = list(zip(parts, parts, strict=False))
    if len(fields) != count or (data and data[-1]):
        raise FrameError("the number of header fields differs from the count beside them")
    return fields
