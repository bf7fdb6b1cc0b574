"""WebSocket servers behind the sidecar: Python's `websockets`, and node where there is one."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import pytest
from processes import running
from scripted_upstream import config
from sidecar_process import Sidecar, free_port
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SERVER = """
import sys
from websockets.sync.server import serve

def handle(socket):
    for message in socket:
        if message == "close":
            return socket.close(4321, "as asked")
        if message == "ping":
            message = "ponged" if socket.ping().wait(20) else "silent"
        socket.send(message)

def gate(socket, request):
    if request.path == "/refused":
        return socket.respond(401, "not you")

with serve(handle, "127.0.0.1", int(sys.argv[1]), subprotocols=["chat"], process_request=gate,
           max_size=None) as server:
    server.serve_forever()
"""

# RFC 6455 by hand: node's standard library has no WebSocket server. Messages up to 125 bytes.
NODE = """
const { createHash } = require("crypto");
require("http").createServer().on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n" +
    "Sec-WebSocket-Accept: " + createHash("sha1").update(key).digest("base64") + "\\r\\n\\r\\n");
  let held = Buffer.alloc(0);
  socket.on("data", (data) => {
    held = Buffer.concat([held, data]);
    while (held.length >= 6 && held.length >= 6 + (held[1] & 127)) {
      const size = held[1] & 127;
      const body = Buffer.from(held.subarray(6, 6 + size).map((byte, i) => byte ^ held[2 + i % 4]));
      const opcode = held[0] & 15;
      held = held.subarray(6 + size);
      socket.write(Buffer.concat([Buffer.from([128 | opcode, size]), body]));
      if (opcode === 8) socket.end();
    }
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
"""


def test_websockets(tmp_path: pathlib.Path) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(SERVER)
    with (
        running(tmp_path, port, sys.executable, "server.py", str(port)),
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
    ):
        url = f"ws://127.0.0.1:{sidecar.port}"
        with connect(url, subprotocols=["other", "chat"], max_size=None) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "chat"
            assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]
            for message in (
                "",
                "grün",
                b"\x00\xff",
                os.urandom(300_000),
                "long " * 200_000,
                "ping",
            ):
                socket.send(message)
                expected = "ponged" if message == "ping" else message
                assert socket.recv(30) == expected
            socket.send(["in ", "three ", "fragments"])
            assert socket.recv(30) == "in three fragments"
            assert socket.ping().wait(20)
            socket.send("close")
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(30)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as asked")
        with pytest.raises(InvalidStatus) as refused, connect(f"{url}/refused"):
            pass
        assert refused.value.response.status_code == 401
        assert refused.value.response.body == b"not you"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(tmp_path: pathlib.Path) -> None:
    port = free_port()
    (tmp_path / "server.js").write_text(NODE)
    with (
        running(tmp_path, port, "node", "server.js", str(port)),
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
        connect(f"ws://127.0.0.1:{sidecar.port}") as socket,
    ):
        for i in range(200):
            socket.send(f"message {i}")
        assert [socket.recv(30) for _ in range(200)] == [f"message {i}" for i in range(200)]
        socket.close(3999, "enough")
        assert (socket.close_code, socket.close_reason) == (3999, "enough")
