"""Every answer that a test got, in order: what FastAPI under its own transport says, and what we say, is compared.

One JSON line each: the test, the how-many-eth request of it, and what came.
"""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

Fields = list[tuple[bytes, bytes]]

BODY_MAX = 1 << 16
# json.dumps() is what tests count.
_ENCODE = json.JSONEncoder().encode


class Stream:
    """One answer. Written at its end, or when its client lets go of it."""

    def __init__(self, recording: Recording, record: dict[str, Any]) -> None:
        self._recording = recording
        self._record = record
        self._body = bytearray()
        self._open = True

    def head(self, status: int, fields: Fields) -> None:
        self._record["status"] = status
        self._record["fields"] = [
            [name.lower().decode("latin-1"), value.decode("latin-1")] for name, value in fields
        ]

    def body(self, chunk: bytes) -> None:
        self._body += chunk

    def end(self) -> None:
        if self._open:
            self._open = False
            self._record["size"] = len(self._body)
            self._record["body"] = bytes(self._body[:BODY_MAX]).decode("latin-1")
            self._recording.write(self._record)


class Recording:
    """Threads: any."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"answers-{name}.jsonl").open("w")
        self._lock = threading.Lock()
        self._counts: defaultdict[str, int] = defaultdict(int)

    def begin(self, request: Any) -> Stream:
        test = os.environ.get("PYTEST_CURRENT_TEST", "collection").rpartition(" (")[0]
        with self._lock:
            number = self._counts[test]
            self._counts[test] += 1
        target = request.url.raw_path.decode("ascii")
        return Stream(
            self, {"test": test, "number": number, "request": f"{request.method} {target}"}
        )

    def write(self, record: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(_ENCODE(record) + "\n")

    def close(self) -> None:
        self._file.close()
