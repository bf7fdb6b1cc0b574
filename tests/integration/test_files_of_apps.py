"""Files that apps answer with: FileResponse by descriptor, X-Accel-Redirect and X-Sendfile, trailers."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from raw_http import Answer, RawConnection
from scripted_upstream import Request, Served, Upstream, answer
from scripted_upstream import config as upstream_config
from sidecar_process import Sidecar, free_port

LARGE = bytes(range(256)) * 8192  # 2 MiB

APP = """
import pathlib
from catzilla import Catzilla, cache
from fastapi import Request, Response
from fastapi.responses import FileResponse, StreamingResponse

app = Catzilla()
HERE = pathlib.Path.cwd()

@app.api_route("/file/{name}", methods=["GET", "HEAD"])
async def file(name: str):
    return FileResponse(HERE / name, headers={"x-own": "1"}, filename="a name.bin")

@app.api_route("/threaded/{name}", methods=["GET", "HEAD"])
def threaded(name: str):
    return FileResponse(HERE / name)

@app.get("/wrong-length")
async def wrong_length():
    return FileResponse(HERE / "large.bin", headers={"content-length": "10000000"})

@app.get("/kept")
@cache(ttl=60)
async def kept():
    return FileResponse(HERE / "large.bin")

@app.api_route("/protected/{name:path}", methods=["GET", "POST"])
async def protected(name: str, request: Request):
    if request.headers.get("authorization") != "Bearer secret":
        return Response(status_code=401)
    return Response(headers={"x-accel-redirect": f"/internal/{name}", "cache-control": "private"})

@app.get("/by-path/{name:path}")
async def by_path(name: str):
    return Response(headers={"x-sendfile": str(HERE / "files" / name)})

async def with_trailers(scope, receive, send):
    assert "http.response.trailers" in scope["extensions"]
    await send({"type": "http.response.start", "status": 200, "trailers": True,
                "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})
    await send({"type": "http.response.trailers", "more_trailers": True,
                "headers": [(b"x-sum", b"abc"), (b"set-cookie", b"never")]})
    await send({"type": "http.response.trailers", "headers": [(b"X-More", b"def")]})

@app.get("/trailers")
async def trailers():
    class Trailing(Response):
        async def __call__(self, scope, receive, send):
            await with_trailers(scope, receive, send)
    return Trailing()
"""

CONFIG = "mounts: [{{name: protected, prefix: /internal, root: {root}, internal: true}}]\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "files").mkdir()
    (folder / "files" / "report.pdf").write_bytes(b"%PDF-1.7\n" + LARGE)
    (folder / "files" / "small.txt").write_text("0123456789")
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "small.bin").write_bytes(b"small")
    (folder / "empty.bin").write_bytes(b"")
    os.mkfifo(folder / "fifo")
    with AppProcess(folder, APP, config=CONFIG.format(root=folder / "files")) as running:
        yield running


@pytest.fixture(scope="module")
def uvicorn_port(app: AppProcess) -> Iterator[int]:
    """The same app behind uvicorn, for what a file answers there."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app_under_test:app", "--port", str(port)]
    quiet = [*command, "--log-level", "error", "--no-server-header", "--no-date-header"]
    with subprocess.Popen(quiet, cwd=app.folder) as process:
        try:

            def listens() -> bool:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    return True
                return False

            eventually(listens, 30)
            yield port
        finally:
            process.terminate()


def get(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with RawConnection(port) as client:
        return client.get(path, *lines, method=method)


def fields(answer: Answer) -> list[tuple[str, str]]:
    left_out = {"date", "server", "connection", "x-request-id"}
    return [(name, value) for name, value in answer.headers if name not in left_out]


FILES = ["/file/large.bin", "/file/small.bin", "/file/empty.bin", "/threaded/large.bin"]
ASKED: list[dict[str, str]] = [
    {},
    {"range": "bytes=100-200"},
    {"range": "bytes=0-0,5-9"},
    {"range": "bytes=-5"},
    {"range": "bytes=99999999-"},
    {"range": "bytes=1-2", "if_range": '"other"'},
]


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_answers_as_behind_uvicorn(
    app: AppProcess, uvicorn_port: int, path: str, method: str
) -> None:
    for headers in ASKED:
        ours, theirs = (
            get(app.port, path, method, **headers),
            get(uvicorn_port, path, method, **headers),
        )
        boundary = re.compile(rb"[0-9a-f]{26,32}")
        assert ours.status == theirs.status, headers
        if "range" in headers and b"," in headers["range"].encode():
            assert boundary.sub(b"", ours.body) == boundary.sub(b"", theirs.body)
            continue
        assert ours.body == theirs.body, headers
        assert fields(ours) == fields(theirs), headers


def test_the_connection_lives_on_behind_a_file(app: AppProcess) -> None:
    with RawConnection(app.port) as client:
        for _ in range(20):
            assert client.get("/file/large.bin").body == LARGE
            assert client.get("/file/small.bin").body == b"small"


def test_several_at_once_get_their_own(app: AppProcess) -> None:
    connections = [RawConnection(app.port) for _ in range(20)]
    names = ["large.bin", "small.bin", "empty.bin"]
    for i, client in enumerate(connections):
        client.send(f"GET /file/{names[i % 3]} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    bodies = {"large.bin": LARGE, "small.bin": b"small", "empty.bin": b""}
    for i, client in enumerate(connections):
        assert client.read().body == bodies[names[i % 3]]
        client.close()


def open_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def sidecar_pid(app: AppProcess) -> int:
    log = re.search(r"sidecar .*pid[ =](\d+)", app.log())
    if log is not None:
        return int(log[1])
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "exe").resolve().name == "catzilla-sidecar" and str(app.runtime) in (
                entry / "cmdline"
            ).read_text():
                return int(entry.name)
    raise AssertionError("no sidecar")


def test_descriptors_are_given_back(app: AppProcess) -> None:
    """Also of clients that leave in the middle of a file."""
    pid = sidecar_pid(app)
    get(app.port, "/file/large.bin")
    before = open_descriptors(pid)
    for _ in range(10):
        client = RawConnection(app.port)
        client.send(b"GET /file/large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        client.socket.recv(1000)
        client.close()
    eventually(lambda: open_descriptors(pid) <= before + 1)


def test_what_is_no_file_is_an_error_of_the_app(app: AppProcess) -> None:
    assert get(app.port, "/file/fifo").status == 500
    assert get(app.port, "/file/none").status == 500


def test_a_length_that_is_not_kept_ends_the_connection(app: AppProcess) -> None:
    with RawConnection(app.port) as client:
        client.send(b"GET /wrong-length HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.rest().endswith(LARGE[-100:])


def test_a_file_is_kept_as_bytes(app: AppProcess) -> None:
    first, second = get(app.port, "/kept"), get(app.port, "/kept")
    assert first.body == second.body == LARGE
    assert "hit" in dict(fields(second))["cache-status"]


# Protected downloads...

SECRET = "Bearer secret"


def test_the_app_decides_and_the_sidecar_sends(app: AppProcess) -> None:
    assert get(app.port, "/protected/report.pdf").status == 401
    got = get(app.port, "/protected/report.pdf", authorization=SECRET)
    assert (got.status, got.body) == (200, b"%PDF-1.7\n" + LARGE)
    headers = dict(fields(got))
    assert headers["content-type"] == "application/pdf"
    assert headers["cache-control"] == "private"
    assert "x-accel-redirect" not in headers
    part = get(app.port, "/protected/report.pdf", authorization=SECRET, range="bytes=0-7")
    assert (part.status, part.body) == (206, b"%PDF-1.7")
    tag = headers["etag"]
    fresh = get(app.port, "/protected/report.pdf", authorization=SECRET, if_none_match=tag)
    assert (fresh.status, fresh.body) == (304, b"")
    posted = get(app.port, "/protected/small.txt", "POST", authorization=SECRET)
    assert (posted.status, posted.body) == (200, b"0123456789")


def test_no_client_reaches_the_files(app: AppProcess) -> None:
    for path in ("/internal/report.pdf", "/internal/small.txt", "/x/../internal/small.txt"):
        assert get(app.port, path).status in (400, 404)


def test_nothing_outside_is_sent(app: AppProcess) -> None:
    for name in ("../large.bin", "%2e%2e/large.bin", "x/../../large.bin", "..%2flarge.bin"):
        assert get(app.port, f"/protected/{name}", authorization=SECRET).status in (400, 404, 502)
    assert get(app.port, "/by-path/../../large.bin").status in (404, 502)
    assert get(app.port, "/by-path/%2e%2e/large.bin").status == 502
    eventually(lambda: "handed_file_outside" in app.log())


def test_a_path_of_the_file_system_will_do(app: AppProcess) -> None:
    assert get(app.port, "/by-path/small.txt").body == b"0123456789"


def test_any_upstream_may_name_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a b.txt").write_text("spaced")

    def script(served: Served, request: Request) -> None:
        served.send(answer(b"not this", "200 OK", "X-Accel-Redirect: /internal/a%20b.txt"))

    with Upstream(script) as upstream:
        text = upstream_config(upstream.target) + CONFIG.format(root=tmp_path / "files")
        with Sidecar(tmp_path, text) as sidecar, RawConnection(sidecar.port) as client:
            for _ in range(3):
                assert client.get("/x").body == b"spaced"
            assert len(upstream.connections) == 1  # Its connection lived on.


def test_a_mount_is_internal_while_all_runs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("text")
    inside = CONFIG.format(root=tmp_path / "files")
    with Upstream(answer(b"", "200 OK", "X-Accel-Redirect: /internal/a.txt")) as upstream:
        pool = upstream_config(upstream.target)
        with Sidecar(tmp_path, pool + inside) as sidecar:
            assert get(sidecar.port, "/x").body == b"text"
            sidecar.config.write_text(pool + inside.replace(", internal: true", ""))
            os.kill(sidecar.pid, signal.SIGHUP)
            # Now clients reach the file, and the field is one as any other.
            eventually(lambda: get(sidecar.port, "/internal/a.txt").body == b"text")
            passed_on = ("x-accel-redirect", "/internal/a.txt")
            eventually(lambda: passed_on in get(sidecar.port, "/x").headers)


# What is offered...

OFFERED = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": " ".join(scope["extensions"]).encode()})
"""
DEBUGS = """
from catzilla import Catzilla
from fastapi import Response

app = Catzilla()

class Debugging(Response):
    async def __call__(self, scope, receive, send):
        offered = "http.response.debug" in scope["extensions"]
        if offered:
            await send({"type": "http.response.debug", "info": {"template": "shop.html"}})
        self.body = str(offered).encode()
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)

@app.get("/")
async def debugging():
    return Debugging()
"""


@pytest.mark.parametrize(("said", "offered"), [("auto", False), ("on", True), ("off", False)])
def test_pathsend_is_offered_as_the_operator_says(
    tmp_path: pathlib.Path, said: str, offered: bool
) -> None:
    with AppProcess(tmp_path, OFFERED, "--pathsend", said, "--lifespan", "off") as app:
        body = get(app.port, "/").body
    assert (b"http.response.pathsend" in body) is offered
    assert b"http.response.trailers" in body


@pytest.mark.parametrize("level", ["debug", "info"])
def test_what_an_app_tells_for_debugging_is_logged(tmp_path: pathlib.Path, level: str) -> None:
    with AppProcess(tmp_path, DEBUGS, "--log-level", level) as app:
        assert get(app.port, "/").body == str(level == "debug").encode()
        if level == "debug":
            eventually(lambda: "shop.html" in app.log())


# Trailers...


def test_trailers_are_for_who_asks_for_them(app: AppProcess) -> None:
    with RawConnection(app.port) as client:
        client.send(
            b"GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"
        )
        text = client.rest()
    assert text.endswith(b"\r\n0\r\nx-sum: abc\r\nx-more: def\r\n\r\n")
    plain = get(app.port, "/trailers")
    assert plain.body == b"onetwo"
    assert "x-sum" not in dict(fields(plain))
