"""A REQUEST that no sidecar would send, to a compiled route: declined, or read within its bounds."""

import struct
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query
from hypothesis import given, settings
from hypothesis import strategies as st

from catzilla._routing import compile_table
from catzilla._worker import _frames as frames

app = FastAPI(openapi_url=None)


@app.post("/x/{name}")
async def x(
    name: int,
    body: dict[str, Any],
    q: Annotated[list[str] | None, Query()] = None,
    h: Annotated[str | None, Header()] = None,
) -> None: ...


TABLE = compile_table(app)
[ENTRY] = [entry for entry in TABLE.routes if entry.kind == "api"]
COMPILED = TABLE.compiled[ENTRY.id]
SLOTS = {"path": b"5", "query": [b"a", b"b"], "header": b"h", "content-type": b"application/json"}
PAYLOAD = frames.encode_request(
    method="POST",
    target=b"/x/5?q=a&q=b",
    fields=[(b"h", b"h"), (b"content-type", b"application/json")],
    body=b'{"a": 1}',
    slots=[SLOTS.get(found["name"]) or SLOTS[found["place"]] for found in ENTRY.inputs],  # type: ignore[misc]
    route_id=ENTRY.id,
)


def test_the_sound_one_is_taken() -> None:
    assert COMPILED.prepare(PAYLOAD) == (5, ["a", "b"], "h", {"a": 1})


@settings(max_examples=500, deadline=None)
@given(
    at=st.integers(0, len(PAYLOAD) - 1),
    value=st.integers(0, 255),
    cut=st.integers(0, len(PAYLOAD)),
    tail=st.binary(max_size=40),
)
def test_spoiled_ones_are_declined_or_read_within_their_bounds(at: int, value: int, cut: int, tail: bytes) -> None:
    for payload in (PAYLOAD[:at] + bytes([value]) + PAYLOAD[at + 1 :], PAYLOAD[:cut] + tail):
        try:
            values = COMPILED.prepare(payload)
        except (ValueError, struct.error):  # The lane hands it to the genuine app, whose reading says what is wrong.
            continue
        assert values is None or len(values) == 4
