"""What RFC 9110, 9111 and 9112 ask of us on the wire, and what an app sees of it.

C1, C2, C4, C5, C7, C8, C9, C10, A2, A6, A8, A12, A13, A15: each test names the fault it keeps away.
"""

from __future__ import annotations

import json
import pathlib
import threading
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from raw_http import Answer, RawConnection
from sidecar_process import metric

APP = """
import asyncio, itertools, pathlib
from catzilla import Catzilla, cache
from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

app = Catzilla()
HERE = pathlib.Path.cwd()
turn = itertools.count(1)

@app.get("/seen")
async def seen(request: Request):
    return {"headers": [[n.decode(), v.decode()] for n, v in request.scope["headers"]], "scheme": request.url.scheme,
            "host": request.url.hostname}

@app.post("/length")
async def length(request: Request):
    return len(await request.body())

@app.get("/own-id")
async def own_id():
    return PlainTextResponse("x", headers={"X-Request-ID": "of-the-app"})

@app.get("/aged")
@cache(ttl=60)
async def aged():
    return PlainTextResponse("x", headers={"Age": "30", "Cache-Control": "max-age=100"})

@app.get("/kept")
@cache(ttl=60)
async def kept():
    return PlainTextResponse("kept")

@app.get("/query")
@cache(ttl=60)
async def query(request: Request):
    return PlainTextResponse(request.url.query)

@app.get("/sorted-query")
async def sorted_query(request: Request):
    return PlainTextResponse(request.url.query)

@app.post("/mounted/only-post")
async def only_post():
    return "posted"

@app.get("/case")
async def case():
    return "case"

async def hints(scope, receive, send):
    await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"cache-control", b"max-age=60"), (b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"x"})

async def fails(scope, receive, send):
    with (HERE / "failing").open("a") as runs:
        runs.write("once ")
    while not (HERE / "fail").exists():
        await asyncio.sleep(0.01)
    # No answer: one that says 500 would be an answer, which is not kept, and each would ask for its own.

app.mount("/hints", hints)
app.mount("/fails", fails)
app.mount_static("/mounted", "site")
"""

CONFIG = """
listeners: [{name: http, trusted_proxies: [127.0.0.1]}]
caches: [{name: default}, {name: sorted, query_sort: true}]
routes:
  - {name: hinted, path: "/hints/", pool: app, cache: default, cache_ttl: 60s}
  - {name: failing, path: "/fails/", pool: app, cache: default, cache_ttl: 60s}
  - {name: sorted, path: /sorted-query, pool: app, cache: sorted, cache_ttl: 60s}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    folder = tmp_path_factory.mktemp("app")
    (folder / "site").mkdir()
    (folder / "site" / "only-post").write_text("a file")
    with AppProcess(folder, APP, config=CONFIG) as running:
        yield running


def fields(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.headers if key == name]


def test_c1_an_answer_that_has_aged_says_so_to_the_first_client_too(app: AppProcess) -> None:
    with app.connect() as client:
        for _ in range(2):
            assert int(client.get("/aged").header("age") or 0) >= 30


def test_c2_early_hints_pass_a_cache(app: AppProcess) -> None:
    with app.connect() as client:
        first = client.get("/hints/")
        assert (first.status, first.informational) == (200, [103])
        again = client.get("/hints/")
        assert (again.body, again.informational) == (b"x", [])
        assert "hit" in (again.header("cache-status") or "")


def test_c4_the_query_is_a_key_as_it_is(app: AppProcess) -> None:
    with app.connect() as client:
        assert client.get("/query?a=1&b=2").body == b"a=1&b=2"
        assert client.get("/query?b=2&a=1").body == b"b=2&a=1"
        assert "hit" in (client.get("/query?a=1&b=2").header("cache-status") or "")


def test_c4_unless_it_is_to_be_sorted(app: AppProcess) -> None:
    with app.connect() as client:
        assert client.get("/sorted-query?b=2&a=1").body == b"b=2&a=1"
        second = client.get("/sorted-query?a=1&b=2")
        assert second.body == b"b=2&a=1"
        assert "hit" in (second.header("cache-status") or "")


def test_c5_cached_answers_name_server_and_request(app: AppProcess) -> None:
    with app.connect() as client:
        ids = set()
        for _ in range(3):
            answer = client.get("/kept")
            assert fields(answer, "server") == ["catzilla"]
            [request_id] = fields(answer, "x-request-id")
            ids.add(request_id)
        assert len(ids) == 3
        assert fields(client.get("/kept", "X-Request-Id: mine"), "x-request-id") == ["mine"]


def test_c7_all_who_wait_for_a_failing_answer_are_told_the_same(app: AppProcess) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with app.connect() as client:
            statuses.append(client.get("/fails/").status)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    clients[0].start()
    eventually((app.folder / "failing").exists)
    for client in clients[1:]:
        client.start()
    eventually(lambda: metric(app, 'catzilla_http_connections{state="active"}') == len(clients))
    (app.folder / "fail").touch()
    for client in clients:
        client.join()
    assert statuses == [500] * 4
    assert (app.folder / "failing").read_text() == "once "


def test_c8_an_absolute_target_wins_over_host(app: AppProcess) -> None:
    with app.connect() as client:
        client.send(b"GET http://target.test/seen HTTP/1.1\r\nHost: other.test\r\n\r\n")
        answer = client.read()
        assert answer.status == 200
        assert json.loads(answer.body)["host"] == "target.test"


@pytest.mark.parametrize(
    ("extension", "status"),
    [
        (b";name", 200),
        (b";name=value;other", 200),
        (b' ; name="a quoted; one"', 200),
        (b";" + b"x" * 1000, 200),
        (b";" + b"x" * 5000, 400),
        (b";bare\nlf", 400),
        (b" 5", 400),
    ],
)
def test_c9_chunk_extensions_are_skipped_up_to_a_bound(
    app: AppProcess, extension: bytes, status: int
) -> None:
    with app.connect() as client:
        client.send(b"POST /length HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"5" + extension + b"\r\nhello\r\n0\r\n\r\n")
        answer = client.read()
        assert answer.status == status
        if status == 200:
            assert answer.body == b"5"


def test_c10_hop_by_hop_fields_do_not_reach_the_app(app: AppProcess) -> None:
    with app.connect() as client:
        answer = client.get(
            "/seen",
            "Connection: keep-alive, X-Mine, Authorization, X-Forwarded-For",
            *("Keep-Alive: timeout=5", "TE: trailers", "Proxy-Connection: keep-alive"),
            *("X-Mine: 1", "X-Other: 2", "Authorization: Bearer b", "X-Forwarded-For: 10.0.0.9"),
        )
        names = {name for name, _ in json.loads(answer.body)["headers"]}
    assert names == {"host", "x-other", "authorization", "x-forwarded-for", "x-request-id"}


def test_a2_one_request_id_and_it_reaches_the_app(app: AppProcess) -> None:
    with app.connect() as client:
        answer = client.get("/seen")
        [made] = fields(answer, "x-request-id")
        assert ["x-request-id", made] in json.loads(answer.body)["headers"]
        answer = client.get("/seen", "X-Request-Id: mine")
        assert fields(answer, "x-request-id") == ["mine"]
        assert [v for n, v in json.loads(answer.body)["headers"] if n == "x-request-id"] == ["mine"]
        assert fields(client.get("/own-id"), "x-request-id") == ["of-the-app"]


@pytest.mark.parametrize("word", ["https", "HTTPS", "HttpS"])
def test_a8_a_forwarded_scheme_is_read_in_any_case(app: AppProcess, word: str) -> None:
    with app.connect() as client:
        for line in (f"X-Forwarded-Proto: {word}", f"Forwarded: proto={word}"):
            assert json.loads(client.get("/seen", line).body)["scheme"] == "https"


# /hints/ is a mount whose app knows only HTTP: it raises, as under uvicorn.
@pytest.mark.parametrize(("path", "status"), [("/seen", 403), ("/hints/", 500), ("/kept", 403)])
def test_a12_a_path_without_a_websocket_route_is_refused_as_starlette_does(
    app: AppProcess, path: str, status: int
) -> None:
    with app.connect() as client:
        answer = client.get(
            path,
            *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert answer.status == status


def test_a13_a_mount_matches_fully_where_a_route_does_only_in_part(app: AppProcess) -> None:
    with app.connect() as client:
        assert client.get("/mounted/only-post").body == b"a file"
        assert client.get("/mounted/only-post", "Content-Length: 0", method="POST").status == 200


def test_a6_several_slashes_are_redirected_as_starlette_does(app: AppProcess) -> None:
    with app.connect() as client:
        for path in ("/case/", "/case//", "/case///"):
            answer = client.get(path)
            assert answer.status == 307
            assert (answer.header("location") or "").endswith("/case")


def test_a15_errors_of_an_apps_routes_have_fastapis_shape(tmp_path: pathlib.Path) -> None:
    config = "limits: {max_body_size: 10B}\n"
    with AppProcess(
        tmp_path, APP.replace('app.mount_static("/mounted", "site")', ""), config=config
    ) as app:
        with RawConnection(app.port) as client:
            client.send(b"POST /length HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n")
            answer = client.read()
            assert answer.status == 413
            assert answer.header("content-type") == "application/json"
            assert json.loads(answer.body) == {"detail": "Content Too Large"}
        with RawConnection(app.port) as client:
            client.send(
                b"POST /length HTTP/1.1\r\nHost: t\r\nAccept: text/html\r\nContent-Length: 100\r\n\r\n"
            )
            assert (client.read().header("content-type") or "").startswith("text/html")
