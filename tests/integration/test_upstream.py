"""Upstream pools from outside: what the server is told, and what the client gets of its answers."""

from __future__ import annotations

import pathlib
import socket
import threading

import pytest
from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, answer, config
from sidecar_process import Sidecar, free_port, metric
from waiting import eventually


def test_a_request_and_its_answer(tmp_path: pathlib.Path) -> None:
    script = answer(b"made", "201 Created", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Own: Yes")
    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        got = client.get(
            "/a%2Fb?c=d&e", "X-Odd:  v ", "Accept: */*", "Connection: x-hop", "X-Hop: 1"
        )
        assert (got.status, got.body) == (201, b"made")
        assert [value for name, value in got.headers if name == "set-cookie"] == ["a=1", "b=2"]
        assert got.header("x-own") == "Yes"
        asked = upstream.requests[0]
        assert (asked.method, asked.target) == ("GET", "/a%2Fb?c=d&e")
        assert asked.header("host") == "test"
        assert asked.header("x-odd") == "v"
        assert asked.header("x-hop") is None
        assert asked.header("connection") is None
        assert asked.header("content-length") is None
        assert asked.header("x-forwarded-for") == "127.0.0.1"
        assert asked.header("x-forwarded-proto") == "http"
        assert asked.header("x-forwarded-host") == "test"
        assert asked.header("x-forwarded-port") == str(sidecar.port)
        assert asked.header("forwarded") is None
        assert asked.header("via") is None
        assert asked.header("x-request-id") == got.header("x-request-id")
        client.get("/again")
        assert [request.connection for request in upstream.requests] == [0, 0]


def test_any_method_passes(tmp_path: pathlib.Path) -> None:
    own = [
        "BREW",
        "get",
        "M-SEARCH",
        "PROPFIND",
        "DESCRIBE",
        "SOURCE",
        "X" * 64,
        "!#$%&'*+-.^_`|~",
    ]
    with (
        Upstream(lambda served, request: served.send(answer(request.body))) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for method in own:
            client.send(
                f"{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody".encode()
            )
            assert client.read().body == b"body"
        # However it is cut, and behind one another.
        for byte in b"LINK /x HTTP/1.1\r\nHost: a\r\n\r\nBREW /x HTTP/1.1\r\nHost: a\r\n\r\n":
            client.send(bytes([byte]))
        assert (client.read().status, client.read().status) == (200, 200)
        assert [request.method for request in upstream.requests] == [*own, "LINK", "BREW"]


def test_bodies_are_framed_anew(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(lambda served, request: served.send(answer(request.body))) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        head = b"POST / HTTP/1.1\r\nHost: a\r\n"
        client.send(head + b"Content-Length: 5\r\n\r\nsmall")
        assert client.read().body == b"small"
        large = bytes(range(256)) * 4096
        client.send(head + b"Content-Length: %d\r\n\r\n" % len(large) + large)
        assert client.read().body == large
        chunks = b"".join(b"%x;e=1\r\n%s\r\n" % (len(p), p) for p in (b"one", b"two" * 99999))
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-T: 1\r\n\r\n")
        assert client.read().body == b"one" + b"two" * 99999
        client.send(head + b"Content-Length: 0\r\n\r\n")
        assert client.read().body == b""
        framing = [
            (r.header("content-length"), r.header("transfer-encoding")) for r in upstream.requests
        ]
        assert framing == [("5", None), (str(len(large)), None), (None, "chunked"), ("0", None)]
        assert {request.connection for request in upstream.requests} == {0}


ANSWERS = {
    "/length": answer(b"abc"),
    "/close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\nabc",
    "/old": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabc",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
    b"1;e=1\r\na\r\n2\r\nbc\r\n0\r\nX-T: 1\r\n\r\n",
    "/hop": b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    "/odd": b"HTTP/1.1 999 Odd\r\nContent-Length: 3\r\n\r\nabc",
    "/none": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/same": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 3\r\n\r\n',
}


def send_by_path(served: Served, request: Request) -> None:
    served.send(ANSWERS[request.target])
    if request.target in ("/until-close", "/old", "/close"):
        served.close()


@pytest.mark.parametrize("path", ANSWERS)
def test_every_kind_of_answer(tmp_path: pathlib.Path, path: str) -> None:
    with (
        Upstream(send_by_path) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for _ in range(3):
            got = client.get(path)
            assert got.status == {"/odd": 999, "/none": 204, "/same": 304}.get(path, 200)
            assert got.body == (b"" if got.status in (204, 304) else b"abc")
            for name in ("x-hop", "keep-alive", "trailer", "x-t"):
                assert got.header(name) is None, name
        ends = path in ("/until-close", "/old", "/close")
        assert len(upstream.connections) == (3 if ends else 1)
        with RawConnection(sidecar.port) as old:
            old.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            rest = old.rest()
            assert rest.endswith(b"abc" if path not in ("/none", "/same") else b"\r\n\r\n"), rest
            assert b"chunked" not in rest


def test_head_has_no_body_and_its_connection_stays(tmp_path: pathlib.Path) -> None:
    script = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for _ in range(2):
            got = client.get("/", method="HEAD")
            assert (got.status, got.header("content-length")) == (200, "1234")
        assert len(upstream.connections) == 1


def test_interim_answers_are_relayed(tmp_path: pathlib.Path) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with (
        Upstream(hints * 3 + answer()) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        got = client.get("/")
        assert (got.status, got.informational) == (200, [103, 103, 103])


def test_expect_goes_from_end_to_end(tmp_path: pathlib.Path) -> None:
    def script(served: Served, request: Request) -> None:
        assert request.header("expect") == "100-continue"
        if request.target == "/no":
            served.send(answer(b"", "401 No"))
            return
        if request.target == "/yes":
            served.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        served.send(answer(served.body(request)))

    head = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    with (
        Upstream(script, heads_only=True) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
    ):
        # The second does not know of Expect; it gets the body after a while.
        for path in ("/yes", "/silent"):
            with RawConnection(sidecar.port) as client:
                client.send(head.format(path).encode())
                assert client._line() == b"HTTP/1.1 100 Continue"
                client.send(b"body")
                assert client._line() == b""
                assert client.read().body == b"body"
        with RawConnection(sidecar.port) as client:
            client.send(head.format("/no").encode())
            got = client.read()
            assert (got.status, got.informational) == (401, [])
            assert client.closed()
        assert upstream.connections[-1].gone()


def test_a_unix_socket(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(path=tmp_path / "app.sock") as upstream,
        Sidecar(tmp_path, config(upstream.target, upstream="preserve_host: false")) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        assert client.get("/").body == b"hi"
        assert upstream.requests[0].header("host") == "localhost"


def test_what_is_said_of_the_client(tmp_path: pathlib.Path) -> None:
    told: tuple[str, ...] = (
        "X-Forwarded-For: 9.9.9.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: real",
    )
    told += (
        "X-Forwarded-Port: 443",
        "Forwarded: for=9.9.9.9",
        "X-Real-IP: 9.9.9.9",
        "Via: 1.1 front",
    )
    options = "forwarded: true, via: side, preserve_host: false"
    with Upstream(answer(b"", "200 OK", "Via: 1.1 app")) as upstream:
        with (
            Sidecar(tmp_path, config(upstream.target, upstream=options)) as sidecar,
            RawConnection(sidecar.port) as client,
        ):
            assert client.get("/", *told).header("via") == "1.1 app, 1.1 side"
            asked = upstream.requests[-1]
            assert asked.header("host") == upstream.target
            assert asked.header("x-forwarded-for") == "127.0.0.1"
            assert asked.header("x-forwarded-proto") == "http"
            assert asked.header("x-forwarded-host") == "test"
            assert asked.header("x-real-ip") is None
            assert asked.header("forwarded") == 'for=127.0.0.1;proto=http;host="test"'
            assert asked.header("via") == "1.1 front, 1.1 side"
        trusted = ("--trusted-proxies", "127.0.0.0/8")
        with (
            Sidecar(
                tmp_path, config(upstream.target, upstream=options), arguments=trusted
            ) as sidecar,
            RawConnection(sidecar.port) as client,
        ):
            client.get("/", *told)
            asked = upstream.requests[-1]
            assert asked.header("x-forwarded-for") == "9.9.9.9, 127.0.0.1"
            assert asked.header("x-forwarded-proto") == "https"
            assert asked.header("x-forwarded-host") == "real"
            assert asked.header("x-forwarded-port") == "443"
            assert asked.header("forwarded") == 'for=9.9.9.9, for=127.0.0.1;proto=https;host="test"'
        with (
            Sidecar(tmp_path, config(upstream.target, upstream="x_forwarded: false")) as sidecar,
            RawConnection(sidecar.port) as client,
        ):
            client.get("/", *told)
            names = [name for name, _ in upstream.requests[-1].headers]
            assert not [name for name in names if "forwarded" in name or name == "x-real-ip"]


def test_refused_and_then_there(tmp_path: pathlib.Path) -> None:
    port = free_port()
    with (
        Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        for _ in range(5):
            assert client.get("/").status == 502
        with Upstream(port=port):
            # Passed over or not: it is the only one.
            assert client.get("/").status == 200
        failures = f'catzilla_pool_target_failures_total{{pool="web",target="127.0.0.1:{port}",reason="refused"}}'
        assert metric(sidecar, failures) >= 5


def test_bytes_that_nobody_asked_for_are_nobodys(tmp_path: pathlib.Path) -> None:
    """After an answer has ended, more comes: it is never taken for the next request's."""
    ended = threading.Event()

    def script(served: Served, request: Request) -> None:
        served.send(answer(request.target.encode()))
        if request.target == "/first":
            served.send(answer(b"evil"))
            assert served.gone()
            ended.set()

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        # Both in one read: no answer at all. One after the other: the first alone.
        first = client.get("/first")
        assert first.status == 502 or first.body == b"/first"
        assert ended.wait(10)
        for i in range(20):
            assert client.get(f"/{i}").body == f"/{i}".encode()


def test_a_client_that_leaves_ends_the_request(tmp_path: pathlib.Path) -> None:
    asked = threading.Event()
    ended = threading.Event()

    def script(served: Served, request: Request) -> None:
        if request.target == "/stream":
            served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        asked.set()
        assert served.gone()
        ended.set()

    with Upstream(script) as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:
        for path in ("/silent", "/stream"):
            asked.clear()
            ended.clear()
            client = RawConnection(sidecar.port)
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert asked.wait(10)
            client.close()
            assert ended.wait(10)


def test_a_slow_reader_slows_the_server(tmp_path: pathlib.Path) -> None:
    total = 64 * 1024 * 1024
    sent = [0]

    def script(served: Served, request: Request) -> None:
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = b"x" * 65536
        while sent[0] < total:
            served.send(piece)
            sent[0] += len(piece)

    with Upstream(script) as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:
        client = RawConnection(sidecar.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        before = [-1]

        def stands_still() -> bool:
            still = sent[0] > 0 and sent[0] == before[0]
            before[0] = sent[0]
            return still

        eventually(stands_still)
        assert sent[0] < total
        assert len(client.read().body) == total
        client.close()


def test_an_upload_is_a_stream(tmp_path: pathlib.Path) -> None:
    """Memory stays flat, and a server that does not read slows its client."""
    total = 96 * 1024 * 1024
    got = [0]
    go = threading.Event()

    def script(served: Served, request: Request) -> None:
        go.wait(20)
        got[0] = len(served.buffer)  # What came along with the head.
        while got[0] < total:
            data = served.socket.recv(1 << 20)
            if not data:
                return
            got[0] += len(data)
        served.send(answer(b"done"))

    rest = "limits: {max_body_size: 1GiB}"
    with (
        Upstream(script, heads_only=True) as upstream,
        Sidecar(tmp_path, config(upstream.target, rest=rest)) as sidecar,
        RawConnection(sidecar.port, seconds=60) as client,
    ):
        before = sidecar.rss_kib()
        sent = [0]

        def upload() -> None:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
            while sent[0] < total:
                client.send(b"x" * 65536)
                sent[0] += 65536

        sender = threading.Thread(target=upload)
        sender.start()
        last = [-1]

        def stands_still() -> bool:
            still = 0 < sent[0] == last[0]
            last[0] = sent[0]
            return still

        eventually(stands_still)
        assert sent[0] < total / 2
        go.set()
        sender.join()
        assert client.read().body == b"done"
        assert sidecar.rss_kib() - before < 24 * 1024
