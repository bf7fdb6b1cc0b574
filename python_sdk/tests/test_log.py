"""Our own lines: none is forgotten on the way out, nobody waits for ever for a reader, and a fork logs on its own."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import time

import pytest

from catzilla import _log


class Held(io.StringIO):
    """A stream whose reader sleeps until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def write(self, text: str, /) -> int:
        self.entered.set()
        assert self.let_go.wait(30)
        return super().write(text)


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("catzilla", logging.INFO, __file__, 1, text, None, None)


def test_after_flush_every_line_has_been_written() -> None:
    """Whatever the two threads do in between: a line may come just when the writer thinks that it has done."""
    stream = io.StringIO()
    handler = _log.PatientHandler(stream)
    switches = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(2000):
            handler.handle(line(f"first {number}"))
            handler.handle(line(f"second {number}"))
            handler.flush()
            assert stream.getvalue().endswith(f"first {number}\nsecond {number}\n")
    finally:
        sys.setswitchinterval(switches)


def test_flush_waits_for_a_line_that_is_being_written() -> None:
    stream = Held()
    handler = _log.PatientHandler(stream)
    handler.handle(line("slow"))
    assert stream.entered.wait(10)
    threading.Timer(0.05, stream.let_go.set).start()
    handler.flush()
    assert stream.getvalue() == "slow\n"


def test_flush_gives_up_on_a_reader_that_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "_LAST_WORDS", 0.1)
    stream = Held()
    handler = _log.PatientHandler(stream)
    handler.handle(line("never"))
    began = time.monotonic()
    handler.flush()
    assert 0.1 <= time.monotonic() - began < 5
    stream.let_go.set()


def test_lines_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "_LINES_MAX", 2)
    stream = Held()
    handler = _log.PatientHandler(stream)
    handler.handle(line("0"))
    assert stream.entered.wait(10)  # It is out of the queue.
    for number in range(1, 6):
        handler.handle(line(str(number)))
    stream.let_go.set()
    handler.flush()
    assert stream.getvalue() == "0\ncatzilla: 3 lines of this log were lost\n1\n2\n"


FORKING = """
import logging, os, sys
from catzilla._log import PatientHandler
handler = PatientHandler(sys.stdout)
log = logging.getLogger("catzilla")
log.addHandler(handler)
log.error("before")
handler.flush()
child = os.fork()
if child == 0:
    handler.flush()  # Nothing of ours waits.
    log.error("of the child")
    handler.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
log.error("after")
"""


def test_a_forked_process_writes_its_own_lines() -> None:
    """Its parent's thread is not there, and a lock of its parent's queue may have been held for good."""
    made = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines() == ["before", "of the child", "after"]
