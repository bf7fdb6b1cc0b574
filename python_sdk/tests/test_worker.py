"""A worker in this process behind a fake sidecar: ASGI over the link, backpressure, disconnects, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fake_link import StreamFailed
from worker_harness import Receive, Send, hello, run, serving, wait_for

from catzilla._worker import _frames as f


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
        "extensions": {"http.response.early_hint": {}, "http.response.trailers": {}},
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
            await wait_for(lambda: exchange.window == 0)
            assert not sender.done()  # The window is used up, and nobody reads.
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
            await wait_for(lambda: any(lane.blocked for lane in pair.worker._lanes))
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


@pytest.mark.parametrize("last", [True, False])
def test_a_body_that_the_app_leaves_unread_takes_no_window_for_good(tmp_path: Path, last: bool) -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open("POST", streaming=True)
            size = exchange.window
            await exchange.send_body(b"x" * size, end=last)
            exchange.connection.write(f.encode_frame(f.PING, payload=bytes(8)))
            await wait_for(lambda: exchange.connection.pongs)  # It has all of the body by now.
            assert exchange.connection.given_back == 0
            gate.set()
            assert (await exchange.answer()).status == 200
            await wait_for(lambda: exchange.connection.given_back == size)

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
    gate, done = asyncio.Event(), asyncio.Event()
    messages: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        messages.append((await receive())["type"])
        messages.append((await receive())["type"])
        await gate.wait()
        await hello(scope, receive, send)  # Dropped.
        done.set()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await wait_for(lambda: messages)
            exchange.cancel()
            await wait_for(lambda: len(messages) == 2)
            assert not exchange.ended.is_set()  # END waits for the handler.
            gate.set()
            with pytest.raises(StreamFailed) as caught:
                await exchange.answer()
            assert caught.value.code == f.END_CANCELLED
            assert done.is_set()
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
            yield b"tick"
            await asyncio.Event().wait()
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


def test_a_body_without_end_that_waits_for_nothing_ends_with_its_client(tmp_path: Path) -> None:
    """Where nobody takes it, send() does not wait either: without a pause there, nothing else would run any more."""
    from starlette.responses import StreamingResponse

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000_000):
            yield b"x" * 4096
        raise AssertionError("it was not cancelled")

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await StreamingResponse(endless())(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await exchange.head()
            exchange.cancel()
            await exchange.ended.wait()
            assert pair.worker.active == 0
            assert pair.worker.exceptions == 0

    run(script())


def test_a_route_may_opt_in_to_cancellation(tmp_path: Path) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open(flags=f.REQUEST_CANCEL_ON_DISCONNECT)
            await begun.wait()
            exchange.cancel()
            with pytest.raises(StreamFailed):
                await exchange.answer()
            assert cancelled.is_set()

    run(script())


def test_the_control_connection_cancels_too(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            begun.set()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await begun.wait()
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
            control = pair.link.controls[0]
            await wait_for(lambda: control.lines)
            assert control.lines == [(3, "GET /: ValueError: broken")]

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
            "control character",
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
