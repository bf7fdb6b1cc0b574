"""The codec against the golden frames of ``proto/catzilla/worker/v1/vectors`` and against itself."""

from __future__ import annotations

import contextlib
import json
import pathlib
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catzilla._worker import _frames as f

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "proto/catzilla/worker/v1/vectors"
VALID: list[dict[str, Any]] = json.loads((VECTORS / "frames.json").read_text())
INVALID: list[dict[str, Any]] = json.loads((VECTORS / "invalid.json").read_text())


def names(cases: list[dict[str, Any]]) -> list[str]:
    return [case["name"] for case in cases]


def raw(pairs: list[list[str]]) -> list[tuple[bytes, bytes]]:
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in pairs]


def one_frame(data: bytes) -> f.Frame:
    (frame,) = f.FrameReader().feed(data)
    f.check_frame(frame)
    return frame


def test_the_vectors_are_what_the_generator_writes() -> None:
    subprocess.run([sys.executable, VECTORS / "generate.py", "--check"], check=True)


def test_every_valid_type_number_is_the_contract_s() -> None:
    for case in VALID:
        assert one_frame(bytes.fromhex(case["hex"]))[0] == getattr(f, case["type"])


@pytest.mark.parametrize("case", VALID, ids=names(VALID))
def test_golden_frame_decodes_to_its_fields(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    kind, flags, stream, aux, payload = one_frame(data)
    want = case["fields"]
    assert (flags, stream, aux) == (case["flags"], case["stream"], case["aux"])
    if kind == f.HELLO:
        hello = f.Hello.decode(payload)
        for key, value in want.items():
            got = getattr(hello, key)
            assert (got.hex() if isinstance(got, bytes) else got) == value, key
        assert hello.encode() == payload
    elif kind == f.HELLO_ACK:
        ack = f.HelloAck.decode(payload)
        assert {key: getattr(ack, key) for key in want} == want
        assert ack.encode() == payload
    elif kind in (f.REQUEST, f.UPGRADE):
        check_request(f.Request(payload), want)
    elif kind == f.RESPONSE:
        check_response(case, payload, data)
    elif kind == f.WS_ACCEPT:
        assert f.decode_head(payload) == (101, raw(want["fields"]))
        assert f.encode_accept(stream, raw(want["fields"])) == data
    elif kind in (f.INFORMATIONAL, f.TRAILERS):
        assert f.decode_head(payload) == (want["status"], raw(want["fields"]))
        encoded = (
            f.encode_trailers(stream, raw(want["fields"]))
            if kind == f.TRAILERS
            else f.encode_informational(stream, want["status"], raw(want["fields"]))
        )
        assert encoded == data
    elif kind == f.STATS:
        stats = f.Stats.decode(payload)
        assert stats._asdict() == want
        assert stats.encode() == payload
    else:
        assert payload.decode("latin-1") == want["payload"]
    assert f.encode_frame(kind, stream, payload, flags, aux) == data


def check_request(request: f.Request, want: dict[str, Any]) -> None:
    target = want["target"].encode("latin-1")
    path, _, query = target.partition(b"?")
    assert request.route_id == want["route_id"]
    assert request.flags == want["flags"]
    assert request.method == want["method"]
    assert request.http_version == {0x10: "1.0", 0x11: "1.1"}[want["http_version"]]
    assert request.scheme == ("https" if want["scheme"] else "http")
    assert request.body_mode == want["body_mode"]
    assert request.accept_us == want["accept_us"]
    assert request.deadline_us == want["deadline_us"]
    assert request.body_length == (None if want["body_length"] == f.LENGTH_UNKNOWN else want["body_length"])
    assert request.queue_us == want["queue_us"]
    assert request.target == target
    assert (request.raw_path, request.query) == (path, query)
    assert request.path == want["path"].encode("latin-1").decode()
    assert request.host == want["host"].encode()
    assert request.client == ((want["client"], want["client_port"]) if want["client"] else None)
    assert request.server == (want["server"], want["server_port"])
    assert request.root_path == want["root_path"]
    assert request.request_id == want["request_id"]
    assert request.traceparent == want["traceparent"].encode()
    assert request.tracestate == want["tracestate"].encode()
    assert request.fields == raw(want["fields"])
    assert request.body == want["body"].encode("latin-1")
    slots = [s["list"] if isinstance(s, dict) else s for s in want["slots"]]
    got = [
        [i.decode() for i in s] if isinstance(s, list) else s.decode() if s is not None else None
        for s in request.slots()
    ]
    assert got == slots
    assert want["method"] in repr(request)


def check_response(case: dict[str, Any], payload: bytes, data: bytes) -> None:
    want = case["fields"]
    response = f.decode_response(payload)
    assert response.fields == raw(want["fields"])
    assert [t.decode() for t in response.tags] == want["tags"]
    assert response.body == want["body"].encode("latin-1")
    numbers = (
        "status",
        "lane",
        "fallback",
        "flags",
        "handler_us",
        "ttl_ms",
        "stale_while_revalidate_ms",
        "stale_if_error_ms",
    )
    assert {key: getattr(response, key) for key in numbers} == {key: want[key] for key in numbers}
    again = f.encode_response(
        case["stream"], response.status, response.fields, response.body, end=bool(case["flags"] & f.FLAG_END),
        tags=b"".join(t + b"\0" for t in response.tags), **{key: want[key] for key in numbers[1:]},
    )  # fmt: skip
    assert again == data


def decode_deeply(data: bytes) -> None:
    """Everything a reader could look at."""
    for frame in f.FrameReader().feed(data):
        f.check_frame(frame)
        kind, _, _, _, payload = frame
        if kind == f.HELLO:
            f.Hello.decode(payload)
        elif kind == f.HELLO_ACK:
            f.HelloAck.decode(payload)
        elif kind == f.REQUEST:
            request = f.Request(payload)
            for name in dir(request):
                getattr(request, name)
            request.slots()
        elif kind == f.RESPONSE:
            f.decode_response(payload)
        elif kind in (f.INFORMATIONAL, f.TRAILERS):
            f.decode_head(payload)
        elif kind == f.STATS:
            f.Stats.decode(payload)


@pytest.mark.parametrize("case", INVALID, ids=names(INVALID))
def test_invalid_frame_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(f.FrameError) as refused:
        decode_deeply(bytes.fromhex(case["hex"]))
    assert refused.value.code == (f.GOAWAY_UNKNOWN_TYPE if case["type"] == "?" else f.GOAWAY_PROTOCOL)


def test_unknown_but_ignorable_frames_are_skipped() -> None:
    data = f.encode_frame(0x7F, 9, b"later", f.FLAG_IGNORABLE) + f.encode_frame(f.PING, 0, b"12345678")
    assert [frame[0] for frame in f.FrameReader().feed(data)] == [f.PING]


@pytest.mark.parametrize(
    ("kind", "most"),
    [(f.REQUEST_DATA, 65536), (f.RESPONSE, 114688), (f.TRAILERS, 49152), (f.HELLO, 4096), (f.LOG, 8192)],
)
def test_a_frame_past_its_limit_is_refused_before_its_payload_arrives(kind: int, most: int) -> None:
    header = struct.Struct("<IBBHII")
    reader = f.FrameReader()
    assert reader.feed(header.pack(most, kind, 0, 0, 1, 0)) == []
    with pytest.raises(f.FrameError):
        f.FrameReader().feed(header.pack(most + 1, kind, 0, 0, 1, 0))


def test_frames_survive_any_split() -> None:
    data = b"".join(bytes.fromhex(case["hex"]) for case in VALID)
    whole = f.FrameReader().feed(data)
    assert len(whole) == len(VALID)
    for size in (1, 2, 7, 15, 16, 17, 100, 1000):
        reader = f.FrameReader()
        parts = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
        assert parts == whole
        assert "0 of 16" in repr(reader)


@pytest.mark.parametrize("value", [b"a\0b", b"a\r\nset-cookie: x", b"a\nb"])
def test_a_field_that_would_split_the_answer_is_not_encoded(value: bytes) -> None:
    with pytest.raises(ValueError, match="control character"):
        f.encode_response(1, 200, [(b"x", value)])


field_bytes = st.binary(max_size=40).map(lambda b: bytes(c for c in b if c == 9 or (c >= 32 and c != 127)))
fields = st.lists(st.tuples(field_bytes, field_bytes), max_size=20)


@given(fields, st.binary(max_size=200), st.integers(200, 599), st.booleans())
def test_responses_round_trip(pairs: list[tuple[bytes, bytes]], body: bytes, status: int, end: bool) -> None:
    kind, flags, stream, _, payload = one_frame(f.encode_response(7, status, pairs, body, end=end))
    response = f.decode_response(payload)
    assert (kind, stream, flags) == (f.RESPONSE, 7, f.FLAG_END if end else 0)
    assert (response.status, response.fields, response.body) == (status, pairs, body)


slot_values = st.one_of(st.none(), st.binary(max_size=30), st.lists(st.binary(max_size=9), max_size=4))


@given(fields, st.binary(max_size=200), st.lists(slot_values, max_size=6), st.sampled_from(["GET", "POST", "BREW"]))
def test_requests_round_trip(
    pairs: list[tuple[bytes, bytes]], body: bytes, slots: list[bytes | list[bytes] | None], method: str
) -> None:
    payload = f.encode_request(
        method=method, target=b"/a%20b?x=1", path=b"/a b", fields=pairs, body=body, slots=slots,
        client=("10.0.0.1", 5), server=("::1", 80), root_path=b"/api",
    )  # fmt: skip
    request = f.Request(payload)
    assert (request.method, request.fields, request.body, request.slots()) == (method, pairs, body, slots)
    assert (request.path, request.raw_path, request.query, request.root_path) == ("/a b", b"/a%20b", b"x=1", "/api")
    assert (request.client, request.server) == (("10.0.0.1", 5), ("::1", 80))


@given(st.sampled_from(VALID), st.data())
def test_damaged_frames_are_refused_or_read_but_never_crash(case: dict[str, Any], data: st.DataObject) -> None:
    broken = bytearray.fromhex(case["hex"])
    at = data.draw(st.integers(0, len(broken) - 1))
    broken[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(f.FrameError):
        decode_deeply(bytes(broken))
