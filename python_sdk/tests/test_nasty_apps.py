"""Whatever an app raises, sends or forgets: its place is given back, its stream ends, the others go on.

S3, S4, A1, A7, A16: each test names the fault it keeps away.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_link import StreamFailed
from worker_harness import Receive, Send, hello, run, serving, wait_for

from catzilla import _text
from catzilla._worker import _frames as f

START = {"type": "http.response.start", "status": 200, "headers": []}
PIECE = {"type": "http.response.body", "body": b"piece", "more_body": True}
LAST = {"type": "http.response.body", "body": b"last"}


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class MuteExit(BaseException):
    def __str__(self) -> str:
        raise SystemExit(3)


class NoText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Huge(Exception):
    def __str__(self) -> str:
        return "x" * 50_000_000


class Surrogate(Exception):
    def __str__(self) -> str:
        return "\ud800 lone"


class Forger(Exception):
    def __str__(self) -> str:
        return "one\nERROR: forged line\x1b[31m"


class Text(str):
    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        raise ValueError("cannot be encoded")

    def __len__(self) -> int:
        raise ValueError("has no length")


class HostileText(Exception):
    def __str__(self) -> str:
        return Text("a str of its own")


def chained() -> Exception:
    error = ValueError("outer")
    error.__cause__ = Mute()
    error.__context__ = error  # A ring.
    error.add_note("\ud800")
    return error


RAISED: list[Callable[[], BaseException]] = [
    *(Mute, MuteExit, NoText, Huge, Surrogate, Forger, HostileText, chained),
    *(ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration),
    lambda: RecursionError("too deep"),
    lambda: BaseExceptionGroup("several", [Mute(), KeyboardInterrupt()]),
]

Step = Callable[[Any, Receive, Send], Awaitable[None]]


def raises(make: Callable[[], BaseException]) -> Step:
    async def step(scope: Any, receive: Receive, send: Send) -> None:
        raise make()

    return step


def sends(message: Any) -> Step:
    async def step(scope: Any, receive: Receive, send: Send) -> None:
        await send(dict(message))

    return step


async def pauses(scope: Any, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)


async def spoils_the_scope(scope: Any, receive: Receive, send: Send) -> None:
    scope["path"] = scope["method"] = Mute()


async def receives(scope: Any, receive: Receive, send: Send) -> None:
    await asyncio.wait_for(receive(), 0.05)  # The second one has nothing to wait for but the client's end.


async def swallows_cancellation(scope: Any, receive: Receive, send: Send) -> None:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        asyncio.current_task().uncancel()  # type: ignore[union-attr]


STEPS: list[Step] = [
    *(raises(make) for make in RAISED),
    *(sends(message) for message in (START, PIECE, LAST) * 4),
    sends({"type": "http.response.body", "body": 7}),
    sends({"type": "http.response.body", "body": "text", "more_body": True}),
    sends({"type": "http.response.start", "status": "200", "headers": []}),
    sends({"type": "http.response.start", "status": 10**9, "headers": []}),
    sends({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]}),
    sends({"type": "http.response.start", "status": 200, "headers": [("a", "b")]}),
    sends({"type": "http.response.start", "status": 200, "headers": 7}),
    sends({"type": "http.response.start", "status": 200, "headers": [(b"big", b"x" * 60_000)] * 3}),
    sends({"type": Mute()}),
    sends({}),
    *(pauses, pauses, spoils_the_scope, receives, swallows_cancellation),
]


def scripts(count: int, seed: int) -> Iterator[list[Step]]:
    chosen = random.Random(seed)
    yield from ([step] for step in STEPS)
    for _ in range(count):
        yield chosen.choices(STEPS, k=chosen.randint(0, 6))


@pytest.fixture(autouse=True)
def without_output(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # Formatting is tested below; here 50 MB of it would be slow.


@pytest.mark.parametrize("seed", [1, 2])
def test_s3_no_app_loses_its_place(tmp_path: Path, seed: int) -> None:
    plans = list(scripts(300, seed))
    turn = itertools.count()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ping":
            await hello(scope, receive, send)
            return
        for step in plans[next(turn)]:
            await step(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            opened = []
            for index in range(len(plans)):
                exchange = await pair.open()
                opened.append(exchange)
                if index % 7 == 3:
                    exchange.cancel()
            for exchange in opened:
                await asyncio.wait_for(exchange.ended.wait(), 20)
                if exchange.detached:
                    await asyncio.wait_for(exchange.credited.wait(), 20)
            assert pair.worker.active == 0
            assert not any(lane._exchanges for lane in pair.worker._lanes)
            assert (await pair.link.request(target="/ping")).body == b"hello"

    run(script())


@pytest.mark.parametrize("make", RAISED)
@pytest.mark.parametrize("begun", [False, True])
def test_s3_an_error_that_cannot_be_told_still_ends_its_stream(
    tmp_path: Path, make: Callable[[], BaseException], begun: bool
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if begun:
            await send(dict(START))
            await send(dict(PIECE))
        raise make()

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            with pytest.raises(StreamFailed) as failed:
                await pair.link.request()
            assert failed.value.code == f.END_FAILED
            assert pair.worker.active == 0

    run(script())


@pytest.mark.parametrize("make", RAISED)
def test_s3_telling_of_an_error_never_raises(make: Callable[[], BaseException]) -> None:
    class Reader(logging.Handler):
        """As an error tracker does: it looks at the exception, outside of what logging guards."""

        def handle(self, record: logging.LogRecord) -> bool:
            assert record.exc_info is not None
            return bool(str(record.exc_info[1]))

    logger = logging.Logger("nasty")
    logger.addHandler(Reader())
    error = make()
    _text.log_exception(logger, "an app failed", error)
    line = _text.describe(error)
    assert line.startswith(type(error).__name__)
    assert line.isprintable()
    assert len(line) < 3_000
    line.encode("utf-8")
    details = _text.format_traceback(error)
    assert type(error).__name__ in details
    assert len(details) <= _text.DETAILS_MAX + 2


def test_o12_an_error_makes_one_line(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        raise Forger

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            with pytest.raises(StreamFailed):
                await pair.link.request(target="/a%0Ab")
            control = pair.link.controls[0]
            await wait_for(lambda: control.lines)
            assert control.lines[0][1] == r"GET /a\nb: Forger: one\nERROR: forged line\x1b[31m"

    run(script())


def test_utf8_is_cut_between_characters() -> None:
    assert _text.utf8("aé" * 3, 5) == "aéa".encode()
    assert _text.utf8("\ud800", 100) == b"\\ud800"


def test_a1_the_head_leaves_before_a_late_body(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(dict(START))
        await gate.wait()
        await send(dict(PIECE))
        await send(dict(LAST))

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            exchange = await pair.open()
            head, _ = await asyncio.wait_for(exchange.head(), 10)
            assert head.status == 200
            gate.set()
            await asyncio.wait_for(exchange.ended.wait(), 10)
            body = b"".join(payload for kind, _, _, payload in exchange.log if kind == f.RESPONSE_DATA)
            assert body == b"piecelast"

    run(script())


def test_a1_an_answer_that_is_there_stays_one_frame(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(dict(START))
        if scope["path"] == "/pause":
            await asyncio.sleep(0)
        await send(dict(LAST))

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            for target in ("/", "/pause"):
                exchange = await pair.open(target=target)
                await asyncio.wait_for(exchange.ended.wait(), 10)
                assert [kind for kind, _, _, _ in exchange.log if kind != f.DETACHED] == [f.RESPONSE]

    run(script())


def test_a16_a_large_body_is_not_copied_again_and_again(tmp_path: Path) -> None:
    size = 32 << 20

    class Counting(bytes):
        copied = 0

        def __getitem__(self, key: Any) -> Any:
            piece = super().__getitem__(key)
            Counting.copied += len(piece) if isinstance(piece, bytes) else 0
            return piece

    async def counted(scope: Any, receive: Receive, send: Send) -> None:
        await send(dict(START))
        await send({"type": "http.response.body", "body": Counting(size)})

    async def script() -> None:
        async with serving(tmp_path, counted) as pair:
            answer = await pair.link.request()
            assert len(answer.body) == size
        # Once, at the most; slicing what is left at each window would be 64 times.
        assert Counting.copied <= 2 * size

    run(script())


BAD_FIELDS = [
    [(b"a", b"b\x01c")],
    [(b"a", b"b\x7fc")],
    [(b"a", b"b\r\nc: d")],
    [(b"a", b"b\x00c")],
    [(b"a b", b"c")],
    [(b"", b"c")],
]


@pytest.mark.parametrize("fields", BAD_FIELDS)
def test_a7_a_field_that_cannot_be_sent_is_an_error(tmp_path: Path, fields: Any) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send(dict(LAST))

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            with pytest.raises(StreamFailed) as failed:
                await pair.link.request()
            assert failed.value.code == f.END_FAILED
            assert pair.worker.exceptions == 1

    run(script())


def test_s4_a_head_that_is_too_large_costs_its_own_answer_only(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/big":
            cookies = [(b"set-cookie", b"x" * 1000) for _ in range(120)]
            await send({"type": "http.response.start", "status": 200, "headers": cookies})
            await send(dict(LAST))
            return
        await send(dict(START))
        await send(dict(PIECE))
        await gate.wait()
        await send(dict(LAST))

    async def script() -> None:
        async with serving(tmp_path, app) as pair:
            other = await pair.open()
            await other.head()
            with pytest.raises(StreamFailed, match="the head of the answer") as failed:
                await pair.link.request(target="/big")
            assert failed.value.code == f.END_FAILED
            gate.set()
            await asyncio.wait_for(other.ended.wait(), 10)
            assert other.log[-1][1] & f.FLAG_END
            assert not pair.ended.calls

    run(script())
