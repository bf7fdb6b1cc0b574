"""Real servers behind the sidecar: uvicorn with both of its parsers, nginx, http.server, node where there is one."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
import threading

import pytest
from processes import running
from raw_http import RawConnection
from scripted_upstream import config
from sidecar_process import Sidecar, free_port, metric

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))

from nginx_process import Nginx

APP = """
import asyncio, hashlib, json

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    async def start(status, *headers):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    async def body(data, more=False):
        await send({"type": "http.response.body", "body": data, "more_body": more})
    path = scope["path"]
    if path == "/none":
        await start(204)
        return await body(b"")
    if path == "/stream":
        await start(200)
        for i in range(5):
            await body(b"piece %d\\n" % i, True)
            await asyncio.sleep(0.01)
        return await body(b"")
    if path == "/die":
        await start(200, (b"content-length", b"100"))
        await body(b"half", True)
        raise RuntimeError("on purpose")
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    told = {"method": scope["method"], "target": scope["raw_path"].decode(), "size": size,
            "client": scope["client"], "scheme": scope["scheme"], "sha": digest.hexdigest(),
            "headers": {k.decode(): v.decode() for k, v in scope["headers"]}}
    data = json.dumps(told).encode()
    await start(200, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(data)))
    await body(b"" if scope["method"] == "HEAD" else data)
"""

NODE = """
require("http").createServer((request, response) => {
  let size = 0;
  request.on("data", (data) => { size += data.length; });
  request.on("end", () => {
    if (request.url === "/hints") response.writeEarlyHints({ link: "</a.css>; rel=preload" });
    if (request.url === "/stream") { response.write("one "); response.end("two"); return; }
    response.end(JSON.stringify({ method: request.method, size, headers: request.headers }));
  });
}).listen(Number(process.argv[1]), "127.0.0.1");
"""


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_uvicorn(tmp_path: pathlib.Path, parser: str) -> None:
    (tmp_path / "peer_app.py").write_text(APP)
    port = free_port()
    command: tuple[str, ...] = (
        sys.executable,
        "-m",
        "uvicorn",
        "peer_app:app",
        "--port",
        str(port),
        "--http",
        parser,
    )
    command += ("--forwarded-allow-ips", "127.0.0.1", "--lifespan", "off")
    with (
        running(tmp_path, port, *command),
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
        RawConnection(sidecar.port, seconds=60) as client,
    ):
        for _ in range(50):
            told = json.loads(client.get("/a%20b?c=d").body)
            assert (told["method"], told["target"], told["size"]) == ("GET", "/a%20b", 0)
            assert told["client"][0] == "127.0.0.1"
            assert told["headers"]["host"] == "test"
        assert client.get("/none").status == 204
        got = client.get("/", method="HEAD")
        assert (got.status, got.body) == (200, b"")
        assert client.get("/stream").body == b"".join(b"piece %d\n" % i for i in range(5))
        for framing in (b"Content-Length: 3000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            client.send(b"POST /up HTTP/1.1\r\nHost: a\r\n" + framing)
            if b"chunked" in framing:
                client.send(
                    b"".join(b"2710\r\n" + b"x" * 10000 + b"\r\n" for _ in range(300))
                    + b"0\r\n\r\n"
                )
            else:
                client.send(b"x" * 3000000)
            assert json.loads(client.read().body)["size"] == 3000000
        connects = f'catzilla_pool_target_connects_total{{pool="web",target="127.0.0.1:{port}"}}'
        assert metric(sidecar, connects) <= 2
        with RawConnection(sidecar.port) as other, pytest.raises((EOFError, ConnectionResetError)):
            other.get("/die")
        answers: list[int] = []

        def many() -> None:
            with RawConnection(sidecar.port) as one:
                answers.extend(one.get(f"/{i}").status for i in range(50))

        threads = [threading.Thread(target=many) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 400


def test_nginx(tmp_path: pathlib.Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.txt").write_text("0123456789")
    (site / "large.bin").write_bytes(bytes(range(256)) * 40000)
    (site / "page.txt").write_text("text " * 1000)
    folder = tmp_path / "nginx"
    folder.mkdir()
    with (
        Nginx(folder, site) as nginx,
        Sidecar(tmp_path, config(f"127.0.0.1:{nginx.port}")) as sidecar,
    ):
        with RawConnection(sidecar.port) as client:
            got = client.get("/a.txt")
            assert (got.status, got.body) == (200, b"0123456789")
            assert (
                client.get("/a.txt", "If-None-Match: " + (got.header("etag") or "")).status == 304
            )
            part = client.get("/a.txt", "Range: bytes=2-4")
            assert (part.status, part.body) == (206, b"234")
            assert client.get("/none").status == 404
            assert client.get("/a.txt", method="HEAD").header("content-length") == "10"
            assert client.get("/large.bin").body == bytes(range(256)) * 40000
            packed = client.get("/made/page.txt", "Accept-Encoding: gzip")
            assert packed.header("content-encoding") == "gzip"
            assert client.get("/a.txt").body == b"0123456789"


def test_an_old_server(tmp_path: pathlib.Path) -> None:
    """http.server speaks HTTP/1.0: each answer ends with its connection."""
    (tmp_path / "a.txt").write_text("0123456789")
    port = free_port()
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    with (
        running(tmp_path, port, *command),
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for _ in range(10):
            assert client.get("/a.txt").body == b"0123456789"
        assert client.get("/a.txt", method="HEAD").header("content-length") == "10"
        assert client.get("/none").status == 404
        assert client.get("/a.txt", method="POST").status == 501


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(tmp_path: pathlib.Path) -> None:
    port = free_port()
    with (
        running(tmp_path, port, "node", "-e", NODE, str(port)),
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for _ in range(20):
            told = json.loads(client.get("/").body)
            assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert client.get("/stream").body == b"one two"
        assert client.get("/hints").informational in ([103], [])
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
        assert json.loads(client.read().body)["size"] == 100000
