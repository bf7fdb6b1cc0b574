"""Forms and files: every lane answers the same, and files live as long as FastAPI lets them."""

import asyncio
from pathlib import Path
from typing import Any

import lanes_forms
import pytest
from fastapi import FastAPI, UploadFile
from lane_harness import INLINE_BODY_MAX, JSON, serving
from lanes_forms import MULTIPART, URLENCODED, Sent, multipart, part
from test_lanes import Other, Pure, answer_of

FILE = part("file", b"content", "a.txt", "Content-Type: text/plain\r\nX-Own: 1\r\n")
UTF8 = "é".encode()

FORMS: list[tuple[bytes, Sent]] = [
    *((body, URLENCODED) for body in [
        b"name=ab&count=2&on=1&tag=x&tag=y&ids=1&ids=2&data=[1]&text=t&first=f&other=3&username=u&password=p",
        b"name=ab", b"name=a", b"name=&count=", b"text=", b"text=a+b%20c%C3%A9%FF", b"text=" + UTF8 + b"\xff", b"",
        b"text=1&text=2&n=5&n=6", b"second=s&number=3&number=x", b"third=t&number=4&sea=5", b"first=&second=s&n=&n=",
        b"&&text=a&&=b&c&", b"text=a=b;c&n=x", b"username=u&password=p&scope=a+b&grant_type=password&client_id=c",
        b"username=u&password=p&grant_type=other", b"tag=&tag=", b"name=ab&data=x&ids=y&on=maybe&unknown=1",
        b"a=A&name=N", b"b=B&name=bad&n=x", b"a=bad&name=bad", b"name=N&a=bad&n=x", b"name=n&kind=cat&lives=9",
        b"kind=dog&tricks=sit&tricks=roll", b"kind=cow", b"user-name=u&code=1", b"user-name=u&extra=1", b"user=u",
        b"name=n&age=0&tags=a&tags=b", b"age=4", b"title=t&raw=r&more=m", b"file=text", b"files=a&files=b",
        b"names=a&names=b", b"names=a&names=b&names=c", b"names=abcdef", b"names=" + b"x" * 30, b"x=1&" * 1001,
        b"text=" + b"x" * 15_000, b"text=" + b"x" * 20_000,
    ]),
    *((multipart(*parts), MULTIPART) for parts in [
        (), (FILE,), (part("file", b"", ""),), (part("file", b"x", ""),), (part("file", b"", "empty.bin"),),
        (FILE, part("name", UTF8), part("note", b"n"), part("text", b"t")), (part("upload", b"u", "u"),), (FILE, FILE),
        (part("files", b"1", "one"), part("files", b"2", "two"), part("files", b"", ""), part("name", b"n")),
        (part("files", b"1", "one"), part("files", b"text")),
        (part("text", b"a"), part("n", b"3"), part("first", b"f")),
        (part("title", b"t"), part("raw", b"r", "r"), part("more", b"m", "m"), part("more", b"k", "k")),
        (part("title", b"t"), part("raw", b"r")), (part("name", b"bad"), part("raw", b"\xff\x00", "r"), FILE),
        (part("names", b"a"), part("names", b"b"), part("files", b"1", "one")), (part("text", b"x", "file"),),
        (FILE, part("title", b"t"), part("raw", b"raw", "r")),
        (part("names", b"abcdef"),), (part("names", b"x" * 30),), (FILE, part("a", b"bad"), part("name", b"N")),
        (part("file", b"y" * 40_000, "big"), part("name", b"n")),
    ]),
    (multipart(FILE)[:-20], MULTIPART), (b"text=a", MULTIPART), (b"", MULTIPART), (b"", []), (b"text=a", []),
    (multipart(part("text", b"\xe9")), [(b"content-type", b"multipart/form-data; boundary=B; charset=latin-1")]),
    (multipart(part("text", b"a")), [(b"content-type", b"multipart/form-data")]),
    (b"text=a&name=ab", [(b"content-type", b"Application/X-WWW-Form-URLencoded; charset=utf-8")]),
    (b'{"text": "a", "name": "ab", "file": "f"}', JSON), (b"text=a", [(b"content-type", b"text/plain")]),
]  # fmt: skip

PATHS = [
    *(f"/{kind}/{what}" for kind in ("async", "def") for what in (
        "plain", "plain?q=1", "one", "optional", "aliased", "login", "with_body",
        "upload", "maybe", "several", "raw", "raws", "chosen",
    )),
    *(f"/model{what}" for what in ("", "/def", "/def?q=x", "/strict", "/maybe", "/union", "/two", "/files")),
    *(f"/around/{what}" for what in (
        "def", "async", "mixed", "request", "raises", "raises-async", "late", "tasks", "stream", "rolls", "closes",
        "reads", "reads-model",
    )),
    *(f"/validated/{kind}/{what}" for kind in ("async", "def") for what in ("rest", "model", "rolled")),
    *(f"/limited/{what}" for what in ("files", "fields", "inner/both", "inner/size")),
]  # fmt: skip

REQUESTS: list[tuple[str, str, bytes, Sent]] = [
    *(("POST", path, body, fields) for path in PATHS for body, fields in FORMS),
    *(("GET", f"/choices?{query}", b"", []) for query in (
        "a=1", "b-c=2", "a=1&b-c=2", "", "a=1&n=1&m=2&n=3", "a=1&m=2&m=4", "a=1&m=x", "a=1&n=x&m=1",
        "a=1&j=[1]", "a=1&j=x",
    )),
    *(("GET", f"/validated/{kind}/chosen?{query}", b"", []) for kind in ("async", "def") for query in (
        "q=a", "p=b", "p=bad&n=x", "q=bad&p=a", "", "n=x",
    )),
    *(("PUT", "/choices", body, JSON) for body in (
        b'{"a": 1}', b'{"b": 2, "c": "d"}', b'{"a": 1, "b": 2}', b'{"b": "x"}', b"{}", b"[]", b'{"a": null, "b": 1}',
    )),
]  # fmt: skip


def bare() -> FastAPI:
    return lanes_forms.make()


def limited() -> FastAPI:
    return lanes_forms.make(form_limits={"max_part_size": 10, "max_fields": 3})


def behind_middleware() -> FastAPI:
    app = lanes_forms.make()
    app.add_middleware(Pure)
    app.add_middleware(Other)
    return app


async def answers(tmp_path: Path, app: FastAPI, lanes: bool) -> list[Any]:
    """Each with what the app has noted by then: which files are closed, and what has run."""
    async with serving(tmp_path, app, lanes=lanes) as client:
        given = []
        for request in REQUESTS:
            answer = await answer_of(client, request)
            given.append((answer, await answer_of(client, ("GET", "/log", b"", []))))
            app.state.kept.clear()
        return given


@pytest.mark.parametrize("make", [bare, limited, behind_middleware])
def test_every_lane_answers_the_same(tmp_path: Path, make: Any) -> None:
    slow = asyncio.run(answers(tmp_path, make(), False))
    fast = asyncio.run(answers(tmp_path, make(), True))
    differing = [(request, a, b) for request, a, b in zip(REQUESTS, slow, fast, strict=True) if a != b]
    assert not differing, (len(differing), differing[0])


@pytest.mark.parametrize(("make", "lane"), [(bare, "fast"), (behind_middleware, "stack")])
def test_what_can_be_compiled_is(tmp_path: Path, make: Any, lane: str) -> None:
    """Otherwise the differential would compare the genuine app with itself."""
    upload = multipart(FILE, part("name", b"n"), part("files", b"1", "one"))

    async def main() -> None:
        async with serving(tmp_path, make()) as client:
            assert {e.template: e.lane_reasons for e in client.table.routes if e.kind == "api" and e.lane != lane} == {}
            for path, body, fields in [
                ("/async/plain", b"name=ab&tag=1", URLENCODED), ("/def/plain", b"name=ab&data=[1]", URLENCODED),
                ("/def/login", b"username=u&password=p", URLENCODED), ("/async/aliased", b"third=3", URLENCODED),
                ("/async/upload", upload, MULTIPART), ("/def/upload", upload, MULTIPART),
                ("/async/several", upload, MULTIPART), ("/def/raw", upload, MULTIPART),
                ("/async/maybe", b"", []), ("/model", b"name=n", URLENCODED), ("/model/union", b"kind=dog", URLENCODED),
                ("/around/async", upload, MULTIPART), ("/around/mixed", upload, MULTIPART),
                ("/validated/def/rest", b"name=n&b=b", URLENCODED), ("/validated/async/rolled", upload, MULTIPART),
                ("/limited/files", multipart(FILE), MULTIPART),
            ]:  # fmt: skip
                assert await client.lane_of("POST", path, body, fields) == lane, path
            for path in ("/choices?b-c=1&m=3", "/validated/def/chosen?p=1"):
                assert await client.lane_of("GET", path) == lane, path
            assert await client.lane_of("PUT", "/choices", b'{"b": 1}', JSON) == lane
            # What does not fit a frame is spooled by the genuine app as it comes.
            big = multipart(part("file", b"x" * INLINE_BODY_MAX, "big"))
            assert await client.lane_of("POST", "/async/upload", big, MULTIPART) == "slow"

    asyncio.run(main())


def test_files_are_closed_behind_everything_else(tmp_path: Path) -> None:
    app = FastAPI()
    seen: list[Any] = []

    @app.post("/x")
    async def x(file: UploadFile) -> str:
        seen.append(file)
        return "x"

    async def main() -> None:
        async with serving(tmp_path, app) as client:
            assert await client.lane_of("POST", "/x", multipart(FILE), MULTIPART) == "fast"
            assert seen[0].file.closed

    asyncio.run(main())
