"""Streams of an app, both ways, with the app of docs/streams.md: each piece at once, and what ends them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import socket
from collections.abc import Iterator

import pytest
from app_process import AppProcess
from raw_http import RawConnection
from waiting import eventually

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "streams.md"
CLIENTS = 300
MORE = """
import queue

steps = queue.Queue()
made = {}
seen = []

@app.get("/listeners")
async def listeners() -> int:
    return len(feed.queues)

@app.post("/step/{word}")
async def step(word: str) -> None:
    steps.put(word)

@app.get("/steps")  # Each piece waits for the test.
def stepwise() -> StreamingResponse:
    def each():
        while (word := steps.get()) != "end":
            yield word
    return StreamingResponse(each(), media_type="text/plain")

@app.get("/broken")
async def broken() -> StreamingResponse:
    async def each():
        yield b"first"
        raise ZeroDivisionError("broken")
    return StreamingResponse(each(), media_type="text/plain")

@app.get("/flood/{name}")
async def flood(name: str) -> StreamingResponse:
    async def each():
        while True:
            made[name] = made.get(name, 0) + 1
            yield b"x" * 65536
    return StreamingResponse(each())

@app.get("/made")
async def made_so_far() -> dict[str, int]:
    return made

@app.post("/upload")
async def upload(request: Request) -> int:
    async for chunk in request.stream():
        seen.append(len(chunk))
    return sum(seen)

@app.get("/seen")
async def seen_so_far() -> int:
    return sum(seen)

async def duplex(scope, receive, send):  # Answers while it is asked; Starlette's own answers cannot.
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

app.mount("/duplex", duplex)
"""


def example() -> str:
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    config = "pools: [{name: app, credits_per_worker: 8}]\n"
    folder = tmp_path_factory.mktemp("streams")
    with AppProcess(folder, example() + MORE, "--workers", "1", config=config) as running:
        yield running


class Stream:
    """A request whose answer is read piece by piece."""

    def __init__(self, app: AppProcess, path: str, *more: str, method: str = "GET") -> None:
        self.raw = app.connect()
        head = [f"{method} {path} HTTP/1.1", "Host: t", *more, "", ""]
        self.raw.send("\r\n".join(head).encode())

    def head(self) -> list[str]:
        lines = []
        while line := self.raw._line():
            lines.append(line.decode().lower())
        assert lines[0] == "http/1.1 200 ok"
        assert "transfer-encoding: chunked" in lines
        return lines

    def piece(self) -> bytes:
        """One chunk; empty at the end of the body."""
        piece = self.raw._exactly(int(self.raw._line(), 16))
        assert self.raw._line() == b""
        return piece

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


def ask(app: AppProcess, path: str, method: str = "GET", body: bytes = b"") -> bytes:
    with app.connect() as raw:
        head = f"{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        raw.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = raw.read()
    assert answer.status in (200, 202), answer
    return answer.body


def publish(app: AppProcess, name: str) -> None:
    ask(app, "/items", "POST", json.dumps({"name": name}).encode())


def listeners(app: AppProcess, count: int) -> None:
    eventually(lambda: int(ask(app, "/listeners")) == count, 60)


@pytest.mark.parametrize(
    ("path", "kind", "piece"),
    [
        ("/events", "text/event-stream", b'event: item\ndata: {"name":"%s"}\n\n'),
        ("/lines", "application/jsonl", b'{"name":"%s"}\n'),
    ],
)
def test_what_is_published_is_heard_at_once(
    app: AppProcess, path: str, kind: str, piece: bytes
) -> None:
    with Stream(app, path, "Accept-Encoding: gzip, br") as stream:
        head = stream.head()  # Before there is anything to hear.
        assert any(line.startswith(f"content-type: {kind}") for line in head)
        assert not any(line.startswith("content-encoding") for line in head)
        listeners(app, 1)
        for word in (b"one", b"two", b"three"):
            publish(app, word.decode())
            assert stream.piece() == piece % word
    listeners(app, 0)  # Its `finally` has run.


def test_each_step_of_a_generator_that_is_not_async(app: AppProcess) -> None:
    with Stream(app, "/steps") as stream:
        stream.head()
        for word in ("one", "two", "three"):
            ask(app, f"/step/{word}", "POST")
            assert stream.piece() == word.encode()
        ask(app, "/step/end", "POST")
        assert stream.piece() == b""


def test_a_generator_that_is_not_async_to_its_end(app: AppProcess) -> None:
    expected = "".join(f"{number},{number * number}\n" for number in range(3000))
    assert ask(app, "/squares.csv?rows=3000").decode() == expected


def test_an_app_reads_while_the_rest_is_on_its_way(app: AppProcess) -> None:
    with app.connect() as raw:
        raw.send(b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 20000\r\n\r\n" + b"a" * 400)
        eventually(lambda: int(ask(app, "/seen")) == 400)
        raw.send(b"b" * 19_600)
        assert raw.read().body == b"20000"
    with app.connect() as raw:
        raw.send(b"POST /sum HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            raw.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        raw.send(b"0\r\n\r\n")
        assert json.loads(raw.read().body)["size"] == 1_000_000


def test_question_and_answer_at_once(app: AppProcess) -> None:
    with Stream(app, "/duplex/", "Transfer-Encoding: chunked", method="POST") as stream:
        assert "connection: close" in stream.head()
        for word in (b"one", b"three", b"two"):
            stream.raw.send(b"%x\r\n%s\r\n" % (len(word), word))
            heard = b""
            while len(heard) < len(word):
                heard += stream.piece()
            assert heard == word.upper()
        stream.raw.send(b"0\r\n\r\n")
        assert stream.piece() == b""
        assert stream.raw.closed()  # As the head has said.


def test_an_exception_after_the_first_piece_is_seen(app: AppProcess) -> None:
    with Stream(app, "/broken") as stream:
        stream.head()
        assert stream.piece() == b"first"
        assert stream.raw.closed()  # Without the chunk that ends a body.
    eventually(lambda: "ZeroDivisionError: broken" in app.output.read_text())


def old(app: AppProcess, path: str) -> RawConnection:
    raw = app.connect()
    raw.send(f"GET {path} HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n".encode())
    return raw


def test_a_client_of_http_1_0_gets_all_of_it(app: AppProcess) -> None:
    with old(app, "/squares.csv?rows=3000") as raw:
        answer = raw.read()  # To the end of the connection.
        assert answer.header("transfer-encoding") is None
        assert answer.header("content-length") is None
        assert answer.header("connection") == "close"
        assert answer.body.endswith(b"2999,8994001\n") and answer.body.count(b"\n") == 3000


def test_a_client_of_http_1_0_sees_that_it_was_broken_off(app: AppProcess) -> None:
    with old(app, "/broken") as raw, pytest.raises(ConnectionResetError):
        raw.rest()


def test_many_clients_of_one_worker(app: AppProcess) -> None:
    """All hear it; they hold none of the worker's 8 credits, and what is not a stream is answered as before."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(Stream(app, "/events")) for _ in range(CLIENTS)]
        for stream in streams:
            stream.head()
        listeners(app, CLIENTS)
        for word in ("one", "two"):
            publish(app, word)
            for stream in streams:
                assert f'"{word}"'.encode() in stream.piece()
            assert ask(app, "/squares.csv?rows=1") == b"0,0\n"
    listeners(app, 0)


def test_who_does_not_read_holds_back_itself_alone(app: AppProcess) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(30):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", app.port))
            client.sendall(b"GET /flood/%d HTTP/1.1\r\nHost: t\r\n\r\n" % number)
            assert client.recv(12) == b"HTTP/1.1 200"
        stream = stack.enter_context(Stream(app, "/events"))
        stream.head()
        listeners(app, 1)
        publish(app, "heard")
        assert b"heard" in stream.piece()
        last: dict[str, int] = {}

        def all_wait() -> bool:
            nonlocal last
            before, last = last, json.loads(ask(app, "/made"))
            return len(last) == 30 and last == before

        eventually(all_wait, 60)
        # 64 KiB each: the link's window, the sidecar's output, and what a kernel's socket takes.
        assert max(last.values()) < 160
    # These generators never wait for anything but their clients, and still end with them.
    listeners(app, 0)
    eventually(all_wait, 60)
