"""The worker's life on the link: drain, GOAWAY, loss, refusal, PING, STATS, recycling."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import pause
from worker_harness import Receive, Send, hello, run, serving, wait_for

from catzilla._exceptions import LinkError
from catzilla._settings import Ticket
from catzilla._worker import _frames as f
from catzilla._worker._lane import Lane


def test_drain_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        entered.set()
        await gate.wait()
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await entered.wait()
            draining = asyncio.create_task(pair.worker.drain(f.GOAWAY_RECYCLE, "max_requests", 10))
            await wait_for(lambda: exchange.connection.goaway)
            assert exchange.connection.goaway == (f.GOAWAY_RECYCLE, "max_requests")
            gate.set()
            assert (await exchange.answer()).body == b"hello"
            assert await draining

    run(script())


def test_drain_ends_with_the_last_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for nothing else: no clock is asked in between."""
    entered, gate = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        entered.set()
        await gate.wait()
        await hello(scope, receive, send)

    async def never(*_: Any) -> None:
        raise AssertionError("a pause while draining")

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            await entered.wait()
            monkeypatch.setattr(asyncio, "sleep", never)
            draining = asyncio.create_task(pair.worker.drain(0, "", 20))
            gate.set()
            assert (await exchange.answer()).body == b"hello"
            assert await draining
            monkeypatch.undo()

    run(script())


def test_an_answer_that_is_complete_when_the_lane_closes_still_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """drain() may look, and close, in the very turn in which the last handler has returned."""
    settled = Lane.settled

    def settled_and_closed(lane: Lane, *arguments: Any) -> None:
        settled(lane, *arguments)
        lane.close()

    async def script() -> None:
        async with serving(tmp_path, hello) as pair:
            exchange = await pair.open()
            assert (await exchange.answer()).body == b"hello"

    monkeypatch.setattr(Lane, "settled", settled_and_closed)
    run(script())


def test_drain_gives_up_when_time_is_up(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            await pair.open()
            await wait_for(lambda: pair.worker.active)
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
    begun, finished = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            begun.set()
        await asyncio.sleep(0)
        await hello(scope, receive, send)
        finished.set()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            await pair.open()
            await begun.wait()
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


class Silent:
    """Events of a control connection that nobody acts on."""

    def control_goaway(self, code: int, sentence: str) -> None: ...
    def control_cancel(self, lane_id: int, stream_id: int) -> None: ...
    def control_lost(self, reason: str) -> None: ...
    def control_tick(self) -> f.Stats:
        return f.Stats(*[0] * 9)

    def control_dump(self) -> str:
        return ""


def test_ping_is_answered_while_the_loop_is_busy(tmp_path: Path) -> None:
    import time

    blocks = threading.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        blocks.set()
        pause(1.5)
        await hello(scope, receive, send)

    async def script() -> None:
        import socket

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
            assert blocks.wait(10)
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
            control = ControlConnection(path, lambda: pair.worker._hello(pair.ticket, f.PURPOSE_CONTROL, 0), Silent())
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
