"""What the app bench asks, row by row: the request, the answer to the byte, and the goal that it is measured for."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from app_data import FILE_CONTENT, PLAIN_PRODUCTS

HELLO = {"message": "hello"}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One line of the table."""

    row: str  # As --rows names it.
    kind: str  # Of the handler: async, def, mixed.
    answer: Any
    path: str
    app: str = "app"  # In app_rows.py.
    method: str = "GET"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    goal: float | None = (
        None  # Of the CPU per request of uvicorn; from Python 3.12 on `goal_later`.
    )
    goal_later: float | None = None
    connections: int = 32
    sends: bytes = b""  # Instead of `answer` as JSON.
    by_hand: bool = False  # Also frameworks other than FastAPI can do it.

    @property
    def title(self) -> str:
        alone = ", 1 connection" if self.connections == 1 else ""
        return f"{TITLES[self.row]}, {self.kind}{alone}"

    @property
    def content(self) -> bytes:
        return self.sends or json.dumps(self.answer, separators=(",", ":")).encode()

    def wanted_ratio(self, python: tuple[int, int]) -> float | None:
        return self.goal_later if self.goal_later and python >= (3, 12) else self.goal


TITLES = {
    "hello": "hello",
    "bare": "hello, answer not declared",
    "params": "path + 2 query + header",
    "body": "JSON body",
    "deps": "3 dependencies, one with yield",
    "models": "50 models",
    "middleware": "hello + ASGI middleware",
    "raw": "raw ASGI",
    "file": "FileResponse of 1 MiB",
    "one": "hello",
    "sometimes": "hello, 0.2 % sleep 50 ms",
    "open": "hello, open loop",
}
PARAMS: dict[str, Any] = {
    "answer": {"item_id": 7, "q": "wide", "limit": 25, "token": "abc"},
    "headers": {"X-Token": "abc"},
    "by_hand": True,
}
BODY: dict[str, Any] = {
    "answer": {"sku": "chair-12", "total": 37.5},
    "method": "POST",
    "headers": {"Content-Type": "application/json"},
    "body": json.dumps({"sku": "chair-12", "quantity": 3, "price": 12.5, "note": "red"}).encode(),
    "by_hand": True,
}
USER = {"user": "ada", "tenant": "acme"}

CASES = [
    Case("hello", "async", HELLO, "/hello", goal=1 / 8, goal_later=1 / 10, by_hand=True),
    Case("hello", "def", HELLO, "/hello-def", goal=1 / 18, by_hand=True),
    Case("bare", "async", HELLO, "/bare"),
    Case("bare", "def", HELLO, "/bare-def"),
    Case("params", "async", path="/params/7?q=wide&limit=25", goal=1 / 11, **PARAMS),
    Case("params", "def", path="/params-def/7?q=wide&limit=25", goal=1 / 20, **PARAMS),
    Case("body", "async", path="/body", goal=1 / 10, **BODY),
    Case("body", "def", path="/body-def", goal=1 / 20, **BODY),
    Case("deps", "async", USER, "/deps", goal=1 / 12),
    Case("deps", "def", USER, "/deps-def", goal=1 / 40),
    Case("deps", "mixed", USER, "/deps-mixed", goal=1 / 6),
    Case("models", "async", PLAIN_PRODUCTS, "/models", goal=1 / 3),
    Case("models", "def", PLAIN_PRODUCTS, "/models-def", goal=1 / 3),
    Case("middleware", "async", HELLO, "/hello", app="stacked", goal=1 / 4),
    Case("middleware", "def", HELLO, "/hello-def", app="stacked", goal=1 / 4),
    Case("raw", "async", HELLO, "/hello", app="raw", goal=1 / 2),
    Case("file", "async", None, "/file", goal=1 / 5, sends=FILE_CONTENT),
    Case("file", "def", None, "/file-def", goal=1 / 5, sends=FILE_CONTENT),
    Case("one", "async", HELLO, "/hello", goal=1 / 5, connections=1, by_hand=True),
    Case("one", "def", HELLO, "/hello-def", goal=1 / 10, connections=1, by_hand=True),
    Case("sometimes", "async", HELLO, "/sometimes"),
    Case("sometimes", "def", HELLO, "/sometimes-def"),
    Case("open", "async", HELLO, "/hello", by_hand=True),
    Case("open", "def", HELLO, "/hello-def", by_hand=True),
]
