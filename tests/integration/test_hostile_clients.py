"""One client must never harm another: clients that pause, leave half-way, or send what nobody wants.

Each test is named after the fault it keeps away (S1, S2, S10, S11).
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import struct
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, free_port, metric

PROXY_V1 = b"PROXY TCP4 10.1.2.3 10.9.9.9 4242 80\r\n"
PROXY_V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([10, 1, 2, 3, 10, 9, 9, 9])
    + struct.pack("!HH", 4242, 80)
)
GET = b"GET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.fixture
def running(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    site = make_site(tmp_path)
    (site / "60k.bin").write_bytes(b"k" * 61440)
    config = f"""
limits: {{header_timeout: 2s, idle_timeout: 60s, write_timeout: 20s, max_pipeline: 4}}
telemetry: {{access_log: true}}
listeners:
  - {{name: http}}
  - {{name: behind, address: 127.0.0.1, port: {free_port()}, proxy_protocol: true}}
mounts:
  - {{name: site, prefix: /, root: {site}}}
"""
    with Sidecar(tmp_path, config) as sidecar:
        yield sidecar


def port_behind(sidecar: Sidecar) -> int:
    for line in sidecar.config.read_text().splitlines():
        if "name: behind" in line:
            return int(line.split("port: ")[1].split(",")[0])
    raise AssertionError("the configuration has no such listener")


def lines_of(sidecar: Sidecar) -> list[dict[str, object]]:
    found = []
    for line in sidecar.stdout.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # The last one may be on its way.
            found.append(json.loads(line))
    return found


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("cut", [1, 5, 13, 20])
def test_s1_a_proxy_header_in_pieces_is_waited_for(
    running: Sidecar, header: bytes, cut: int
) -> None:
    with RawConnection(port_behind(running)) as slow, RawConnection(running.port) as other:
        slow.send(header[:cut])
        # The loop has seen the piece when a later connection of its own has been answered.
        for _ in range(3):
            assert other.get("/a.txt").body == b"0123456789"
        slow.send(header[cut:-1])
        assert other.get("/a.txt").status == 200
        slow.send(header[-1:] + GET)
        assert slow.read().body == b"0123456789"
    eventually(lambda: any(line.get("client") == "10.1.2.3" for line in lines_of(running)))


def test_s1_a_proxy_header_that_never_ends_has_a_deadline(running: Sidecar) -> None:
    with RawConnection(port_behind(running)) as slow:
        slow.send(PROXY_V1[:10])
        assert slow.closed()
    with RawConnection(running.port) as other:
        assert other.get("/a.txt").status == 200


UNHELD = [
    (b"POST /nowhere/x", "/nowhere/x", 405),
    (b"OPTIONS /a.txt", "/a.txt", 204),
    (b"TRACE /a.txt", "/a.txt", 405),
    (b"PUT /%00", "/%00", 400),
    (b"DELETE /a.txt", "/a.txt", 405),
    (b"GET /missing", "/missing", 404),
    (b"GET /a.txt", "/a.txt", 200),
]


@pytest.mark.parametrize(("line", "target", "status"), UNHELD, ids=[x[0].decode() for x in UNHELD])
def test_s2_a_late_body_leaves_the_log_its_own_bytes(
    running: Sidecar, line: bytes, target: str, status: int
) -> None:
    with RawConnection(running.port) as first, RawConnection(running.port) as other:
        first.send(line + b" HTTP/1.1\r\nHost: first.test\r\nUser-Agent: the-first\r\n")
        first.send(b"Content-Length: 40\r\n\r\n")
        answer = first.read()
        for _ in range(4):
            other.send(b"GET /" + b"z" * 200 + b" HTTP/1.1\r\nHost: zzzzzzzzzzzz\r\n\r\n")
            assert other.read().status == 404
        first.send(b"b" * 40)
        assert answer.status == status
        assert first.get("/a.txt").status == 200
    eventually(lambda: any(x.get("user_agent") == "the-first" for x in lines_of(running)))
    own = [x for x in lines_of(running) if x.get("user_agent") == "the-first"]
    assert [(x["host"], x["target"], x["method"]) for x in own] == [
        ("first.test", target, line.split(b" ")[0].decode())
    ]


def small_socket(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


def everything(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("name", ["60k.bin", "large.bin"])
def test_s10_a_client_that_ends_its_side_gets_all_bytes(running: Sidecar, name: str) -> None:
    size = (running.folder / "site" / name).stat().st_size
    with small_socket(running.port) as client:
        client.sendall(f"GET /{name} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        client.recv(1, socket.MSG_PEEK)  # It is on its way.
        client.shutdown(socket.SHUT_WR)
        _, _, body = everything(client).partition(b"\r\n\r\n")
    assert len(body) == size
    eventually(lambda: any(line.get("target") == f"/{name}" for line in lines_of(running)))
    [line] = [line for line in lines_of(running) if line.get("target") == f"/{name}"]
    assert line["bytes"] == size
    assert "end" not in line


@pytest.mark.parametrize("count", [1, 3, 64])
def test_s10_pipelined_requests_before_the_end_are_all_answered(
    running: Sidecar, count: int
) -> None:
    with small_socket(running.port) as client:
        client.sendall(b"GET /60k.bin HTTP/1.1\r\nHost: t\r\n\r\n" * count)
        client.shutdown(socket.SHUT_WR)
        answers = everything(client)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == count
    assert answers.count(b"k") - count * 61440 < count * 40  # Heads have a few of them, too.
    assert len(answers) > count * 61440


def test_s10_a_half_request_before_the_end_is_not_answered(running: Sidecar) -> None:
    with small_socket(running.port) as client:
        client.sendall(GET + b"GET /a.txt HTT")
        client.shutdown(socket.SHUT_WR)
        assert everything(client).count(b"HTTP/1.1") == 1


def test_s10_a_body_that_ends_early_frees_its_request(running: Sidecar) -> None:
    with small_socket(running.port) as client:
        client.sendall(b"POST /a.txt HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert everything(client).startswith(b"HTTP/1.1 405 ")
    eventually(lambda: metric(running, 'catzilla_http_connections{state="active"}') == 0)


APP = """
import asyncio, pathlib
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse, PlainTextResponse
from catzilla import Catzilla, cache

app = Catzilla()
HERE = pathlib.Path.cwd()

@app.get("/wait")
async def wait(request: Request):
    (HERE / "begun").touch()
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    (HERE / "disconnected").touch()
    return {}

@app.post("/echo")
async def echo(request: Request):
    return {"bytes": len(await request.body())}

@app.get("/long")
@cache(ttl=60)
async def long():
    async def body():
        yield b"12345"
        await asyncio.sleep(0.05)
        yield b"67890"
    return StreamingResponse(body(), headers={"Content-Length": "5"})

@app.get("/plain/long")
async def plain_long():
    async def body():
        yield b"12345"
        await asyncio.sleep(0.05)
        yield b"67890"
    return StreamingResponse(body(), headers={"Content-Length": "5"})

@app.get("/short")
@cache(ttl=60)
async def short():
    async def body():
        yield b"123"
    return StreamingResponse(body(), headers={"Content-Length": "5"})

@app.get("/plain/short")
async def plain_short():
    async def body():
        yield b"123"
    return StreamingResponse(body(), headers={"Content-Length": "5"})

def twice(first, second):
    answer = PlainTextResponse("hello")
    answer.raw_headers = [(b"content-length", first), (b"content-length", second)]
    return answer

@app.get("/twice/same")
async def twice_same():
    return twice(b"5", b"5")

@app.get("/twice/other")
async def twice_other():
    return twice(b"5", b"6")

@app.get("/twice/cached")
@cache(ttl=60)
async def twice_cached():
    return twice(b"5", b"6")

@app.get("/length/{value}")
async def length(value: str):
    answer = PlainTextResponse("hello")
    answer.raw_headers = [(b"content-length", value.encode())]
    return answer

@app.get("/closes")
async def closes():
    return PlainTextResponse("bye", headers={"Connection": "close"})
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = tmp_path_factory.mktemp("app")
    config = """
pools: [{name: app}]
routes:
  - {name: small, path: /echo, methods: [POST], pool: app, max_body_size: 100B}
"""
    with AppProcess(folder, APP, config=config) as running:
        yield running


def test_s10_an_app_is_told_of_a_client_that_ended_its_side(app: AppProcess) -> None:
    with app.connect() as client:
        client.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually((app.folder / "begun").exists)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b""
    eventually((app.folder / "disconnected").exists)


def test_s11_a_body_over_the_routes_limit_does_not_hang_the_connection(app: AppProcess) -> None:
    with app.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\n" + b"x" * 500)
        answer = client.read()
        assert (answer.status, answer.header("connection")) == (413, None)
        assert client.get("/plain/short", method="HEAD").status == 405
    with app.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\n" + b"x" * 500)
        client.send(b"GET /closes HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.read().status == 413
        assert client.read().body == b"bye"


def test_s11_chunks_over_the_routes_limit_end_in_413(app: AppProcess) -> None:
    with app.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"ff\r\n" + b"x" * 255 + b"\r\n0\r\n\r\n")
        answer = client.read()
        assert (answer.status, answer.header("connection")) == (413, "close")
        assert client.closed()


@pytest.mark.parametrize("path", ["/long", "/plain/long"])
def test_s8_more_than_the_promised_length_never_leaves(app: AppProcess, path: str) -> None:
    for _ in range(2):
        with app.connect() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            client.send(b"GET /closes HTTP/1.1\r\nHost: t\r\n\r\n")
            everything = client.rest()
        body = everything.partition(b"\r\n\r\n")[2]
        assert body.startswith(b"12345")
        assert body[5:] == b"" or body[5:].startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("path", ["/short", "/plain/short"])
def test_s8_less_than_the_promised_length_breaks_the_answer(app: AppProcess, path: str) -> None:
    for _ in range(2):
        with app.connect() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
            head, _, body = client.rest().partition(b"\r\n\r\n")
        # Where the whole of it was there before its head left, an error can still be said.
        assert body == b"123" or head.startswith(b"HTTP/1.1 502 ")


def test_s8_a_length_given_twice_is_sent_once(app: AppProcess) -> None:
    with app.connect() as client:
        answer = client.get("/twice/same")
        assert [value for name, value in answer.headers if name == "content-length"] == ["5"]
        assert answer.body == b"hello"


@pytest.mark.parametrize(
    "path", ["/twice/other", "/twice/cached", "/length/abc", "/length/-5", "/length/+5"]
)
def test_s8_lengths_that_cannot_be_true_are_an_error(app: AppProcess, path: str) -> None:
    with app.connect() as client:
        assert client.get(path).status in (500, 502)


def test_a14_an_app_may_close_the_connection(app: AppProcess) -> None:
    with app.connect() as client:
        answer = client.get("/closes")
        assert answer.header("connection") == "close"
        assert client.closed()
