#!/usr/bin/env python3
"""Writes the golden frames from ../frames.md: `generate.py` writes, `generate.py --check` compares.

It shares no code with the sidecar or the SDK: a third reading of the page, so that a mistake in one
codec cannot hide in both. Python's standard library only.
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent
END, IGNORABLE = 0x01, 0x80
UNKNOWN_LENGTH = 2**64 - 1

TYPES = {
    "HELLO": 0x01, "HELLO_ACK": 0x02, "PING": 0x03, "PONG": 0x04, "GOAWAY": 0x05, "WINDOW": 0x06,
    "CREDIT": 0x07, "REQUEST": 0x10, "REQUEST_DATA": 0x11, "RESPONSE": 0x12, "RESPONSE_DATA": 0x13,
    "INFORMATIONAL": 0x14, "TRAILERS": 0x15, "END": 0x16, "CANCEL": 0x17, "RECALL": 0x18,
    "RETURNED": 0x19, "DETACHED": 0x1A, "SENDFILE": 0x1B, "UPGRADE": 0x20, "WS_ACCEPT": 0x21,
    "WS_MESSAGE": 0x22, "WS_CLOSE": 0x23, "WS_PING": 0x24, "WS_PONG": 0x25, "STATS": 0x30,
    "LOG": 0x31, "DUMP": 0x32,
}  # fmt: skip
METHODS = ["", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]


def u8(*v):
    return struct.pack(f"<{len(v)}B", *v)


def u16(*v):
    return struct.pack(f"<{len(v)}H", *v)


def u32(*v):
    return struct.pack(f"<{len(v)}I", *v)


def u64(*v):
    return struct.pack(f"<{len(v)}Q", *v)


def frame(kind, payload=b"", flags=0, stream=0, aux=0, length=None, reserved=0):
    code = TYPES[kind] if isinstance(kind, str) else kind
    size = len(payload) if length is None else length
    return u32(size) + u8(code, flags) + u16(reserved) + u32(stream, aux) + payload


def pairs(fields):
    return b"".join(bytes(n) + b"\0" + bytes(v) + b"\0" for n, v in fields)


def text(data):
    """Bytes as JSON text: Latin-1, one character a byte."""
    return data.decode("latin-1")


def texts(fields):
    return [[text(n), text(v)] for n, v in fields]


# The payloads ----------------------------------------------------------------


def hello(f):
    strings = [f[k].encode() for k in ("pool", "sdk", "python", "framework", "note")]
    ends, at = [], 184
    for s in strings:
        at += len(s)
        ends.append(at)
    data = u32(0x314C5A43) + u16(f["version_min"], f["version_max"]) + u32(f["capabilities"])
    data += u8(f["purpose"], f["lane_kind"]) + u16(f["loop_index"]) + bytes.fromhex(f["token"])
    data += u64(f["epoch"], f["generation"]) + bytes.fromhex(f["table_hash"])
    data += u32(f["pid"], f["worker_index"]) + u64(f["start_time_us"])
    data += u32(f["in_flight_max"], f["stream_window"], f["connection_window"])
    data += u32(f["head_bytes_max"], f["data_bytes_max"], 0)
    data += u64(f["monotonic_us"], f["wall_us"], f["rss_bytes"], 0) + u32(*ends) + bytes(12)
    assert len(data) == 184
    return data + b"".join(strings)


def hello_ack(f):
    sidecar = f["sidecar"].encode()
    data = u16(f["version"], f["loop_count"]) + u32(f["capabilities"], f["credits"])
    data += u32(f["stream_window"], f["connection_window"], f["head_bytes_max"])
    data += u32(f["data_bytes_max"], f["ping_interval_ms"])
    data += u64(f["monotonic_us"], f["wall_us"], f["worker_id"])
    data += u32(f["lane_id"], f["loop_index"], 72 + len(sidecar), 0)
    assert len(data) == 72
    return data + sidecar


STRINGS = ("method_text", "target", "path", "host", "client", "server", "root_path", "request_id",
           "traceparent", "tracestate")  # fmt: skip


def request(f):
    """`slots`: None, a text, or {"list": [texts]}; values are put where they are not found yet."""
    base = 120 + 4 * len(f["slots"])
    area, offsets = b"", []
    for key in STRINGS:
        offsets.append(base + len(area))
        area += f[key].encode("latin-1")
    values_at = base + len(area)

    def place(value):
        nonlocal area
        at = base + len(area)
        area += value
        return at

    slots = b""
    for slot in f["slots"]:
        if slot is None:
            slots += u16(0, 0)
        elif isinstance(slot, dict):
            items = [s.encode("latin-1") for s in slot["list"]]
            spots = [(place(s), len(s)) for s in items]
            listing = b"".join(u16(*s) for s in spots)
            slots += u16(place(listing), len(listing) | 0x8000)
        else:
            data = slot.encode("latin-1")
            slots += u16(place(data), len(data))
    fields_at = base + len(area)
    fields = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in f["fields"]]
    area += pairs(fields)
    body_at = base + len(area)
    target_at, path_at = offsets[1], offsets[2]
    mark = f["target"].find("?")
    query_at = path_at if mark < 0 else target_at + mark + 1
    method = METHODS.index(f["method"]) if f["method"] in METHODS else 0
    data = u32(f["route_id"], f["flags"])
    data += u8(method, f["http_version"], f["scheme"], f["body_mode"])
    data += u16(len(f["slots"]), len(fields)) + u64(f["accept_us"], f["deadline_us"])
    data += u64(f["body_length"]) + u32(f["queue_us"]) + u16(f["client_port"], f["server_port"])
    data += u32(query_at, *offsets, values_at, fields_at, body_at) + u64(0, 0)
    assert len(data) == 120
    return data + slots + area + f["body"].encode("latin-1")


def response(f):
    fields = pairs((n.encode("latin-1"), v.encode("latin-1")) for n, v in f["fields"])
    tags = b"".join(t.encode() + b"\0" for t in f["tags"])
    data = u16(f["status"]) + u8(f["lane"], f["fallback"]) + u16(f["flags"], len(f["fields"]))
    data += u32(len(fields), len(tags), f["handler_us"], f["ttl_ms"])
    data += u32(f["stale_while_revalidate_ms"], f["stale_if_error_ms"], 0)
    assert len(data) == 36
    return data + fields + tags + f["body"].encode("latin-1")


def head(f):
    fields = pairs((n.encode("latin-1"), v.encode("latin-1")) for n, v in f["fields"])
    return u16(f["status"], len(f["fields"])) + u32(len(fields)) + fields


STATS = ("rss_bytes requests exceptions", "active detached loop_lag_us threads", "gc_us wall_us")


def stats(f):
    a, b, c = (names.split() for names in STATS)
    return u64(*(f[k] for k in a)) + u32(*(f[k] for k in b)) + u64(*(f[k] for k in c), 0)


ENCODERS = {"HELLO": hello, "HELLO_ACK": hello_ack, "REQUEST": request, "RESPONSE": response,
            "INFORMATIONAL": head, "TRAILERS": head, "STATS": stats, "UPGRADE": request,
            "WS_ACCEPT": head}  # fmt: skip


# The frames ------------------------------------------------------------------

HELLO_FIELDS = {
    "version_min": 1, "version_max": 1, "capabilities": 0, "purpose": 1, "lane_kind": 1,
    "loop_index": 1, "token": "000102030405060708090a0b0c0d0e0f", "epoch": 1790000000000000,
    "generation": 3, "table_hash": "ab" * 32, "pid": 4711, "worker_index": 2,
    "start_time_us": 1790000000123456, "in_flight_max": 64, "stream_window": 262144,
    "connection_window": 16777216, "head_bytes_max": 49152, "data_bytes_max": 65536,
    "monotonic_us": 123456789, "wall_us": 1790000001000000, "rss_bytes": 50331648,
    "pool": "app", "sdk": "0.1.0", "python": "3.11.7", "framework": "fastapi 0.165.0", "note": "",
}  # fmt: skip
ACK_FIELDS = {
    "version": 1, "loop_count": 2, "capabilities": 0, "credits": 64, "stream_window": 262144,
    "connection_window": 16777216, "head_bytes_max": 49152, "data_bytes_max": 65536,
    "ping_interval_ms": 10000, "monotonic_us": 123456999, "wall_us": 1790000001000210,
    "worker_id": 7, "lane_id": 12, "loop_index": 1, "sidecar": "0.1.0",
}  # fmt: skip
GET_FIELDS = {
    "route_id": 5, "flags": 0, "method": "GET", "method_text": "", "http_version": 0x11,
    "scheme": 0, "body_mode": 0, "accept_us": 1000000, "deadline_us": 61000000, "body_length": 0,
    "queue_us": 37, "client_port": 40404, "server_port": 8080, "target": "/items/42?q=a%20b&q=c&n=",
    "path": "/items/42", "host": "shop.example:8080", "client": "10.0.0.7", "server": "10.0.0.1",
    "root_path": "", "request_id": "01J8X4Y7",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "v=1",
    "slots": ["42", "c", {"list": ["a b", "c"]}, "", None],
    "fields": [["host", "shop.example:8080"], ["accept", "*/*"], ["x-twice", "1"],
               ["x-twice", "2"], ["x-empty", ""], ["x-latin", "caf\u00e9"]],
    "body": "",
}  # fmt: skip
BARE_FIELDS = {
    **GET_FIELDS, "route_id": 0xFFFFFFFF, "target": "/", "path": "/", "slots": [], "fields": [],
    "host": "", "client": "", "client_port": 0, "request_id": "", "traceparent": "",
    "tracestate": "", "deadline_us": 0, "http_version": 0x10, "queue_us": 0,
}  # fmt: skip
RESPONSE_FIELDS = {
    "status": 200, "lane": 0, "fallback": 0, "flags": 0, "handler_us": 812, "ttl_ms": 0,
    "stale_while_revalidate_ms": 0, "stale_if_error_ms": 0,
    "fields": [["content-length", "15"], ["content-type", "application/json"]], "tags": [],
    "body": '{"hello":"you"}',
}  # fmt: skip
STATS_FIELDS = {
    "rss_bytes": 52428800, "requests": 1234567, "exceptions": 8, "active": 3, "detached": 1,
    "loop_lag_us": 950, "threads": 5, "gc_us": 8100, "wall_us": 1790000002000000,
}  # fmt: skip


def valid():
    def case(name, kind, fields, flags=0, stream=0, aux=0):
        payload = (
            ENCODERS[kind](fields) if kind in ENCODERS else fields["payload"].encode("latin-1")
        )
        return {"name": name, "type": kind, "flags": flags, "stream": stream, "aux": aux,
                "fields": fields, "hex": frame(kind, payload, flags, stream, aux).hex()}  # fmt: skip

    def plain(payload=b""):
        return {"payload": text(payload)}

    yield case("a lane says hello", "HELLO", HELLO_FIELDS)
    yield case("a control connection says hello", "HELLO",
               {**HELLO_FIELDS, "purpose": 2, "lane_kind": 0, "loop_index": 0,
                "note": "preloading is off: threads after import", "version_max": 4,
                "capabilities": 0x10})  # fmt: skip
    yield case("the sidecar accepts a lane", "HELLO_ACK", ACK_FIELDS)
    yield case("ping", "PING", plain(b"\x01\x02\x03\x04\x05\x06\x07\x08"))
    yield case("pong", "PONG", plain(b"\x01\x02\x03\x04\x05\x06\x07\x08"))
    yield case("draining, with a last stream", "GOAWAY", plain(b"worker stops"), stream=99, aux=0)
    yield case("version refused", "GOAWAY", plain(b"the worker speaks 3-4"), aux=3)
    yield case("window of a stream", "WINDOW", plain(), stream=5, aux=131072)
    yield case("window of the connection", "WINDOW", plain(), aux=65536)
    yield case("credit of a detached stream", "CREDIT", plain(), stream=5, aux=1)
    yield case("credit ceiling", "CREDIT", plain(), aux=16)
    yield case("a GET with slots, complete", "REQUEST", GET_FIELDS, flags=END, stream=1)
    yield case("nothing but a path", "REQUEST", BARE_FIELDS, flags=END, stream=2)
    yield case("a POST with its body inline", "REQUEST",
               {**GET_FIELDS, "method": "POST", "target": "/items", "path": "/items", "slots": [],
                "body_mode": 1, "body_length": 7, "body": '{"a":1}'},
               flags=END, stream=3)  # fmt: skip
    yield case("a streamed PUT that expects 100, second attempt", "REQUEST",
               {**GET_FIELDS, "method": "PUT", "target": "/up/%C3%A4?", "path": "/up/\u00c3\u00a4",
                "slots": [], "body_mode": 2, "body_length": 10737418240, "flags": 0x02,
                "http_version": 0x11, "scheme": 1},
               stream=0xFFFFFFFF, aux=1)  # fmt: skip
    yield case("a method of its own, length unknown", "REQUEST",
               {**GET_FIELDS, "method": "PURGE", "method_text": "PURGE", "body_mode": 2,
                "body_length": UNKNOWN_LENGTH, "slots": [None, None], "flags": 0x28},
               stream=4)  # fmt: skip
    yield case("HEAD", "REQUEST", {**GET_FIELDS, "method": "HEAD", "flags": 0x01, "slots": []},
               flags=END, stream=6)  # fmt: skip
    yield case("request data", "REQUEST_DATA", plain(b"\x00\x01chunk\xff"), stream=3)
    yield case("last request data, empty", "REQUEST_DATA", plain(), flags=END, stream=3)
    yield case("a complete answer", "RESPONSE", RESPONSE_FIELDS, flags=END, stream=1)
    yield case("an answer that streams", "RESPONSE",
               {**RESPONSE_FIELDS, "body": "", "fields": [["content-type", "text/event-stream"],
                ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-empty", ""]]}, stream=2)  # fmt: skip
    yield case("a cacheable answer with tags", "RESPONSE",
               {**RESPONSE_FIELDS, "lane": 2, "flags": 0x04, "ttl_ms": 60000,
                "stale_while_revalidate_ms": 5000, "stale_if_error_ms": 86400000,
                "tags": ["product:1", "shop"]}, flags=END, stream=1)  # fmt: skip
    yield case("no content, detached", "RESPONSE",
               {**RESPONSE_FIELDS, "status": 204, "fields": [], "body": "", "flags": 0x03, "lane": 1,
                "fallback": 6}, flags=END, stream=7)  # fmt: skip
    yield case("response data", "RESPONSE_DATA", plain(b"data: 1\n\n"), stream=2)
    yield case("early hints", "INFORMATIONAL",
               {"status": 103, "fields": [["link", "</a.css>; rel=preload"]]}, stream=2)  # fmt: skip
    yield case("the rest is a file", "SENDFILE", plain(u64(4096, 2**33)), flags=END, stream=2)
    yield case("trailers", "TRAILERS", {"status": 0, "fields": [["x-sum", "abc"]]},
               flags=END, stream=2)  # fmt: skip
    yield case("a WebSocket is asked for", "UPGRADE",
               {**GET_FIELDS, "flags": 0x10, "target": "/chat?t=1", "path": "/chat", "slots": [],
                "fields": [["connection", "Upgrade"], ["upgrade", "websocket"],
                           ["sec-websocket-protocol", "chat"]]}, stream=9)  # fmt: skip
    yield case("and accepted", "WS_ACCEPT",
               {"status": 101, "fields": [["sec-websocket-protocol", "chat"]]}, stream=9)  # fmt: skip
    yield case("a text message", "WS_MESSAGE", plain("gr\u00fcn".encode()), stream=9, aux=1)
    yield case("a piece of a binary one", "WS_MESSAGE", plain(b"\x00\xff"), stream=9, aux=0x102)
    yield case("its last piece, empty", "WS_MESSAGE", plain(), stream=9, aux=2)
    yield case("the app closes", "WS_CLOSE", plain(b"bye"), stream=9, aux=1000)
    yield case("the client has closed", "WS_CLOSE", plain(b""), flags=END, stream=9, aux=1005)
    for aux, name in enumerate(["complete", "cancelled", "failed", "refused", "stopped"]):
        reason = b"ValueError: no" if name == "failed" else b""
        yield case(f"end: {name}", "END", plain(reason), stream=8, aux=aux)
    yield case("cancel: client gone", "CANCEL", plain(), stream=8, aux=1)
    yield case("cancel on the control connection", "CANCEL", plain(u32(12)), stream=8, aux=2)
    yield case("detached", "DETACHED", plain(), stream=8)
    yield case("stats", "STATS", STATS_FIELDS)
    yield case("log", "LOG", plain("ready in 1.2\u00a0s".encode()), aux=1)
    yield case("dump wanted", "DUMP", plain(), aux=4)
    yield case("dump told", "DUMP",
               plain("thread MainThread\n    caf\u00e9 (/srv/app.py:7)\n".encode()), aux=4)  # fmt: skip


def invalid():
    """Frames that a decoder must refuse, whoever reads them."""

    def case(name, kind, data, why):
        return {"name": name, "type": kind, "why": why, "hex": data.hex()}

    good_hello, good_request = hello(HELLO_FIELDS), request(GET_FIELDS)
    good_response = response(RESPONSE_FIELDS)

    def patched(data, at, value):
        return data[:at] + value + data[at + len(value) :]

    yield case("reserved is not 0", "PING", frame("PING", bytes(8), reserved=1), "header")
    yield case("undefined flag", "PING", frame("PING", bytes(8), flags=0x02), "header")
    yield case("END on a type without it", "WINDOW", frame("WINDOW", flags=END, aux=1), "header")
    yield case("unknown type", "?", frame(0x7F, b"x"), "header")
    yield case("ping of 7 bytes", "PING", frame("PING", bytes(7)), "payload")
    yield case("window of 0", "WINDOW", frame("WINDOW", stream=1, aux=0), "payload")
    yield case("window with payload", "WINDOW", frame("WINDOW", b"x", stream=1, aux=1), "payload")
    yield case("request on stream 0", "REQUEST", frame("REQUEST", good_request), "payload")
    yield case("response on stream 0", "RESPONSE", frame("RESPONSE", good_response), "payload")
    yield case("hello on a stream", "HELLO", frame("HELLO", good_hello, stream=1), "payload")
    yield case("hello too short", "HELLO", frame("HELLO", good_hello[:183]), "payload")
    yield case("hello with other magic", "HELLO",
               frame("HELLO", patched(good_hello, 0, b"HTTP")), "payload")  # fmt: skip
    yield case("hello whose texts pass its end", "HELLO",
               frame("HELLO", patched(good_hello, 152, u32(100000))), "payload")  # fmt: skip
    yield case("hello whose texts begin in the header", "HELLO",
               frame("HELLO", patched(good_hello, 152, u32(3))), "payload")  # fmt: skip
    yield case("hello with bytes behind its texts", "HELLO",
               frame("HELLO", good_hello + b"x"), "payload")  # fmt: skip
    yield case("hello with purpose 3", "HELLO",
               frame("HELLO", patched(good_hello, 12, u8(3))), "payload")  # fmt: skip
    yield case("hello with an upside-down version range", "HELLO",
               frame("HELLO", patched(good_hello, 4, u16(2, 1))), "payload")  # fmt: skip
    yield case("hello_ack too short", "HELLO_ACK",
               frame("HELLO_ACK", hello_ack(ACK_FIELDS)[:71]), "payload")  # fmt: skip
    yield case("request too short", "REQUEST",
               frame("REQUEST", good_request[:119], stream=1), "payload")  # fmt: skip
    yield case("request whose offsets go back", "REQUEST",
               frame("REQUEST", patched(good_request, 60, u32(121)), stream=1), "payload")  # fmt: skip
    yield case("request whose body begins behind its end", "REQUEST",
               frame("REQUEST", patched(good_request, 100, u32(60000)), stream=1), "payload")  # fmt: skip
    yield case("request whose slots pass its strings", "REQUEST",
               frame("REQUEST", patched(good_request, 12, u16(50)), stream=1), "payload")  # fmt: skip
    yield case("request whose query lies outside the target", "REQUEST",
               frame("REQUEST", patched(good_request, 48, u32(5)), stream=1), "payload")  # fmt: skip
    yield case("request with a slot behind its end", "REQUEST",
               frame("REQUEST", patched(good_request, 120, u16(60000, 9)), stream=1), "payload")  # fmt: skip
    yield case("request without body mode, with a body", "REQUEST",
               frame("REQUEST", good_request + b"x", stream=1), "payload")  # fmt: skip
    yield case("response too short", "RESPONSE",
               frame("RESPONSE", good_response[:35], stream=1), "payload")  # fmt: skip
    yield case("response whose fields pass its end", "RESPONSE",
               frame("RESPONSE", patched(good_response, 8, u32(0xFFFFFFF0)), stream=1), "payload")  # fmt: skip
    yield case("response whose tags pass its end", "RESPONSE",
               frame("RESPONSE", patched(good_response, 12, u32(0xFFFFFFF0)), stream=1), "payload")  # fmt: skip
    yield case("response whose field count differs", "RESPONSE",
               frame("RESPONSE", patched(good_response, 6, u16(3)), stream=1), "payload")  # fmt: skip
    yield case("response whose fields end without NUL", "RESPONSE",
               frame("RESPONSE", patched(good_response, 8, u32(10)), stream=1), "payload")  # fmt: skip
    yield case("informational with bytes behind its fields", "INFORMATIONAL",
               frame("INFORMATIONAL", head({"status": 103, "fields": []}) + b"x", stream=1), "payload")  # fmt: skip
    yield case("sendfile of 15 bytes", "SENDFILE",
               frame("SENDFILE", bytes(15), flags=END, stream=1), "payload")  # fmt: skip
    yield case("sendfile on stream 0", "SENDFILE",
               frame("SENDFILE", bytes(16), flags=END), "payload")  # fmt: skip
    yield case("stats of another size", "STATS", frame("STATS", bytes(63)), "payload")
    yield case("dump on a stream", "DUMP", frame("DUMP", stream=1, aux=4), "payload")
    yield case("END on a dump", "DUMP", frame("DUMP", flags=END, aux=4), "header")
    yield case("dump larger than agreed", "DUMP", frame("DUMP", aux=4, length=65537), "header")
    yield case("upgrade on stream 0", "UPGRADE", frame("UPGRADE", good_request), "payload")
    yield case("END on an accept", "WS_ACCEPT",
               frame("WS_ACCEPT", head({"status": 101, "fields": []}), flags=END, stream=1), "header")  # fmt: skip
    yield case("a message on stream 0", "WS_MESSAGE", frame("WS_MESSAGE", b"x", aux=1), "payload")
    yield case("a message of no kind", "WS_MESSAGE",
               frame("WS_MESSAGE", b"x", stream=1, aux=3), "payload")  # fmt: skip
    yield case("a message with another bit", "WS_MESSAGE",
               frame("WS_MESSAGE", b"x", stream=1, aux=0x201), "payload")  # fmt: skip
    yield case("a reason of 124 bytes", "WS_CLOSE",
               frame("WS_CLOSE", b"r" * 124, stream=1, aux=1000), "payload")  # fmt: skip
    yield case(
        "cancel with half a lane id", "CANCEL", frame("CANCEL", b"xx", stream=1, aux=1), "payload"
    )


def main():
    wrong = []
    for name, cases in (("frames.json", list(valid())), ("invalid.json", list(invalid()))):
        content = json.dumps(cases, indent=1, ensure_ascii=True) + "\n"
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != content:
                wrong.append(name)
        else:
            path.write_text(content)
    if wrong:
        sys.exit(
            f"{', '.join(wrong)} differ from what generate.py writes; run it and look at the difference"
        )


if __name__ == "__main__":
    main()
