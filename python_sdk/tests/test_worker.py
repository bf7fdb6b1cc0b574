"""A worker in this process behind a fake sidecar: ASGI over the link, backpressure, disconnects, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_sidecar import FakeLink, StreamFailed

from catzilla._exceptions import LinkError
from catzilla._settings import Ticket, WorkerPlace, WorkerSettings
from catzilla._worker import _frames as f
from catzilla._worker._serve import Worker

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Ended:
    def __init__(self) -> None:
        self.calls: list[tuple[int, bool, str]] = []
        self.event = asyncio.Event()

    def __call__(self, code: int, clean: bool, reason: str) -> None:
        self.calls.append((code, clean, reason))
        self.event.set()


class Pair:
    def __init__(self, link: FakeLink, worker: Worker, ended: Ended, ticket: Ticket, recycled: list[str]) -> None:
        self.link, self.worker, self.ended, self.ticket, self.recycled = link, worker, ended, ticket, recycled

    async def open(self, method: str = "GET", target: str = "/", **more: Any) -> Any:
        return self.link.open(await self.link.lane(), method, target, **more)


@asynccontextmanager
async def serving(
    tmp_path: Path, app: Any, *, loops: int = 1, state: Any = None, **settings: Any
) -> AsyncIterator[Pair]:
    link = FakeLink(loops=loops)
    path = str(tmp_path / "worker.sock")
    await link.listen(path)
    ended = Ended()
    recycled: list[str] = []
    worker = Worker(
        app,
        WorkerSettings(target="x", **settings),
        WorkerPlace.here(0),
        state=state or {},
        table_hash=bytes(32),
        vary={3: b"accept-language"},
        on_ended=ended,
        on_recycle=recycled.append,
    )
    ticket = Ticket(pool="app", epoch=1, generation=1, token="00" * 16, socket=path)
    await worker.attach(ticket)
    try:
        yield Pair(link, worker, ended, ticket, recycled)
    finally:
        await worker.drain(0, "", 1)
        link.close()


async def wait_for(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def run(coroutine: Any) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_a_lane_per_loop_and_one_control_connection(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello, loops=3) as pair:
            assert [lane.hello.loop_index for lane in pair.link.lanes if lane.hello] == [0, 1, 2]
            assert len(pair.link.controls) == 1
            identities = {(c.hello.pid, c.hello.start_time_us) for c in pair.link.connections if c.hello}
            assert len(identities) == 1
            for _ in range(6):
                answer = await pair.link.request()
                assert (answer.status, answer.body) == (200, b"hello")
                assert answer.fields == [(b"content-type", b"text/plain")]

    run(script())


def test_the_scope_is_whole(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(scope)
        scope["state"]["mine"] = 1
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app, state={"shared": [1]}) as pair:
            fields = [(b"host", b"a.example:81"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"\xff")]
            await pair.link.request("POST", "/caf%C3%A9/a%2Fb?q=%20&q", fields, root_path=b"/root")
            await pair.link.request()

    run(script())
    scope = seen[0]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "/root",
        "path": "/café/a/b",
        "raw_path": b"/caf%C3%A9/a%2Fb",
        "query_string": b"q=%20&q",
        "headers": [(b"host", b"a.example:81"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"\xff")],
        "extensions": {"http.response.early_hint": {}},
        "state": {"shared": [1], "mine": 1},
    }
    assert seen[1]["state"]["shared"] is scope["state"]["shared"]
    assert seen[1]["state"] is not scope["state"]


def test_head_and_empty_statuses_carry_no_body(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        status = int(scope["path"][1:] or 200)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hel", "more_body": True})
        await send({"type": "http.response.body", "body": b"lo"})

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            assert (await pair.link.request("HEAD")).body == b""
            assert (await pair.link.request(target="/204")).body == b""
            assert (await pair.link.request(target="/304")).body == b""
            assert (await pair.link.request()).body == b"hello"

    run(script())


def test_a_request_body_is_read_in_pieces_with_backpressure(tmp_path: Path) -> None:
    gate = asyncio.Event()
    sizes: list[int] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await hello(scope, receive, send)

    async def script() -> None:
        total = 3 << 20
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open("POST", streaming=True)
            sender = asyncio.create_task(exchange.send_body(b"x" * total, end=True))
            await asyncio.sleep(0.1)
            assert not sender.done()  # The window is used up, and nobody reads.
            assert exchange.window == 0
            gate.set()
            assert (await exchange.answer()).status == 200
            await sender
            assert sum(sizes) == total

    run(script())


def test_a_slow_client_holds_the_app_and_not_the_lane(tmp_path: Path) -> None:
    produced = 0

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal produced
        if scope["path"] == "/quick":
            return await hello(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            produced += 1
        await send({"type": "http.response.body", "body": b""})
        return None

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            exchange.auto_window = False
            await exchange.head()
            await asyncio.sleep(0.1)
            assert produced <= 5  # 256 KiB of window.
            assert (await pair.link.request(target="/quick")).body == b"hello"
            exchange.auto_window = True
            exchange.connection.write(f.encode_frame(f.WINDOW, exchange.stream, aux=256 * 1024))
            size = 0
            async for kind, _, _, payload in exchange.arriving():
                size += len(payload) if kind == f.RESPONSE_DATA else 0
            assert produced == 100
            assert size >= 99 * 65536

    run(script())


def test_expect_100_is_asked_for_only_by_an_app_that_reads(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/read":
            assert (await receive())["body"] == b"abc"
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open("POST", "/read", streaming=True, flags=f.REQUEST_EXPECT_CONTINUE)
            await exchange.send_body(b"abc", end=True)  # Waits for the window.
            assert (await exchange.answer()).status == 200
            exchange = await pair.open("POST", "/ignore", streaming=True, flags=f.REQUEST_EXPECT_CONTINUE)
            assert (await exchange.answer()).status == 200
            assert exchange.window == 0

    run(script())


def test_a_client_that_leaves_is_a_disconnect_and_the_handler_goes_on(tmp_path: Path) -> None:
    done = asyncio.Event()
    messages: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        messages.append((await receive())["type"])
        messages.append((await receive())["type"])
        await asyncio.sleep(0.05)
        await hello(scope, receive, send)  # Dropped.
        done.set()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await asyncio.sleep(0.05)
            exchange.cancel()
            with pytest.raises(StreamFailed) as caught:
                await exchange.answer()
            assert caught.value.code == f.END_CANCELLED
            assert done.is_set()  # END waited for the handler.
            assert messages == ["http.request", "http.disconnect"]

    run(script())


def test_a_client_that_leaves_in_mid_upload_is_a_disconnect(tmp_path: Path) -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            messages.append(message)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open("POST", streaming=True)
            await exchange.send_body(b"half")
            await wait_for(lambda: messages)
            exchange.cancel()
            with pytest.raises(StreamFailed):
                await exchange.answer()
            assert messages == [{"type": "http.request", "body": b"half", "more_body": True}]
            assert pair.worker.active == 0

    run(script())


def test_a_streaming_body_is_cancelled_as_starlette_does(tmp_path: Path) -> None:
    from starlette.responses import StreamingResponse

    cleaned = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await asyncio.sleep(0.01)
        finally:
            cleaned.set()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await StreamingResponse(endless())(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await exchange.head()
            exchange.cancel()
            await exchange.ended.wait()
            await asyncio.wait_for(cleaned.wait(), 5)
            assert pair.worker.active == 0

    run(script())


def test_a_route_may_opt_in_to_cancellation(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open(flags=f.REQUEST_CANCEL_ON_DISCONNECT)
            await asyncio.sleep(0.05)
            exchange.cancel()
            with pytest.raises(StreamFailed):
                await exchange.answer()
            assert cancelled.is_set()

    run(script())


def test_the_control_connection_cancels_too(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await asyncio.sleep(0.05)
            lane_id = pair.worker._lanes[0].protocol.ack.lane_id  # type: ignore[union-attr]
            data = f.encode_frame(f.CANCEL, exchange.stream, lane_id.to_bytes(4, "little"), aux=1)
            pair.link.controls[0].write(data)
            # Only the disconnect came this way: the stream itself was not cancelled, so its END says "failed".
            with pytest.raises(StreamFailed):
                await exchange.answer()

    run(script())


@pytest.mark.parametrize("begun", [False, True], ids=["before", "after"])
def test_an_app_that_raises_fails_its_request_only(tmp_path: Path, begun: bool, caplog: Any) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            return await hello(scope, receive, send)
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError("broken")

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            with pytest.raises(StreamFailed, match="ValueError: broken") as caught:
                await exchange.answer()
            assert caught.value.code == f.END_FAILED
            assert (await pair.link.request(target="/fine")).body == b"hello"
            assert pair.worker.exceptions == 1

    with caplog.at_level(logging.ERROR, "catzilla.error"):
        run(script())
    assert "Exception in ASGI application" in caplog.text
    assert "ValueError: broken" in caplog.text


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "without completing"),
        ([{"type": "http.response.start", "status": 200, "headers": []}], "without completing"),
        ([{"type": "http.response.body", "body": b""}], "before 'http.response.start'"),
        ([{"type": "nonsense"}], "unexpected ASGI message"),
        ([{"type": "http.response.start", "status": 200, "headers": []}] * 2, "a second"),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"a", b"x\r\nb: c")]},
                {"type": "http.response.body"},
            ],
            "NUL, CR or LF",
        ),
    ],
)
def test_an_app_that_breaks_asgi_fails(tmp_path: Path, messages: list[Any], match: str, caplog: Any) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            with pytest.raises(StreamFailed, match=match):
                await pair.link.request()

    run(script())


def test_work_behind_the_answer_is_detached_and_credited(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await gate.wait()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            answer = await exchange.answer()
            assert (answer.body, answer.detached) == (b"hello", True)
            assert not exchange.credited.is_set()
            assert pair.worker._lanes[0].detached == 1
            gate.set()
            await asyncio.wait_for(exchange.credited.wait(), 5)
            assert pair.worker.active == 0

    run(script())


def test_after_its_answer_the_app_sees_a_disconnect(tmp_path: Path) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        seen.append((await receive())["type"])

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            await pair.link.request()

    run(script())
    assert seen == ["http.disconnect"]


def test_early_hints_and_vary(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            answer = await pair.link.request(route_id=3)
            assert answer.informational == [(103, [(b"link", b"</a.css>; rel=preload")])]
            assert answer.fields == [(b"content-type", b"text/plain"), (b"vary", b"accept-language")]

    run(script())


def test_answers_of_one_turn_leave_in_one_write(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            lane = await pair.link.lane()
            writes = lane.writes
            real, data = lane.write, bytearray()
            lane.write = data.extend  # type: ignore[method-assign, assignment]
            exchanges = [pair.link.open(lane, "GET", "/") for _ in range(20)]
            lane.write = real  # type: ignore[method-assign]
            lane.write(bytes(data))
            for exchange in exchanges:
                await exchange.answer()
            assert lane.writes - writes <= 2  # The kernel may cut the batch once.

    run(script())


# The link's life...


def test_drain_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await asyncio.sleep(0.05)
            draining = asyncio.create_task(pair.worker.drain(f.GOAWAY_RECYCLE, "max_requests", 10))
            await wait_for(lambda: exchange.connection.goaway)
            assert exchange.connection.goaway == (f.GOAWAY_RECYCLE, "max_requests")
            gate.set()
            assert (await exchange.answer()).body == b"hello"
            assert await draining

    run(script())


def test_drain_gives_up_when_time_is_up(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            await pair.open()
            await asyncio.sleep(0.05)
            assert not await pair.worker.drain(0, "", 0.1)

    run(script())


@pytest.mark.parametrize("code", [f.GOAWAY_DRAINING, f.GOAWAY_SUPERSEDED])
def test_goaway_ends_the_link_when_nothing_runs(tmp_path: Path, code: int) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello, loops=2) as pair:
            for connection in list(pair.link.connections):
                connection.write(f.encode_frame(f.GOAWAY, aux=code))
            await asyncio.wait_for(pair.ended.event.wait(), 5)
            assert pair.ended.calls == [(code, True, "drained")]
            assert not pair.worker.attached
            await wait_for(lambda: not pair.link.connections)

    run(script())


def test_goaway_on_the_control_connection_alone_means_all_lanes(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello, loops=2) as pair:
            pair.link.controls[0].write(f.encode_frame(f.GOAWAY, aux=f.GOAWAY_RECYCLE))
            await asyncio.wait_for(pair.ended.event.wait(), 5)
            assert pair.recycled == ["asked by the sidecar"]

    run(script())


@pytest.mark.parametrize("which", ["lane", "control"])
def test_a_lost_connection_ends_the_link_and_it_can_be_attached_again(tmp_path: Path, which: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello, loops=2) as pair:
            victims = pair.link.lanes if which == "lane" else pair.link.controls
            victims[0].transport.abort()
            await asyncio.wait_for(pair.ended.event.wait(), 5)
            assert pair.ended.calls[0][:2] == (0, False)
            await wait_for(lambda: not pair.link.connections)
            await pair.worker.attach(pair.ticket)
            assert (await pair.link.request()).body == b"hello"

    run(script())


def test_a_handler_survives_the_loss_of_its_lane(tmp_path: Path) -> None:
    finished = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await asyncio.sleep(0.02)
        await hello(scope, receive, send)
        finished.set()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            await pair.open()
            await asyncio.sleep(0.05)
            pair.link.lanes[0].transport.abort()
            await asyncio.wait_for(finished.wait(), 5)
            await wait_for(lambda: pair.worker.active == 0)

    run(script())


@pytest.mark.parametrize("code", [f.GOAWAY_VERSION, f.GOAWAY_TOKEN, f.GOAWAY_TABLE, f.GOAWAY_GENERATION])
def test_a_refusal_is_told_with_its_sentence(tmp_path: Path, code: int) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            await pair.worker.drain(0, "", 1)
            pair.link.refuse = (code, "because")
            with pytest.raises(LinkError, match="because") as caught:
                await pair.worker.attach(pair.ticket)
            assert caught.value.code == code
            assert not pair.worker.attached

    run(script())


def test_no_sidecar_is_told_with_the_path(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            await pair.worker.drain(0, "", 1)
            pair.link.close()
            with pytest.raises(LinkError, match=r"nowhere\.sock"):
                await pair.worker.attach(
                    Ticket(pool="app", epoch=1, generation=1, token="00" * 16, socket=str(tmp_path / "nowhere.sock"))
                )

    run(script())


def test_ping_is_answered_while_the_loop_is_busy(tmp_path: Path) -> None:
    import time

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        time.sleep(1.5)
        await hello(scope, receive, send)

    async def script() -> None:
        import socket
        import threading

        from catzilla._worker._control import ControlConnection

        server = socket.socket(socket.AF_UNIX)
        path = str(tmp_path / "control.sock")
        server.bind(path)
        server.listen()
        pongs: list[float] = []

        def sidecar() -> None:
            peer, _ = server.accept()
            reader = f.FrameReader()
            while not reader.feed(peer.recv(4096)):
                pass
            ack = f.HelloAck(
                version=1, loop_count=1, capabilities=0, credits=1, stream_window=1, connection_window=1,
                head_bytes_max=49152, data_bytes_max=65536, ping_interval_ms=1, monotonic_us=0, wall_us=0, worker_id=1,
                lane_id=0, loop_index=0, sidecar="x",
            )  # fmt: skip
            peer.sendall(f.encode_frame(f.HELLO_ACK, payload=ack.encode()))
            time.sleep(0.3)
            began = time.monotonic()
            peer.sendall(f.encode_frame(f.PING, payload=b"12345678"))
            while True:
                kinds = [frame[0] for frame in reader.feed(peer.recv(4096))]
                if f.PONG in kinds:
                    pongs.append(time.monotonic() - began)
                    break
            peer.close()

        async with serving(tmp_path, app) as pair:
            thread = threading.Thread(target=sidecar)
            thread.start()
            control = ControlConnection(
                path, lambda: pair.worker._hello(pair.ticket, f.PURPOSE_CONTROL, 0), pair.worker
            )
            control.connect()
            control.start()
            await pair.link.request()
            thread.join()
            control.close()
            server.close()
        assert pongs[0] < 1.0

    run(script())


def test_stats_are_sent_each_second(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            for _ in range(3):
                await pair.link.request()
            control = pair.link.controls[0]
            await wait_for(lambda: control.stats is not None and control.stats.requests == 3)
            stats = control.stats
            assert stats is not None
            assert stats.rss_bytes > 1 << 20
            assert (stats.active, stats.exceptions) == (0, 0)

    run(script())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_requests": 3}, "max_requests: 3"),
        ({"max_rss": 1 << 20}, "max_rss"),
        ({"max_lifetime": 0.01}, "max_lifetime"),
    ],
)
def test_a_worker_asks_to_be_recycled_once(tmp_path: Path, settings: Any, reason: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, hello, **settings) as pair:
            for _ in range(5):
                await pair.link.request()
            await wait_for(lambda: pair.recycled)
            assert len(pair.recycled) == 1
            assert pair.recycled[0].startswith(reason)

    run(script())
