"""What the control plane says of a cached route, against what a request then gets (O8)."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from app_process import AppProcess

APP = """
from catzilla import Catzilla, cache
from fastapi.responses import PlainTextResponse

app = Catzilla()

@app.get("/own/{name}")
@cache(ttl=60, tags=["own"])
async def own(name: str):
    return PlainTextResponse(name)

@app.get("/varies")
@cache(ttl=60, vary=["x-colour"])
async def varies():
    return PlainTextResponse("colour", headers={"Vary": "X-Colour"})
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with AppProcess(tmp_path_factory.mktemp("explain"), APP, "--workers", "1") as running:
        yield running


def explain(app: AppProcess, method: str, path: str, *headers: str) -> dict[str, Any]:
    given = [part for header in headers for part in ("-H", header)]
    told: dict[str, Any] = json.loads(
        app.ctl("-o", "json", "explain", method, f"http://test{path}", *given)
    )
    return told


def outcomes(told: dict[str, Any]) -> list[str]:
    return [step["outcome"] for step in told["steps"] if step["stage"] == "cache"]


def lookup(app: AppProcess, url: str, *headers: str) -> list[dict[str, Any]]:
    given = [part for header in headers for part in ("-H", header)]
    told = json.loads(app.ctl("-o", "json", "cache", "lookup", url, *given))
    found: list[dict[str, Any]] = told["objects"]
    return found


def test_o8_explain_says_miss_hit_and_bypass(app: AppProcess) -> None:
    path = "/own/a"
    told = explain(app, "GET", path)
    assert told["verdict"] == "VERDICT_KIND_FORWARD"
    assert "miss" in outcomes(told)
    with app.connect() as client:
        assert client.get(path).status == 200
        assert "hit" in (client.get(path).header("cache-status") or "")
        assert "bypass" in (client.get(path, "Cookie: a=b").header("cache-status") or "")
    told = explain(app, "GET", path)
    assert told["verdict"] == "VERDICT_KIND_CACHE"
    assert "hit" in outcomes(told)
    for header in ("Cookie: a=b", "Cache-Control: no-cache"):
        told = explain(app, "GET", path, header)
        assert told["verdict"] == "VERDICT_KIND_FORWARD", header
        assert outcomes(told)[-1] in ("bypass", "revalidate", "miss"), header
    assert "Cookie" in explain(app, "GET", path, "Cookie: a=b")["steps"][-2]["reason"]
    told = explain(app, "GET", "/own/never", "Cache-Control: only-if-cached")
    assert (told["verdict"], told["status"]) == ("VERDICT_KIND_REJECT", 504)
    told = explain(app, "GET", "/own/never", "Authorization: Bearer x")
    assert "kept if the app allows" in outcomes(told)
    told = explain(app, "GET", "/own/never", "Cache-Control: no-store")
    assert "not kept" in outcomes(told)


def test_o8_explain_refuses_what_the_server_refuses(app: AppProcess) -> None:
    told = explain(app, "CONNECT", "/own/a")
    assert (told["verdict"], told["status"]) == ("VERDICT_KIND_REJECT", 501)


def test_o8_lookup_selects_counts_and_dates(app: AppProcess) -> None:
    with app.connect() as client:
        for colour in ("red", "blue"):
            for _ in range(3):
                assert client.get("/varies", f"X-Colour: {colour}").body == b"colour"
    for url in ("http://test/varies", "/varies"):
        found = lookup(app, url, "X-Colour: blue")
        assert len(found) == 2, url
        for one in found:
            colour = one["vary"].get("x-colour") or one["vary"]["X-Colour"]
            assert one.get("selected", False) == (colour == "blue")
            assert one["hits"] == "2"
            assert one["storedAt" if "storedAt" in one else "stored_at"].startswith("20")
        assert not any(one.get("selected") for one in lookup(app, url, "X-Colour: green"))
    table = app.ctl("cache", "lookup", "http://test/varies", "-H", "x-colour: red")
    chosen = [line for line in table.splitlines() if line.startswith("http://test/varies *")]
    assert len(chosen) == 1
    assert "red" in chosen[0]
    # A method that caches do not answer selects nothing.
    assert " * " not in app.ctl("cache", "lookup", "/varies", "-X", "POST", "-H", "x-colour: red")
    assert "miss" in outcomes(explain(app, "GET", "/varies", "X-Colour: green"))
    assert explain(app, "GET", "/varies", "X-Colour: red")["verdict"] == "VERDICT_KIND_CACHE"


def test_o8_a_url_without_a_host_takes_it_from_the_fields(
    app: AppProcess, tmp_path: pathlib.Path
) -> None:
    with app.connect() as client:
        assert client.get("/own/hosted").status == 200
    told = json.loads(app.ctl("-o", "json", "explain", "GET", "/own/hosted", "-H", "Host: test"))
    assert told["verdict"] == "VERDICT_KIND_CACHE"
    told = json.loads(app.ctl("-o", "json", "explain", "GET", "/own/hosted"))
    assert "no key" in outcomes(told)
