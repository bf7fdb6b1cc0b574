"""Our own lines on standard error, which nobody may be reading: they never hold up the loop, or the way out.

A thread writes what the loop hands over. While it is stuck, lines beyond _LINES_MAX are dropped, and their number
is told when writing works again.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from typing import Final, TextIO

_LINES_MAX: Final = 4096
_LAST_WORDS: Final = 1.0  # Seconds that are waited for a reader when the process ends.


class PatientHandler(logging.Handler):
    """A StreamHandler whose stream may block. Its thread begins with the first line: it may be made before a fork."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        self._idle = threading.Event()
        self._idle.set()
        self._lost = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except BaseException:  # Arguments that cannot be formatted; a log line is worth no failure.
            self.handleError(record)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="catzilla-log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        self._idle.clear()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        """Waits until all is written, or nobody reads."""
        self._idle.wait(_LAST_WORDS)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            lost, self._lost = self._lost, 0
            if lost:
                line = f"catzilla: {lost} lines of this log were lost\n{line}"
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # A full disk, a reader that has gone, a closed stream.
                self._lost += lost + 1
            if self._lines.empty():
                self._idle.set()
