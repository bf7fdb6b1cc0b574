"""Several servers of one pool: the choice, their health, retries, limits, and changes while all runs."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import urllib.error
import urllib.request
from functools import partial

import pytest
from raw_http import Answer, RawConnection
from scripted_upstream import Request, Script, Served, Upstream, answer, config
from sidecar_process import Sidecar, free_port, metric
from waiting import eventually


def has_more_than(upstream: Upstream, count: int) -> bool:
    return len(upstream.requests) > count


def get(sidecar: Sidecar, path: str = "/", method: str = "GET") -> Answer:
    with RawConnection(sidecar.port) as client:
        return client.get(path, method=method)


def in_background(
    sidecar: Sidecar, path: str, count: int
) -> tuple[list[threading.Thread], list[Answer]]:
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(get(sidecar, path))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads, answers


def gated(gate: threading.Event) -> Script:
    def script(served: Served, request: Request) -> None:
        if request.target == "/slow":
            gate.wait(20)
        served.send(answer())

    return script


def test_the_least_loaded_gets_the_next(tmp_path: pathlib.Path) -> None:
    gate = threading.Event()
    with Upstream(gated(gate)) as one, Upstream(gated(gate)) as two:
        with Sidecar(tmp_path, config(one.target, two.target)) as sidecar:
            threads, answers = in_background(sidecar, "/slow", 6)
            eventually(lambda: len(one.requests) + len(two.requests) == 6)
            assert (len(one.requests), len(two.requests)) == (3, 3)
            gate.set()
            for thread in threads:
                thread.join()
            assert [got.status for got in answers] == [200] * 6


def test_one_that_refuses_costs_nobody_an_answer(tmp_path: pathlib.Path) -> None:
    port = free_port()
    with Upstream() as one, Sidecar(tmp_path, config(f"127.0.0.1:{port}", one.target)) as sidecar:
        for method in ("GET", "POST") * 5:
            assert get(sidecar, method=method).status == 200
        assert metric(sidecar, 'catzilla_pool_retries_total{pool="web"}') >= 3
        up = f'catzilla_pool_target_up{{pool="web",target="127.0.0.1:{port}"}}'
        assert metric(sidecar, up) == 0
        with Upstream(port=port) as other:
            # Its time comes, it is tried with one request, and gets its share again.
            eventually(lambda: get(sidecar).status == 200 and other.requests, 20)
            assert metric(sidecar, up) == 1
            eventually(lambda: "is back" in sidecar.log())


def test_a_stale_connection_is_no_failure(tmp_path: pathlib.Path) -> None:
    """The server closes an idle connection just as the next request is sent on it."""

    def script(served: Served, request: Request) -> None:
        if request.target == "/twice" and len(upstream.requests) % 2 == 0:
            served.reset()
            return
        served.send(answer())

    with (
        Upstream(script) as upstream,
        Sidecar(tmp_path, config(upstream.target)) as sidecar,
        RawConnection(sidecar.port) as client,
    ):
        assert client.get("/").status == 200
        assert client.get("/twice").status == 200
        assert [request.target for request in upstream.requests] == ["/", "/twice", "/twice"]
        assert [request.connection for request in upstream.requests] == [0, 0, 1]


def test_what_may_not_be_repeated_is_not(tmp_path: pathlib.Path) -> None:
    def script(served: Served, request: Request) -> None:
        if request.target == "/lost":
            served.reset()
            return
        served.send(answer())

    with Upstream(script) as upstream, Sidecar(tmp_path, config(upstream.target)) as sidecar:
        assert get(sidecar).status == 200
        # On a used connection: sent once, and its client is told.
        assert get(sidecar, "/lost", "POST").status == 502
        assert get(sidecar).status == 200
        with RawConnection(sidecar.port) as client:
            client.send(
                b"PUT /lost HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            )
            client.send(b"0\r\n\r\n")
            assert client.read().status == 502
        assert [request.target for request in upstream.requests].count("/lost") == 2


def test_on_a_fresh_connection_nothing_is_repeated(tmp_path: pathlib.Path) -> None:
    """The server has had the request, whatever its method: it may have begun to work on it."""
    with (
        Upstream(lambda served, request: served.reset()) as upstream,
        Sidecar(tmp_path, config(upstream.target, upstream="max_idle_connections: 0")) as sidecar,
    ):
        assert get(sidecar, "/lost").status == 502
        assert [request.header("connection") for request in upstream.requests] == ["close"]


def test_more_than_a_server_takes_waits(tmp_path: pathlib.Path) -> None:
    gate = threading.Event()
    options = {"pool": "max_queue: 2, queue_timeout: 20s,", "upstream": "max_connections: 2"}
    with Upstream(gated(gate)) as one, Sidecar(tmp_path, config(one.target, **options)) as sidecar:
        threads, answers = in_background(sidecar, "/slow", 4)
        eventually(lambda: metric(sidecar, 'catzilla_pool_queue_depth{pool="web"}') == 2)
        assert len(one.requests) == 2
        refused = get(sidecar)
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        assert metric(sidecar, 'catzilla_pool_rejected_total{pool="web",reason="queue_full"}') == 1
        gate.set()
        for thread in threads:
            thread.join()
        assert [got.status for got in answers] == [200] * 4


def test_who_waits_too_long_is_told(tmp_path: pathlib.Path) -> None:
    gate = threading.Event()
    options = {"pool": "queue_timeout: 300ms,", "upstream": "max_connections: 1"}
    with Upstream(gated(gate)) as one, Sidecar(tmp_path, config(one.target, **options)) as sidecar:
        threads, _ = in_background(sidecar, "/slow", 1)
        eventually(lambda: len(one.requests) == 1)
        assert get(sidecar).status == 503
        # One that waits and whose client leaves never reaches the server.
        gone = RawConnection(sidecar.port)
        gone.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        gone.close()
        eventually(lambda: metric(sidecar, 'catzilla_pool_queue_depth{pool="web"}') == 0)
        gate.set()
        threads[0].join()
        assert get(sidecar).status == 200
        assert "/gone" not in [request.target for request in one.requests]


@pytest.mark.parametrize("path", ["/silent", "/half-a-head"])
def test_a_server_that_does_not_answer(tmp_path: pathlib.Path, path: str) -> None:
    def script(served: Served, request: Request) -> None:
        if path == "/half-a-head":
            served.send(b"HTTP/1.1 200 OK\r\nX-A: ")
        assert served.gone()

    with Upstream(script) as one:
        with Sidecar(tmp_path, config(one.target, pool="request_timeout: 300ms,")) as sidecar:
            assert get(sidecar, path).status == 504


def test_an_answer_that_does_not_go_on(tmp_path: pathlib.Path) -> None:
    def script(served: Served, request: Request) -> None:
        served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        assert served.gone()

    with Upstream(script) as one:
        with Sidecar(tmp_path, config(one.target, upstream="read_timeout: 300ms")) as sidecar:
            with (
                RawConnection(sidecar.port) as client,
                pytest.raises((EOFError, ConnectionResetError)),
            ):
                client.get("/")


def test_checks_take_a_server_out_and_bring_it_back(tmp_path: pathlib.Path) -> None:
    sick = threading.Event()

    def script(served: Served, request: Request) -> None:
        bad = request.target == "/healthz?a=b" and sick.is_set()
        served.send(answer(b"", "503 Sick") if bad else answer())

    check = (
        "health_check: {path: '/healthz?a=b', interval: 50ms, healthy: 2, unhealthy: 2, host: me}"
    )
    with Upstream(script) as one, Upstream() as two:
        with Sidecar(tmp_path, config(one.target, two.target, upstream=check)) as sidecar:
            up = f'catzilla_pool_target_up{{pool="web",target="{one.target}"}}'
            eventually(lambda: [r for r in one.requests if r.header("host") == "me"])
            assert metric(sidecar, up) == 1
            sick.set()
            eventually(lambda: metric(sidecar, up) == 0)
            assert f"{one.target} is away" in sidecar.log()
            before = len([r for r in one.requests if r.target == "/"])
            for _ in range(10):
                assert get(sidecar).status == 200
            assert len([r for r in one.requests if r.target == "/"]) == before
            sick.clear()
            eventually(lambda: metric(sidecar, up) == 1)
            for _ in range(10):
                assert get(sidecar).status == 200
            assert len([r for r in one.requests if r.target == "/"]) > before


def test_when_every_check_fails_nobody_is_asked(tmp_path: pathlib.Path) -> None:
    script = answer(b"", "500 Sick")
    check = "health_check: {path: /h, interval: 50ms, unhealthy: 1}"
    with Upstream(script) as one, Sidecar(tmp_path, config(one.target, upstream=check)) as sidecar:
        eventually(lambda: get(sidecar).status == 503)
        assert metric(sidecar, 'catzilla_pool_rejected_total{pool="web",reason="no_targets"}') >= 1


def test_a_name_is_resolved_and_a_wrong_one_is_told(tmp_path: pathlib.Path) -> None:
    with Upstream() as one:
        names = (f"localhost:{one.port}", "no-such-host.invalid:80")
        with Sidecar(tmp_path, config(*names)) as sidecar:
            for _ in range(5):
                assert get(sidecar).status == 200
            eventually(lambda: "no-such-host.invalid:80 cannot be resolved" in sidecar.log(), 30)
            up = 'catzilla_pool_target_up{pool="web",target="no-such-host.invalid:80"}'
            assert metric(sidecar, up) == 0


def test_only_a_wrong_name_is_503(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path, config("no-such-host.invalid:80", pool="queue_timeout: 3s,")) as sidecar:
        eventually(lambda: get(sidecar).status == 503, 30)


def ready(sidecar: Sidecar) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{sidecar.ops_port}/readyz", timeout=5
        ) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_ready_when_a_server_has_taken_a_connection(tmp_path: pathlib.Path) -> None:
    port = free_port()
    with Sidecar(tmp_path, config(f"127.0.0.1:{port}")) as sidecar:
        told = (503, "no server of pool web has taken a connection yet\n")
        eventually(lambda: ready(sidecar) == told)
        with Upstream(port=port) as one:
            eventually(lambda: ready(sidecar)[0] == 200)
            assert one.requests == []


def test_servers_come_and_go_while_requests_flow(tmp_path: pathlib.Path) -> None:
    """Not a request fails, what a server has begun it finishes, and what has gone keeps no connection."""
    gate = threading.Event()
    stop = threading.Event()
    statuses: list[int] = []

    def load(sidecar: Sidecar) -> None:
        with RawConnection(sidecar.port) as client:
            while not stop.is_set():
                statuses.append(client.get("/").status)

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Upstream(gated(gate))) for _ in range(3)]
        sidecar = stack.enter_context(Sidecar(tmp_path, config(servers[0].target)))
        threads, answers = in_background(sidecar, "/slow", 1)
        eventually(lambda: len(servers[0].requests) == 1)
        loads = [threading.Thread(target=load, args=(sidecar,)) for _ in range(3)]
        for thread in loads:
            thread.start()
        for turn in range(1, 7):
            now = servers[turn % 3]
            before = len(now.requests)
            sidecar.config.write_text(config(now.target, upstream=f"max_idle_connections: {turn}"))
            assert sidecar.process is not None
            sidecar.process.send_signal(1)
            eventually(partial(has_more_than, now, before + 10))
        gate.set()
        threads[0].join()
        assert answers[0].status == 200
        stop.set()
        for thread in loads:
            thread.join()
        assert set(statuses) == {200}
        eventually(lambda: all(served.gone() for served in servers[1].connections))


def test_a_drain_lets_answers_end(tmp_path: pathlib.Path) -> None:
    gate = threading.Event()
    with Upstream(gated(gate)) as one, Sidecar(tmp_path, config(one.target)) as sidecar:
        threads, answers = in_background(sidecar, "/slow", 2)
        eventually(lambda: len(one.requests) == 2)
        assert sidecar.process is not None
        sidecar.process.terminate()
        eventually(lambda: "draining" in sidecar.log())
        gate.set()
        for thread in threads:
            thread.join()
        assert [got.status for got in answers] == [200, 200]


def test_a_server_that_takes_no_connection_is_given_up_in_time(tmp_path: pathlib.Path) -> None:
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        target = f"127.0.0.1:{deaf.getsockname()[1]}"
        for _ in range(4):  # Its backlog is full: the kernel leaves further ones unanswered.
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(deaf.getsockname())
        few = config(target, upstream="connect_timeout: 200ms")
        hears = stack.enter_context(Upstream())
        with Sidecar(tmp_path, few) as sidecar:
            assert get(sidecar).status == 504
        both = config(target, hears.target, upstream="connect_timeout: 200ms")
        with Sidecar(tmp_path, both) as sidecar:
            assert [get(sidecar).status for _ in range(3)] == [200] * 3
