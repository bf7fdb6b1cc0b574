"""How WebSockets to upstream pools live and end: silence, closing, limits, drains, what is counted."""

from __future__ import annotations

import pathlib
import signal

from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, answer, config
from sidecar_process import Sidecar, metric
from waiting import eventually
from websocket_peer import CLOSE, PING, PONG, TEXT, WebSocketPeer, frame
from websocket_server import accept, access, echo, opened, plain, received


def test_a_silent_server_is_asked_and_given_up(tmp_path: pathlib.Path) -> None:
    pings: list[tuple[int, bytes]] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request))
        while True:
            pings.append(received(served))
            if len(pings) < 3:
                served.send(plain(PONG, pings[-1][1]))

    rules = "websockets: {ping_interval: 200ms, ping_timeout: 400ms}"
    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target, rest=rules)) as sidecar,
        opened(sidecar) as client,
    ):
        while (told := client.receive())[0] & 0x0F == PING:
            client.send(frame(PONG, told[1]))
        assert told == (0x80 | CLOSE, b"\x03\xf3")
        assert len(pings) >= 3
        assert {first for first, _ in pings} == {0x80 | PING}


def test_a_client_that_vanishes_is_an_abnormal_end(tmp_path: pathlib.Path) -> None:
    ends: list[str] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request))
        try:
            received(served)
        except EOFError:
            ends.append("gone")

    with Upstream(script) as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:
        opened(sidecar).close()
        eventually(lambda: ends, 10)
        eventually(lambda: access(sidecar), 10)
        assert access(sidecar)[0]["close_code"] == 1006
        assert metric(sidecar, 'catzilla_pool_websockets{pool="web"}') == 0


def test_the_client_closes_and_a_stubborn_server_is_cut_off(tmp_path: pathlib.Path) -> None:
    told: list[object] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request))
        told.append(received(served))
        told.append(served.gone())

    rules = "websockets: {close_timeout: 300ms}"
    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target, rest=rules)) as sidecar,
        opened(sidecar) as client,
    ):
        client.send(frame(CLOSE, b"\x0d\x80enough"))
        assert client.closing() == (3456, "enough")
        assert client.closed()
        eventually(lambda: len(told) == 2, 10)
        assert told == [(0x80 | CLOSE, b"\x0d\x80enough"), True]


def test_sockets_hold_no_place_and_have_a_limit_of_their_own(tmp_path: pathlib.Path) -> None:
    def script(served: Served, request: Request) -> None:
        if request.header("upgrade") is None:
            return served.send(answer())
        return echo(served, request)

    with (
        Upstream(script) as upstream,
        Sidecar(
            tmp_path,
            config(upstream.target, pool="max_websockets: 3,", upstream="max_connections: 1"),
        ) as sidecar,
    ):
        clients = [opened(sidecar) for _ in range(3)]
        with WebSocketPeer(sidecar.port) as fourth:
            refused = fourth.ask("/")
            assert refused.status == 503
            assert refused.header("retry-after") is not None
        with RawConnection(sidecar.port) as asking:
            assert asking.get("/").body == b"hi"
        assert metric(sidecar, 'catzilla_pool_websockets{pool="web"}') == 3
        assert metric(sidecar, 'catzilla_pool_websockets_limit{pool="web"}') == 3
        for client in clients:
            client.close()
        eventually(lambda: metric(sidecar, 'catzilla_pool_websockets{pool="web"}') == 0, 10)
        opened(sidecar).close()


def test_sockets_are_spread(tmp_path: pathlib.Path) -> None:
    with (
        Upstream(echo) as one,
        Upstream(echo) as other,
        Sidecar(tmp_path, config(one.target, other.target)) as sidecar,
    ):
        clients = [opened(sidecar) for _ in range(6)]
        assert (len(one.requests), len(other.requests)) == (3, 3)
        for client in clients:
            client.close()


def test_what_is_counted_and_logged(tmp_path: pathlib.Path) -> None:
    with Upstream(echo) as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:
        with opened(sidecar) as client:
            client.send(frame(TEXT, "one") + frame(TEXT, "three"))
            assert (client.message(), client.message()) == (b"one", b"three")
            assert metric(sidecar, "catzilla_websockets_open") == 1
            client.send(frame(CLOSE, b"\x03\xe8"))
            assert client.closing() == (1000, "")
        eventually(lambda: access(sidecar), 10)
        [line] = access(sidecar)
        assert line["close_code"] == 1000
        assert (line["messages_received"], line["messages_sent"]) == (2, 2)
        assert (line["bytes_received"], line["bytes"]) == (8, 8)


def test_a_drain_closes_both_ends(tmp_path: pathlib.Path) -> None:
    told: list[tuple[int, bytes]] = []

    def script(served: Served, request: Request) -> None:
        served.send(accept(request))
        told.append(received(served))
        served.send(plain(CLOSE, told[0][1]))
        served.close()

    with Upstream(script) as upstream:
        sidecar = Sidecar(tmp_path, config(upstream.target, rest="drain: {timeout: 6s}")).start()
        with opened(sidecar) as client:
            assert sidecar.process is not None
            sidecar.process.send_signal(signal.SIGTERM)
            assert client.closing() == (1001, "")
            client.send(frame(CLOSE, b"\x03\xe9"))
            assert client.closed()
        assert sidecar.stop() == 0
        assert told == [(0x80 | CLOSE, b"\x03\xe9")]
