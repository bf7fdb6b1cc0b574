"""The same app behind uvicorn and behind the worker link: equal status, headers and body, byte for byte."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sdk_harness import HERE, Run, fetch, free_port, real_sidecar, until

MULTIPART = (
    b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: application/x\r\n\r\n'
    + bytes(range(256)) * 2000
    + b"\r\n--B--\r\n"
)
JSON = [("Content-Type", "application/json")]
CHUNKED = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"a" * 10, b"b" * 70_000)) + b"0\r\n\r\n"

# (method, path, body, headers)
REQUESTS: list[tuple[str, str, bytes | None, list[tuple[str, str]]]] = [
    ("GET", "/", None, []),
    ("HEAD", "/", None, []),
    ("POST", "/", None, []),
    ("OPTIONS", "/", None, [("Origin", "https://example.com"), ("Access-Control-Request-Method", "GET")]),
    ("GET", "/", None, [("Origin", "https://example.com"), ("Cookie", "a=b")]),
    ("GET", "/sync", None, []),
    ("GET", "/items/5?q=a+b&tag=x&tag=y%20z", None, [("User-Agent", "me"), ("Cookie", "session=s1; other=2")]),
    ("GET", "/items/5?q=", None, []),
    ("GET", "/items/abc", None, []),
    ("GET", "/users/me", None, []),
    ("GET", "/users/a%2Fb", None, []),
    ("GET", "/users/%C3%A9%20%25", None, []),
    ("GET", "/users/%FF", None, []),
    ("GET", "/users/x/", None, []),
    ("GET", "/files/a/b//c", None, []),
    ("GET", "/files/", None, []),
    ("GET", "/style.v1.css", None, []),
    ("POST", "/items", b'{"name": "thing", "price": 1.5, "tags": ["a"]}', JSON),
    ("POST", "/items", b'{"name": "x"}', JSON),
    ("POST", "/items", b"{broken", JSON),
    ("POST", "/items", b'{"name": "thing", "price": 1}', [("Content-Type", "text/plain")]),
    ("POST", "/items", None, JSON),
    ("PUT", "/embed", b'{"item": {"name": "ab", "price": 0}, "factor": 3}', JSON),
    ("POST", "/form", b"name=a+b&size=3", [("Content-Type", "application/x-www-form-urlencoded")]),
    ("POST", "/form", b"size=no", [("Content-Type", "application/x-www-form-urlencoded")]),
    ("POST", "/upload", MULTIPART, [("Content-Type", "multipart/form-data; boundary=B")]),
    ("POST", "/raw", b"x" * 500_000, []),
    ("POST", "/raw", b"x" * 270_000, []),  # Ends in the last, partly used window.
    ("POST", "/raw", b"x" * 5_000_000, []),
    ("POST", "/raw", b"", []),
    ("POST", "/raw", CHUNKED, [("Transfer-Encoding", "chunked")]),
    ("POST", "/raw", b"y" * 100, [("Expect", "100-continue")]),
    ("GET", "/raise/http", None, []),
    ("GET", "/raise/oops", None, []),
    ("GET", "/raise/unexpected", None, [("Origin", "https://example.com")]),
    ("GET", "/redirect", None, []),
    ("GET", "/cookies", None, []),
    ("GET", "/html", None, []),
    ("HEAD", "/html", None, []),
    ("GET", "/nothing", None, []),
    ("GET", "/stream", None, []),
    ("GET", "/stream/sync", None, []),
    ("GET", "/lines", None, []),
    ("GET", "/events", None, []),
    ("GET", "/large", None, []),
    ("GET", "/large?size=65536", None, []),
    ("GET", "/large?size=65537", None, []),
    ("GET", "/large?size=3000000", None, []),
    ("GET", "/large?size=0", None, []),
    ("GET", "/file", None, []),
    ("GET", "/file", None, [("Range", "bytes=10-19")]),
    ("GET", "/file", None, [("Range", "bytes=99999999-")]),
    ("GET", "/dependency", None, []),
    ("GET", "/state", None, []),
    ("GET", "/scope?a=1&b=%20", None, [("X-One", "1"), ("X-Two", "2"), ("X-One", "3")]),
    ("GET", "/private", None, []),
    ("GET", "/private", None, [("Authorization", "Basic dTpw")]),
    ("GET", "/api/outer/inner/leaf/3", None, []),
    ("GET", "/api/outer/inner/leaf/x", None, []),
    ("POST", "/plain", b"ignored", []),
    ("DELETE", "/plain", None, []),
    ("GET", "/sub/hello", None, []),
    ("GET", "/sub", None, []),
    ("GET", "/sub/none", None, []),
    ("GET", "/starlette/deep/y", None, []),
    ("GET", "/openapi.json", None, []),
    ("GET", "/docs", None, []),
    ("GET", "/redoc", None, []),
    ("GET", "/no/such/path", None, []),
    ("PATCH", "/items", None, []),
]


@pytest.fixture(scope="module")
def uvicorn_port() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "conformance_app:app", "--port", str(port), "--log-level", "critical"]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}  # Allow is made from a set.
    process = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.DEVNULL)

    def listening() -> bool:
        with contextlib.suppress(OSError):
            return fetch(port, "/").status == 200
        return False

    until(listening, "uvicorn listens")
    yield port
    process.kill()
    process.wait()


def _sidecars() -> list[Any]:
    return ["fake", pytest.param("real", marks=pytest.mark.sidecar)] if real_sidecar() else ["fake"]


@pytest.fixture(scope="module", params=_sidecars())
def catzilla_port(request: Any, tmp_path_factory: Any) -> Iterator[int]:
    directory = tmp_path_factory.mktemp("conformance")
    (directory / "conformance_app.py").symlink_to(HERE / "conformance_app.py")
    sidecar = real_sidecar() if request.param == "real" else None
    run = Run(directory, "conformance_app:app", sidecar=sidecar, env={"PYTHONPATH": str(HERE), "PYTHONHASHSEED": "0"})
    try:
        run.ready()
        yield run.port
        assert run.stop() == 0, run.text
    finally:
        run.process.kill()


def _case(request: Any) -> str:
    method, path, body, headers = request
    extra = f" {headers[0][0]}" if headers else ""
    return f"{method} {path[:40]}{extra}{'' if body is None else f' {len(body)}B'}"


@pytest.mark.parametrize("request_", REQUESTS, ids=_case)
def test_the_answer_is_the_same(request_: Any, uvicorn_port: int, catzilla_port: int) -> None:
    method, path, body, headers = request_
    expected = fetch(uvicorn_port, path, method, body, headers)
    answer = fetch(catzilla_port, path, method, body, headers)
    if path == "/openapi.json":
        assert expected.status == 200
    assert answer == expected


def test_teardown_and_background_tasks_happen_in_order(catzilla_port: int) -> None:
    fetch(catzilla_port, "/trace")
    assert fetch(catzilla_port, "/dependency").status == 200
    assert fetch(catzilla_port, "/background").body == b'{"queued":"yes"}'
    seen: list[str] = []

    def done() -> bool:
        import json

        seen.extend(json.loads(fetch(catzilla_port, "/trace").body))
        return "task" in seen

    until(done, "the background task runs")
    assert seen == ["enter", "exit", "task"]
