"""How the values of a REQUEST frame become what FastAPI would hand to its validators."""

from __future__ import annotations

import email.message
import struct
from typing import Final

_CONTENT_TYPES: Final[dict[bytes, bool]] = {}  # Clients send few different ones; past _KNOWN_MAX none is kept.
_KNOWN_MAX: Final = 256


def is_json(content_type: bytes) -> bool:
    """FastAPI's rule: application/json, or application/...+json."""
    known = _CONTENT_TYPES.get(content_type)
    if known is None:
        message = email.message.Message()
        message["content-type"] = content_type.decode("latin-1")
        subtype = message.get_content_subtype()
        known = message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
        if len(_CONTENT_TYPES) < _KNOWN_MAX:
            _CONTENT_TYPES[content_type] = known
    return known


def texts(payload: bytes, at: int, length: int, encoding: str) -> list[str]:
    """A repeated value's list (frames.md section 4.3). Raises ValueError if it is none."""
    size = length & 0x7FFF
    if not length & 0x8000 or at + size > len(payload):
        raise ValueError("not a list slot")
    spots = struct.unpack_from(f"<{size >> 1}H", payload, at)
    return [
        payload[start : start + count].decode(encoding, "replace")
        for start, count in zip(spots[::2], spots[1::2], strict=True)
    ]
