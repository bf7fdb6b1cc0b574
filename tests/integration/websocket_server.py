"""The server's side of WebSockets, frame by frame, for scripts of `scripted_upstream`."""

from __future__ import annotations

import base64
import hashlib
import json

from scripted_upstream import Request, Served
from sidecar_process import Sidecar
from websocket_peer import CLOSE, WebSocketPeer, frame

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept(request: Request, *fields: str) -> bytes:
    """The 101 that this handshake asks for."""
    key = (request.header("sec-websocket-key") or "") + GUID
    proof = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {proof}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def plain(opcode: int, payload: bytes | str = b"", **options: bool) -> bytes:
    return frame(opcode, payload, masked=False, **options)


def received(served: Served) -> tuple[int, bytes]:
    """A frame of the sidecar's: masked, as a client's must be."""
    first, second = served.exactly(2)
    assert second & 0x80, "a client's frame is not masked"
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(served.exactly(2 if size == 126 else 8), "big")
    key = served.exactly(4)
    data = served.exactly(size)
    wide = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return first, (int.from_bytes(data, "big") ^ wide).to_bytes(size, "big")


def echo(served: Served, request: Request) -> None:
    served.send(accept(request))
    while True:
        first, data = received(served)
        if first & 0x0F == CLOSE:
            served.send(plain(CLOSE, data))
            return served.close()
        served.send(plain(first & 0x0F, data, last=bool(first & 0x80)))


def opened(sidecar: Sidecar, path: str = "/", *lines: str) -> WebSocketPeer:
    client = WebSocketPeer(sidecar.port, seconds=30)
    made = client.ask(path, *lines)
    assert made.status == 101, made
    return client


def access(sidecar: Sidecar) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in sidecar.stdout.read_text().splitlines()]
    return [line for line in lines if line.get("status") == 101]
