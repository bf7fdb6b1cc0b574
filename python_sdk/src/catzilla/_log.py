"""Our own lines on standard error, which nobody may be reading: they never hold up the loop, or the way out.

A thread writes what the loop hands over. While it is stuck, lines beyond _LINES_MAX are dropped, and their number
is told when writing works again.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from typing import Final, TextIO

_LINES_MAX: Final = 4096
_LAST_WORDS: Final = 1.0  # Seconds that are waited for a reader when the process ends.


class PatientHandler(logging.Handler):
    """A StreamHandler whose stream may block.

    Its thread begins with the first line. A process that is forked later has a thread and a queue of its own: those
    of its parent stay with the parent, and so do the lines that wait in them.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._writer: _Writer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            writer = self._writer
            if writer is None or writer.pid != os.getpid():
                if writer is None:
                    atexit.register(self.flush)
                writer = self._writer = _Writer(self._stream)
        except BaseException:  # Arguments that cannot be formatted, no thread; a log line is worth no failure.
            self.handleError(record)
            return
        writer.put(line)

    def flush(self) -> None:
        """Waits until all is written, or nobody reads."""
        writer = self._writer
        if writer is not None and writer.pid == os.getpid():
            writer.wait(_LAST_WORDS)


class _Writer:
    """The thread that writes, and what waits for it. Any thread may call."""

    def __init__(self, stream: TextIO) -> None:
        self.pid = os.getpid()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        self._lock = threading.Lock()  # Guards _lost.
        self._lost = 0
        threading.Thread(target=self._write, name="catzilla-log", daemon=True).start()

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lose(1)

    def wait(self, timeout: float) -> None:
        """Until every line has been written that was put before, or time is up."""
        lines = self._lines
        with lines.all_tasks_done:
            lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, timeout)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with self._lock:
                lost, self._lost = self._lost, 0
            if lost:
                line = f"catzilla: {lost} lines of this log were lost\n{line}"
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # A full disk, a reader that has gone, a closed stream.
                self._lose(lost + 1)
            self._lines.task_done()

    def _lose(self, lines: int) -> None:
        with self._lock:
            self._lost += lines
