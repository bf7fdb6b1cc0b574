"""What one request takes must not be missing to others: heads, open streams, cookies, apps that are not there yet.

S4, S5, S6, C14, A7, A10, O10: each test names the fault it keeps away.
"""

from __future__ import annotations

import contextlib
import pathlib
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from raw_http import RawConnection
from sidecar_process import Sidecar

APP = """
import asyncio, pathlib
from catzilla import Catzilla, cache
from fastapi import BackgroundTasks, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

app = Catzilla()
HERE = pathlib.Path.cwd()

@app.get("/ping")
async def ping():
    return "pong"

async def gate(name):
    while not (HERE / name).exists():
        await asyncio.sleep(0.02)

@app.get("/events")
async def events():
    async def body():
        yield b"data: 1\\n\\n"
        await gate("end")
    return StreamingResponse(body(), media_type="text/event-stream")

@app.get("/late")
async def late():
    async def body():
        await gate("late")
        yield b"late"
    return StreamingResponse(body())

@app.get("/behind")
async def behind(tasks: BackgroundTasks):
    tasks.add_task(gate, "end")
    return "answered"

@app.get("/hold/{name}")
async def hold(name: str):
    (HERE / f"held-{name}").touch()
    await gate("end")
    return name

@app.get("/cookies/{count}")
async def cookies(count: int):
    answer = PlainTextResponse("hello")
    for number in range(count):
        answer.headers.append("set-cookie", f"c{number}=" + "x" * 1000)
    return answer

@app.get("/cached/cookies/{count}")
@cache(ttl=60, cookies="ignore")
async def cached_cookies(count: int):
    return PlainTextResponse("hello", headers={f"x-{n}": "x" * 1000 for n in range(count)})

@app.get("/large")
async def large():
    async def body():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)
    return StreamingResponse(body())

@app.get("/me")
@cache(ttl=60)
async def me(request: Request):
    return {"user": request.cookies.get("user")}

@app.get("/theme")
@cache(ttl=60, vary=["cookie"])
async def theme(request: Request):
    return {"user": request.cookies.get("user")}

@app.get("/page")
@cache(ttl=60, cookies="ignore")
async def page():
    with (HERE / "page.runs").open("a") as file:
        file.write("x")
    return {"runs": (HERE / "page.runs").stat().st_size}

class Control:
    def __init__(self, text): self.text = text
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", self.text)]})
        await send({"type": "http.response.body", "body": b"sent"})

app.mount("/control/01", Control(b"a\\x01b"))
app.mount("/control/7f", Control(b"a\\x7fb"))
app.mount("/control/tab", Control(b"a\\tb"))
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("app"), APP) as running:
        yield running


def test_s4_a_large_head_is_sent_and_harms_no_other_stream(app: AppProcess) -> None:
    with app.connect() as download, app.connect() as client:
        download.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        assert download.socket.recv(100)
        answer = client.get(
            "/cookies/50"
        )  # 50 KiB: uvicorn sends it, the default limit allows it (S5).
        assert (answer.status, answer.body) == (200, b"hello")
        assert len([1 for name, _ in answer.headers if name == "set-cookie"]) == 50
        assert client.get("/cookies/120").status == 502
        assert client.get("/cookies/2000").status == 500  # It would not even fit a frame.
        assert client.get("/ping").status == 200
        received = 0
        while received < 8 << 20:  # The download goes on.
            received += len(download.socket.recv(1 << 20))


def test_s5_cached_answers_have_the_same_limit(app: AppProcess) -> None:
    with app.connect() as client:
        for _ in range(2):
            answer = client.get("/cached/cookies/50")
            assert (answer.status, answer.body) == (200, b"hello")
            assert len([1 for name, _ in answer.headers if name.startswith("x-")]) >= 50
        assert client.get("/cached/cookies/120").status == 502


def test_s5_the_limit_is_live(tmp_path: pathlib.Path) -> None:
    with AppProcess(tmp_path, APP) as app, app.connect() as client:
        assert client.get("/cookies/50").status == 200
        changed = tmp_path / "sidecar.yaml"
        changed.write_text("limits: {max_response_header: 8KiB}\n")
        eventually(lambda: client.get("/cookies/50").status == 502)
        changed.write_text("limits: {max_response_header: 256KiB}\n")
        eventually(lambda: client.get("/cookies/120").status == 200)


@pytest.mark.parametrize("path", ["/events", "/behind", "/late"])
def test_s6_open_answers_keep_nobody_waiting(tmp_path: pathlib.Path, path: str) -> None:
    # Fewer credits than open answers: they must not count.
    with AppProcess(tmp_path, APP, config="pools: [{name: app, credits_per_worker: 8}]\n") as app:
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(app.connect()) for _ in range(100)]
            for stream in streams:
                stream.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
                assert stream.socket.recv(12) == b"HTTP/1.1 200"
            with app.connect() as client:
                assert client.get("/ping").status == 200
            (app.folder / "late").touch()
            (app.folder / "end").touch()


def test_s6_a_saturated_pool_says_so(tmp_path: pathlib.Path) -> None:
    config = "pools: [{name: app, credits_per_worker: 1, max_queue: 1}]\n"
    with AppProcess(tmp_path, APP, config=config) as app, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(app.connect()) for _ in range(6)]
        clients[0].send(b"GET /hold/a HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually((app.folder / "held-a").exists)
        for client in clients[1:]:
            client.send(b"GET /ping HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: "pool app is saturated" in app.log())
        (app.folder / "end").touch()
        assert clients[0].read().body == b'"a"'
        answers = sorted((client.read() for client in clients[1:]), key=lambda x: x.status)
        # One waits in the queue; whichever comes first.
        assert [answer.status for answer in answers] == [200, 503, 503, 503, 503]
        assert {answer.header("retry-after") for answer in answers[1:]} == {"1"}
        assert app.log().count("is saturated") == 1  # Not once for each.


def test_o5_credits_are_live_for_workers_that_are_there(tmp_path: pathlib.Path) -> None:
    config = "pools: [{name: app, credits_per_worker: 1}]\n"
    with AppProcess(tmp_path, APP, config=config) as app, contextlib.ExitStack() as stack:
        for name in ("a", "b"):
            client = stack.enter_context(app.connect())
            client.send(f"GET /hold/{name} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        eventually(lambda: len(list(app.folder.glob("held-*"))) == 1)
        (app.folder / "sidecar.yaml").write_text(config.replace("worker: 1", "worker: 2"))
        eventually(lambda: len(list(app.folder.glob("held-*"))) == 2)
        (app.folder / "end").touch()


def test_a1_the_head_of_a_stream_does_not_wait_for_its_body(tmp_path: pathlib.Path) -> None:
    config = "pools: [{name: app, request_timeout: 1s}]\n"
    with AppProcess(tmp_path, APP, config=config) as app, app.connect() as client:
        client.send(b"GET /late HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.socket.recv(12) == b"HTTP/1.1 200"
        (app.folder / "late").touch()
        assert b"late" in client.socket.recv(65536) + client.socket.recv(65536)


@pytest.mark.parametrize(("name", "status"), [("01", 500), ("7f", 500), ("tab", 200)])
def test_a7_control_characters_in_a_field_are_an_error(
    app: AppProcess, name: str, status: int
) -> None:
    with app.connect() as client:
        assert client.get(f"/control/{name}/").status == status


def test_c14_a_client_with_cookies_gets_its_own_answer(app: AppProcess) -> None:
    with app.connect() as client:
        for user in ("alice", "bob", "alice"):
            answer = client.get("/me", f"Cookie: user={user}")
            assert answer.body == f'{{"user":"{user}"}}'.encode()
            assert answer.header("cache-status") == "catzilla; fwd=bypass; fwd-status=200"
        assert client.get("/me").body == b'{"user":null}'
        assert "hit" in (client.get("/me").header("cache-status") or "")
        assert client.get("/me", "Cookie: user=eve").body == b'{"user":"eve"}'


def test_c14_vary_keeps_cookies_apart_and_ignore_shares(app: AppProcess) -> None:
    with app.connect() as client:
        for _ in range(2):
            for user in ("alice", "bob"):
                answer = client.get("/theme", f"Cookie: user={user}")
                assert answer.body == f'{{"user":"{user}"}}'.encode()
        assert "hit" in (answer.header("cache-status") or "")
        first = client.get("/page", "Cookie: a=1").body
        assert client.get("/page", "Cookie: a=2").body == first
        assert client.get("/page").body == first


def test_c14_an_operators_route_with_a_ttl_is_as_careful(tmp_path: pathlib.Path) -> None:
    config = """
routes:
  - {name: careful, path: /raw, pool: app, cache: default, cache_ttl: 60s}
  - {name: shared, path: /shared, pool: app, cache: default, cache_ttl: 60s, cache_ignores_cookies: true}
"""
    source = """
import itertools
from fastapi import FastAPI
app = FastAPI()
turn = itertools.count()

@app.get("/raw")
@app.get("/shared")
async def raw():
    return next(turn)
"""
    with AppProcess(tmp_path, source, config=config) as app, app.connect() as client:
        assert client.get("/raw").body == client.get("/raw").body
        assert client.get("/raw", "Cookie: a=1").body != client.get("/raw", "Cookie: a=1").body
        assert client.get("/shared", "Cookie: a=1").body == client.get("/shared").body


def ready(sidecar: Sidecar) -> int:
    with contextlib.suppress(urllib.error.HTTPError):
        with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.ops_port}/readyz") as answer:
            return int(answer.status)
    return 503


def test_o10_an_expected_app_is_waited_for(tmp_path: pathlib.Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "a.txt").write_text("static")
    config = f"""
app: {{expected: true}}
mounts: [{{name: s, prefix: /static, root: {site}}}]
"""
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as client:
        assert ready(sidecar) == 503
        answer = client.get("/api")
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        assert client.get("/static/a.txt").body == b"static"
        sidecar.config.write_text(config.replace("expected: true", "expected: false"))
        eventually(lambda: client.get("/api").status == 404)
        assert ready(sidecar) == 200


def test_o10_a_pool_that_routes_name_must_have_been_there(tmp_path: pathlib.Path) -> None:
    config = "routes: [{name: api, path: /api, pool: app}]\npools: [{name: app}]\n"
    with Sidecar(tmp_path, config) as sidecar, RawConnection(sidecar.port) as client:
        assert ready(sidecar) == 503
        assert client.get("/api").status == 503
