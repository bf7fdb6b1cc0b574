"""Where a process stands is told by a thread that nothing holds up: functions of threads and of tasks, in bounds."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from worker_harness import Receive, Send, hello, run, serving, wait_for

from catzilla._worker import _frames as f
from catzilla._worker import _stacks
from catzilla._worker._stacks import dump, log_stacks, stacks


def line_with(lines: list[str], word: str) -> str:
    [line] = [line for line in lines if word in line]
    return line


async def outer(gate: asyncio.Event) -> None:
    async for _ in middle(gate):
        pass


async def middle(gate: asyncio.Event) -> AsyncIterator[None]:
    await inner(gate)
    yield


async def inner(gate: asyncio.Event) -> None:
    await gate.wait()


async def direct(gate: asyncio.Event) -> None:
    await inner(gate)


def test_threads_and_tasks_are_told_from_the_innermost_call(tmp_path: Path) -> None:
    def stuck(entered: threading.Event, leave: threading.Event) -> None:
        entered.set()
        leave.wait(30)

    async def script() -> None:
        entered, leave, gate = threading.Event(), threading.Event(), asyncio.Event()
        thread = threading.Thread(target=stuck, args=(entered, leave), name="the\nthread")
        thread.start()
        assert entered.wait(10)
        tasks = [asyncio.create_task(direct(gate), name="its\x1btask"), asyncio.create_task(outer(gate))]
        await asyncio.sleep(0)
        # As the control connection's thread asks: it does not tell of itself.
        lines = await asyncio.get_running_loop().run_in_executor(None, stacks, asyncio.get_running_loop())
        leave.set()
        gate.set()
        await asyncio.gather(*tasks)
        thread.join()
        told = line_with(lines, "stuck")
        assert told.startswith(r"thread the\nthread: Condition.wait (")
        assert told.index("Condition.wait") < told.index("stuck (") < told.index("Thread.run (")
        told = line_with(lines, "direct")
        assert told.startswith(r"task its\x1btask: Event.wait (")
        assert told.index("inner (") < told.index("direct (")
        assert "outer (" in line_with(lines, "outer")
        assert line_with(lines, "thread MainThread: ")
        assert not any("_all" in line for line in lines)
        assert all(line.isprintable() for line in lines)

    run(script())


def test_the_bound_holds_for_all_lines_together() -> None:
    async def script() -> None:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(inner(gate), name=f"{number} " + "n" * 1000) for number in range(200)]
        await asyncio.sleep(0)
        lines = stacks(asyncio.get_running_loop())
        assert sum(map(len, lines[:-1])) <= _stacks.STACKS_BYTES_MAX
        assert lines[-1].endswith(" more threads and tasks")
        assert int(lines[-1].split()[0]) + len(lines) - 1 >= len(tasks)
        gate.set()
        await asyncio.gather(*tasks)

    run(script())


def test_no_logging_of_the_app_makes_it_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    logger = logging.getLogger("catzilla.test_stacks")
    monkeypatch.setattr(logger, "handlers", [Raises()])

    async def script() -> None:
        log_stacks(logger, "why", asyncio.get_running_loop())

    run(script())


@pytest.mark.parametrize(("code", "told"), [(f.GOAWAY_RECYCLE, True), (f.GOAWAY_DRAINING, False)])
def test_the_sidecars_wish_for_another_process_has_it_say_where_it_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int, told: bool
) -> None:
    gate = asyncio.Event()

    async def stuck_handler(scope: object, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, stuck_handler) as pair:
            exchange = await pair.open()
            await wait_for(lambda: pair.worker.active)
            pair.link.controls[0].write(f.encode_frame(f.GOAWAY, aux=code))
            # Control frames are taken in order: what GOAWAY asked for has been done once the PING is answered.
            pair.link.controls[0].write(f.encode_frame(f.PING, payload=b"12345678"))
            await wait_for(answered(pair.link.controls[0]))
            gate.set()
            await exchange.answer()

    def answered(control: object) -> Callable[[], bool]:
        return lambda: bool(getattr(control, "pongs", 0))

    run(script())
    lines = [record.getMessage() for record in caplog.records if record.name == "catzilla.worker"]
    assert any("wants this process replaced; task" in line and "stuck_handler" in line for line in lines) is told


def test_a_dump_has_a_line_for_each_call_and_keeps_its_bound() -> None:
    async def script() -> None:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(inner(gate), name=f"{number}\n" + "n" * 1000) for number in range(20)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, dump, loop)
        assert "thread MainThread\n    " in text
        assert text.count("\n    inner (") == len(tasks)
        assert "task 3\\nnnn" in text
        small = await loop.run_in_executor(None, dump, loop, 8000)
        assert len(small.encode()) <= 8000
        assert small.endswith(" more threads and tasks")
        gate.set()
        await asyncio.gather(*tasks)

    run(script())


def test_the_control_connection_tells_while_the_loop_is_held_up(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    async def holds_the_loop(scope: object, receive: Receive, send: Send) -> None:
        entered.set()
        leave.wait(30)
        await hello(scope, receive, send)

    async def script() -> None:
        async with serving(tmp_path, holds_the_loop) as pair:
            [control] = pair.link.controls
            assert control.hello is not None
            assert control.hello.capabilities & f.CAPABILITY_DUMP
            told: list[str] = []

            def ask() -> None:  # Beside the loop, which the worker in this process holds up.
                assert entered.wait(10)
                pair.worker._control._on_frame((f.DUMP, 0, 0, 7, b""))  # type: ignore[union-attr]
                leave.set()

            asking = threading.Thread(target=ask)
            asking.start()
            exchange = await pair.open()
            await exchange.answer()
            await wait_for(lambda: control.dumps.get(7))
            asking.join()
            told.append(control.dumps[7])
            assert "holds_the_loop (" in told[0]
            control.write(f.encode_frame(f.DUMP, aux=8))
            await wait_for(lambda: "thread MainThread" in control.dumps.get(8, ""))

    run(script())
