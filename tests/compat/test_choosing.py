"""Frames that are made without a sidecar say what a sidecar would have said."""

from __future__ import annotations

from typing import Annotated

import pytest
from catzilla import APIRouter, Catzilla, Cookie, Header, Query
from catzilla._routing import compile_table
from catzilla._worker import _frames as frames
from choosing import Choice, Chooser, Fields

app = Catzilla(openapi_url=None)
router = APIRouter(prefix="/shop")


@app.get("/items/{item_id}")
def item(
    item_id: int,
    q: str = "",
    tag: Annotated[list[str], Header()] = [],  # noqa: B006
    session: Annotated[str, Cookie()] = "",
) -> None: ...


@app.get("/items/{item_id}/{rest:path}")
def rest(item_id: str, rest: str) -> None: ...


@app.post("/items/me")
def me() -> None: ...


@router.get("/lists")
def lists(q: Annotated[list[str], Query()] = []) -> None: ...  # noqa: B006


app.include_router(router)
CHOOSER = Chooser(compile_table(app))


def choose(
    method: str, path: bytes, query: bytes = b"", fields: Fields | None = None
) -> tuple[str, Choice]:
    choice = CHOOSER.choose(method, path, query, fields or [])
    return choice.entry.endpoint if choice.entry else "", choice


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("GET", b"/items/7", "item"),
        ("GET", b"/items/me", "item"),
        ("POST", b"/items/me", "me"),
        ("POST", b"/items/7", ""),
        ("GET", b"/items/7/a/b", "rest"),
        ("GET", b"/shop/lists", "lists"),
        ("HEAD", b"/items/7", ""),
        ("GET", b"/nowhere", ""),
    ],
)
def test_the_first_route_that_takes_it(method: str, path: bytes, endpoint: str) -> None:
    name, choice = choose(method, path)
    assert name == endpoint
    assert (choice.route_id == frames.NO_ROUTE) == (not endpoint)


def test_slots_are_those_that_fastapi_takes() -> None:
    fields = [(b"tag", b"a"), (b"tag", b"b"), (b"cookie", b"session=1; x=2; session=3")]
    _, choice = choose("GET", b"/items/7", b"q=1&q=%C3%A4+b", fields)
    assert choice.entry is not None
    names = [wanted["name"] for wanted in choice.entry.inputs]
    slots = dict(zip(names, choice.slots, strict=True))
    assert slots == {"item_id": b"7", "q": "ä b".encode(), "tag": [b"a", b"b"], "session": b"3"}


@pytest.mark.parametrize(
    "cookie", [b"session=1\xa0", b"\x85session\xa0=\x851", b"session=\xa01; x=\xa0"]
)
def test_cookies_are_stripped_as_text(cookie: bytes) -> None:
    _, choice = choose("GET", b"/items/7", b"", [(b"cookie", cookie)])
    assert b"1" in choice.slots


def test_an_absent_value_is_an_absent_slot() -> None:
    _, choice = choose("GET", b"/items/7")
    assert choice.slots.count(None) == 3
    assert choose("GET", b"/items/7", b"q=")[1].slots.count(b"") == 1


def test_a_query_that_is_not_utf8_leaves_its_slots_empty_and_says_so() -> None:
    _, choice = choose("GET", b"/shop/lists", b"q=\xff")
    assert choice.flags == frames.REQUEST_QUERY_NOT_UTF8
    assert choice.slots == (None,)


def test_slots_that_do_not_fit_are_all_absent() -> None:
    _, choice = choose("GET", b"/shop/lists", b"q=" + b"x" * 40000)
    assert choice.flags == frames.REQUEST_SLOTS_OVERFLOW
    assert choice.slots == (None,)
