"""A differential: the sidecar with a worker behind it answers every request as the app alone does (A6, A13).

The app alone is driven in this process, over ASGI, by the bytes that the client sends; what may differ is listed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import pathlib
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from routing_tables import cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from app_process import AppProcess

CASES = cases()
COMPARED = ("location", "allow", "content-type")


def load(path: pathlib.Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def alone(app: Any, method: str, target: str, host: str) -> tuple[int, dict[str, str], bytes]:
    """As uvicorn would ask it."""
    raw_path, _, query = target.encode("ascii").partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(app(scope, receive, send))
    fields = {name.decode().lower(): value.decode("latin-1") for name, value in said[0]["headers"]}
    return said[0]["status"], fields, b"".join(message.get("body", b"") for message in said[1:])


def chosen(fields: dict[str, str]) -> dict[str, object]:
    """What must be equal. FastAPI makes Allow from a set, whose order differs from process to process."""
    kept: dict[str, object] = {name: fields[name] for name in COMPARED if name in fields}
    if "allow" in kept:
        kept["allow"] = sorted(fields["allow"].replace(" ", "").split(","))
    return kept


def test_the_tables_are_many() -> None:
    assert sum(len(requests) for _, requests in CASES.values()) >= 300


@pytest.mark.parametrize("name", CASES)
def test_together_they_answer_as_the_app_alone(tmp_path: pathlib.Path, name: str) -> None:
    source, requests = CASES[name]
    host = "api.test" if "host" in name else "t"
    wrong = []
    with AppProcess(tmp_path, source) as process, process.connect() as client:
        app = load(tmp_path / "app_under_test.py", f"table_{len(name)}")
        for method, target in requests:
            client.send(
                f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            answer = client.read(head_only=method == "HEAD")
            ours = (answer.status, chosen(dict(answer.headers)), answer.body)
            status, fields, body = alone(app, method, target, host)
            if status in (204, 304) or method == "HEAD":
                body = b""
            theirs = (status, chosen(fields), body)
            if ours != theirs:
                wrong.append(f"{method} {target}: app alone {theirs}, together {ours}")
    assert not wrong, f"{len(wrong)} of {len(requests)}:\n" + "\n".join(wrong[:12])
