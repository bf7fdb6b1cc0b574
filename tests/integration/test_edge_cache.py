"""The edge cache from outside: a real app, real workers, and clients that come, wait and leave."""

from __future__ import annotations

import pathlib
import socket
import threading
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from raw_http import Answer, RawConnection
from sidecar_process import metric

APP = """
import asyncio, pathlib
from catzilla import Catzilla, cache
from fastapi import Response
from fastapi.responses import PlainTextResponse, StreamingResponse

app = Catzilla()
HERE = pathlib.Path.cwd()

def ran(name):
    with (HERE / f"{name}.runs").open("a") as file:
        file.write("x")
    return (HERE / f"{name}.runs").stat().st_size

async def gate(name):
    while not (HERE / f"{name}.open").exists():
        await asyncio.sleep(0.01)

@app.get("/item/{name}")
@cache(ttl=60, tags=["items"])
async def item(name: str):
    number = ran(f"item-{name}")
    return PlainTextResponse(f"{name} {number}", headers={"ETag": f'"{number}"'})

@app.post("/item/{name}")
async def change(name: str):
    return {"changed": name}

@app.post("/items", status_code=201)
async def create(response: Response, name: str):
    response.headers["Location"] = f"/item/{name}"
    return {"created": name}

@app.delete("/item/{name}")
async def refuse(name: str):
    return PlainTextResponse("no", status_code=403)

@app.get("/slow/{name}")
@cache(ttl=60, tags=["slow"])
async def slow(name: str):
    number = ran(f"slow-{name}")
    await gate(name)
    return PlainTextResponse(f"run {number}")

@app.get("/stream/{name}")
@cache(ttl=60)
async def stream(name: str):
    number = ran(f"stream-{name}")
    async def body():
        yield b"begin %d " % number
        await gate(name)
        if name.startswith("broken") and number == 1:
            raise RuntimeError("it broke")
        yield b"x" * 300_000
        yield b" end"
    return StreamingResponse(body(), media_type="text/plain")

@app.get("/answer/{name}")
@cache(ttl=60)
async def answer(name: str, response: Response):
    number = ran(f"answer-{name}")
    fields = {"no-store": {"Cache-Control": "no-store"}, "private": {"Cache-Control": "private"},
              "cookie": {"Set-Cookie": "a=b"}, "vary-all": {"Vary": "*"}, "error": {},
              "public": {"Cache-Control": "public, max-age=60"},
              "short": {"Cache-Control": "max-age=0", "ETag": '"v"'}}[name]
    return PlainTextResponse(f"run {number}", status_code=500 if name == "error" else 200, headers=fields)

@app.get("/language")
@cache(ttl=60, vary=["accept-language"], tags=["language"])
async def language(response: Response):
    return PlainTextResponse(f"run {ran('language')}")
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("edge"), APP, "--workers", "2") as running:
        yield running


def get(app: AppProcess, path: str, *fields: str, method: str = "GET") -> Answer:
    with app.connect() as raw:
        return raw.get(path, *fields, method=method)


def runs(app: AppProcess, name: str) -> int:
    """How often the handler has run."""
    file: pathlib.Path = app.folder / f"{name}.runs"
    return file.stat().st_size if file.exists() else 0


def open_gate(app: AppProcess, name: str) -> None:
    (app.folder / f"{name}.open").touch()


def asked(app: AppProcess, path: str) -> RawConnection:
    """A connection with a request under way."""
    raw = app.connect()
    raw.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    return raw


def status_of(answer: Answer) -> str:
    return answer.header("cache-status") or ""


def test_a_miss_is_stored_and_hit(app: AppProcess) -> None:
    first = get(app, "/item/a")
    second = get(app, "/item/a")
    assert status_of(first).startswith("catzilla; fwd=uri-miss; fwd-status=200; stored")
    assert status_of(second).startswith("catzilla; hit; ttl=")
    assert first.body == second.body == b"a 1"
    assert second.header("age") is not None


def test_what_a_hit_answers_to_conditions_and_ranges(app: AppProcess) -> None:
    get(app, "/item/conditions")
    assert get(app, "/item/conditions", 'If-None-Match: "1"').status == 304
    assert get(app, "/item/conditions", 'If-None-Match: "other"').status == 200
    part = get(app, "/item/conditions", "Range: bytes=0-3")
    assert (part.status, part.body) == (206, b"cond")
    assert runs(app, "item-conditions") == 1


def test_only_if_cached(app: AppProcess) -> None:
    assert get(app, "/item/never", "Cache-Control: only-if-cached").status == 504
    assert runs(app, "item-never") == 0


def test_a_client_that_wants_it_fresh_gets_it_fresh(app: AppProcess) -> None:
    get(app, "/item/fresh")
    assert get(app, "/item/fresh", "Cache-Control: no-cache").body == b"fresh 2"
    assert get(app, "/item/fresh").body == b"fresh 2"


@pytest.mark.parametrize("name", ["no-store", "private", "cookie", "vary-all", "error"])
def test_what_is_not_for_everyone_is_not_stored(app: AppProcess, name: str) -> None:
    for number in (1, 2):
        answer = get(app, f"/answer/{name}")
        assert answer.body == f"run {number}".encode()
        assert "stored" not in status_of(answer)


def test_authorized_requests_share_only_what_is_public(app: AppProcess) -> None:
    token = "Authorization: Bearer x"
    get(app, "/item/secret", token)
    assert get(app, "/item/secret", token).body == b"secret 2"
    get(app, "/answer/public", token)
    assert get(app, "/answer/public", token).body == b"run 1"


def test_what_is_stale_is_validated_with_the_app(app: AppProcess) -> None:
    """The app answers in full here: the stored one is replaced, and each request asks."""
    for number in (1, 2):
        assert get(app, "/answer/short").body == f"run {number}".encode()


def test_variants_are_kept_apart_and_purged_together(app: AppProcess) -> None:
    german, english = "Accept-Language: de", "Accept-Language: en"
    assert get(app, "/language", german).body == b"run 1"
    assert get(app, "/language", english).body == b"run 2"
    assert get(app, "/language", german).body == b"run 1"
    assert "accept-language" in (get(app, "/language", german).header("vary") or "").lower()
    app.ctl("cache", "purge", "--tag", "language")
    assert get(app, "/language", german).body == b"run 3"
    assert get(app, "/language", english).body == b"run 4"


@pytest.mark.parametrize(
    ("name", "method", "path", "forgets"),
    [
        ("changed", "POST", "/item/changed", True),
        ("created", "POST", "/items?name=created", True),  # Its Location says what else.
        ("refused", "DELETE", "/item/refused", False),  # 403: nothing has changed.
        ("other", "POST", "/item/another", False),
    ],
)
def test_a_change_forgets_what_was_stored(
    app: AppProcess, name: str, method: str, path: str, forgets: bool
) -> None:
    """RFC 9111 section 4.4, also when another route makes the change."""
    assert get(app, f"/item/{name}").body == f"{name} 1".encode()
    assert get(app, path, "Content-Length: 0", method=method).status in (200, 201, 403)
    assert get(app, f"/item/{name}").body == f"{name} {2 if forgets else 1}".encode()


def test_concurrent_misses_are_one_run(app: AppProcess) -> None:
    waiting = [asked(app, "/slow/many") for _ in range(50)]
    eventually(lambda: metric(app, 'catzilla_http_connections{state="active"}') == len(waiting))
    open_gate(app, "many")
    answers = [raw.read() for raw in waiting]
    assert {answer.body for answer in answers} == {b"run 1"}
    assert sum("collapsed" in status_of(answer) for answer in answers) == len(answers) - 1
    assert runs(app, "slow-many") == 1
    for raw in waiting:
        raw.close()


def test_who_caused_a_miss_may_leave(app: AppProcess) -> None:
    leader = asked(app, "/slow/left")
    eventually(lambda: runs(app, "slow-left") == 1)
    follower = asked(app, "/slow/left")
    leader.close()
    # Its hang-up is seen before the gate opens: another request on the same loops has been answered.
    for _ in range(4):
        get(app, "/item/a")
    open_gate(app, "left")
    assert follower.read().body == b"run 1"
    follower.close()
    assert status_of(get(app, "/slow/left")).startswith("catzilla; hit")
    assert runs(app, "slow-left") == 1


def test_who_comes_late_to_a_stream_gets_all_of_it(app: AppProcess) -> None:
    leader = asked(app, "/stream/late")
    head = leader.socket.recv(65536)
    assert b"begin 1" in head or b"begin 1" in leader.socket.recv(65536)
    follower = asked(app, "/stream/late")
    eventually(lambda: runs(app, "stream-late") == 1)
    open_gate(app, "late")
    answer = follower.read()
    assert answer.body == b"begin 1 " + b"x" * 300_000 + b" end"
    leader.close()
    follower.close()
    assert get(app, "/stream/late").body == answer.body


def test_a_slow_reader_does_not_hold_the_others_up(app: AppProcess) -> None:
    slow = asked(app, "/stream/pace")
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    eventually(lambda: runs(app, "stream-pace") == 1)
    quick = asked(app, "/stream/pace")
    open_gate(app, "pace")
    assert quick.read().body.endswith(b" end")
    quick.close()
    assert slow.read().body.endswith(b" end")
    slow.close()


def test_an_answer_that_breaks_off_is_told_to_all_and_not_stored(app: AppProcess) -> None:
    clients = [asked(app, "/stream/broken")]
    eventually(lambda: runs(app, "stream-broken") == 1)
    clients += [asked(app, "/stream/broken") for _ in range(3)]
    seen = [False] * len(clients)

    def read(number: int) -> None:
        try:
            clients[number].read()
        except (EOFError, ConnectionError):
            seen[number] = True

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(clients))]
    for thread in threads:
        thread.start()
    open_gate(app, "broken")
    for thread in threads:
        thread.join()
    assert all(seen), "a broken answer must not look whole"
    assert get(app, "/stream/broken").body.endswith(b" end")
    assert runs(app, "stream-broken") == 2


def test_a_purge_reaches_what_is_being_filled(app: AppProcess) -> None:
    waiting = asked(app, "/slow/purged")
    eventually(lambda: runs(app, "slow-purged") == 1)
    app.ctl("cache", "purge", "--tag", "slow")
    open_gate(app, "purged")
    assert waiting.read().body == b"run 1"
    waiting.close()
    assert get(app, "/slow/purged").body == b"run 2"


def test_a_purge_can_be_tried_first(app: AppProcess) -> None:
    get(app, "/item/tried")
    would = app.ctl("cache", "purge", "--dry-run", "/item/tried")
    assert would.startswith("url /item/tried: would purge 1 object, ")
    assert ", 0B," not in would
    assert status_of(get(app, "/item/tried")).startswith("catzilla; hit")
    did = app.ctl("cache", "purge", "/item/tried")
    assert did == would.replace("would purge", "purged")
    assert get(app, "/item/tried").body == b"tried 2"


# The SDK has no way yet to name a route's key; the protocol has.
KEYED = """
from catzilla._master import _registration

make = _registration._route

def keyed(entry):
    route = make(entry)
    if route.cache.ttl:
        route.cache.key.append("name")
    return route

_registration._route = keyed
"""


def test_c6_purging_a_url_asks_with_the_key_of_its_route(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route whose key has only the parameter `name` keeps one answer for every value of others."""
    (tmp_path / "sitecustomize.py").write_text(KEYED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with AppProcess(tmp_path, APP) as app:
        one, other = "/item/a?name=1&session=7", "/item/a?name=1&session=8"
        assert get(app, one).body == b"a 1"
        assert status_of(get(app, other)).startswith("catzilla; hit")
        for named in (f"http://test{other}", other):
            number = int(get(app, one).body.split()[1])
            assert ": would purge 1 object, " in app.ctl("cache", "purge", "--dry-run", named)
            assert ": purged 1 object, " in app.ctl("cache", "purge", named)
            assert get(app, one).body == f"a {number + 1}".encode()
