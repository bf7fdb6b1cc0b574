"""A WebSocket client that writes what it is given, for tests that no library would let one write."""

from __future__ import annotations

import base64
import hashlib
import struct

from raw_http import Answer, RawConnection

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
KEY = base64.b64encode(bytes(range(16))).decode()
ACCEPT = base64.b64encode(
    hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
).decode()


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    last: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """`reserved`: RSV bits, 4 for RSV1. `length`: another than is true."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data) if length is None else length
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if last else 0) | reserved << 4 | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    if not masked:
        return head + data
    key = b"\x37\xfa\x21\x3d"  # Always the same, so that the names of tests are.
    wide = int.from_bytes((key * (len(data) // 4 + 1))[: len(data)], "big")
    return head + key + (int.from_bytes(data, "big") ^ wide).to_bytes(len(data), "big")


def close_frame(code: int | None = 1000, reason: str = "") -> bytes:
    payload = b"" if code is None else struct.pack("!H", code) + reason.encode()
    return frame(CLOSE, payload)


class WebSocketPeer(RawConnection):
    """Opens with ask(); then send() what you like and receive() frames."""

    def __enter__(self) -> WebSocketPeer:
        return self

    def ask(self, path: str, *lines: str, version: str = "13", key: str = KEY) -> Answer:
        self.send(
            (
                f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n"
                + "".join(f"{line}\r\n" for line in lines)
                + "\r\n"
            ).encode()
        )
        return self.switched()

    def switched(self) -> Answer:
        """A head of any status, and its body unless the protocol was switched."""
        start = self._line()
        if not start.startswith(b"HTTP/1.1 101 "):
            self.buffer = start + b"\r\n" + self.buffer
            return self.read()
        headers = []
        while line := self._line():
            name, value = line.decode("latin-1").split(":", 1)
            headers.append((name.lower(), value.strip()))
        return Answer(101, start.decode()[13:], headers, b"")

    def receive(self) -> tuple[int, bytes]:
        """Opcode (0x80: the last of its message; 0x40: compressed) and payload. Servers do not mask."""
        first, second = self._exactly(2)
        assert second < 128, "a server's frame is masked"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return first, self._exactly(size)

    def message(self) -> bytes:
        """The next message, whatever its frames are; pings in between are dropped."""
        parts = []
        while True:
            first, payload = self.receive()
            if first & 0x0F == PING:
                continue
            assert first & 0x0F in (TEXT, BINARY, CONTINUATION), (first, payload)
            parts.append(payload)
            if first & 0x80:
                return b"".join(parts)

    def closing(self) -> tuple[int | None, str]:
        """What the next Close says; other frames in front of it are dropped."""
        while True:
            first, payload = self.receive()
            if first & 0x0F != CLOSE:
                continue
            if not payload:
                return None, ""
            return struct.unpack("!H", payload[:2])[0], payload[2:].decode()
