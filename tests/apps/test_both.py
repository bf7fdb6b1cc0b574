"""That a difference would be seen."""

from __future__ import annotations

import dataclasses

import pytest
from both import differences
from raw_http import Answer

PAGE = Answer(200, "OK", [("content-type", "text/plain"), ("content-length", "2")], b"ok")
TOKEN = {"token": r"\btoken=(\w+)"}


def told(ours: Answer, theirs: Answer) -> list[str]:
    return list(differences("1. GET /", ours, theirs, TOKEN))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"status": 201}, "status"),
        ({"reason": "Fine"}, "reason"),
        ({"body": b"no"}, "body"),
        ({"headers": PAGE.headers[::-1]}, "fields"),
        ({"headers": [*PAGE.headers, ("x-more", "1")]}, "fields"),
        ({"headers": [("content-type", "text/html"), PAGE.headers[1]]}, "fields"),
        ({"headers": [PAGE.headers[0], ("content-length", "3")]}, "fields"),
        ({"headers": [PAGE.headers[0], ("transfer-encoding", "chunked")]}, "fields"),
        ({"informational": [103]}, "informational"),
    ],
)
def test_a_difference_is_told(changed: dict[str, object], what: str) -> None:
    other: Answer = dataclasses.replace(PAGE, **changed)  # type: ignore[arg-type]
    assert told(PAGE, PAGE) == []
    assert told(other, PAGE)[0].startswith(f"1. GET /: {what}")


def test_what_is_left_out() -> None:
    def page(token: str, *fields: tuple[str, str]) -> Answer:
        body = f"token={token}".encode()
        return Answer(200, "OK", [*fields, ("content-length", str(len(body)))], body)

    ours = page("a", ("date", "now"), ("x-request-id", "1"), ("set-cookie", "token=b"))
    theirs = page("longer", ("date", "then"), ("set-cookie", "token=c"))
    assert told(ours, theirs) == []
    chunked = dataclasses.replace(PAGE, headers=[PAGE.headers[0], ("transfer-encoding", "chunked")])
    assert told(PAGE, chunked) == []  # Ours has the length that the app did not tell.
