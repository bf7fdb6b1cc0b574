"""S7: new code takes over in one step, and every request is answered by the code whose table routed it."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from raw_http import Answer, RawConnection
from scripted_app import Code, Master, Worker, workers
from sidecar_process import Sidecar, metric, program
from waiting import eventually


@pytest.fixture
def sidecar(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    with Sidecar(tmp_path, "{}\n", arguments=("--loops", "2")) as running:
        yield running


def active(sidecar: Sidecar) -> float:
    """Requests that are under way."""
    return metric(sidecar, 'catzilla_http_connections{state="active"}')


def get(sidecar: Sidecar, path: str) -> Answer:
    with RawConnection(sidecar.port, seconds=30) as raw:
        return raw.get(path)


def asking(sidecar: Sidecar, path: str, method: str = "GET", body: bytes = b"") -> RawConnection:
    """A connection with a request under way."""
    raw = RawConnection(sidecar.port, seconds=30)
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    raw.send(f"{head}\r\n".encode() + body)
    return raw


def answer_of(raw: RawConnection) -> tuple[int, str]:
    with raw:
        answer = raw.read()
    return answer.status, answer.body.decode()


class Load:
    """Clients that ask without a pause, some on one connection, some on a new one each time."""

    def __init__(self, sidecar: Sidecar, paths: list[str], clients: int = 4) -> None:
        self.answers: list[tuple[str, int, str]] = []
        self._sidecar = sidecar
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(paths, number % 2 == 0))
            for number in range(clients)
        ]

    def _run(self, paths: list[str], keeps_alive: bool) -> None:
        raw = RawConnection(self._sidecar.port, seconds=30)
        while not self._stop.is_set():
            for path in paths:
                answer = raw.get(path)
                self.answers.append((path, answer.status, answer.body.decode()))
                if not keeps_alive:
                    raw.close()
                    raw = RawConnection(self._sidecar.port, seconds=30)
        raw.close()

    def more(self, count: int) -> None:
        goal = len(self.answers) + count
        eventually(lambda: len(self.answers) >= goal, 60)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_each_answer_is_of_the_code_whose_table_routed_it(sidecar: Sidecar) -> None:
    # The same ids are other routes each time, and what was cached is not any more.
    first = Code("v1", {"/a": "60s", "/b": "", "/c": ""})
    second = Code("v2", {"/c": "", "/a": "", "/b": ""})
    third = Code("v3", {"/b": "", "/c": "", "/a": ""}, first_id=2)
    running: list[Worker] = []
    with Master(sidecar.runtime) as master:
        ticket = master.register(first)
        running.append(Worker(first, ticket, pid=1))
        master.switched(ticket)
        with workers(*running), Load(sidecar, ["/a", "/b", "/c"]) as load:
            load.more(200)
            for pid, code in ((2, second), (3, third)):
                ticket = master.register(code)
                running.append(Worker(code, ticket, pid=pid))
                master.switched(ticket)
                # Who has been told of the switch sees nothing of the code before.
                for path in ("/a", "/b", "/c") * 4:
                    answer = get(sidecar, path)
                    assert answer.body.decode() == f"{code.version} {path} {path}"
                    assert answer.header("cache-status") is None
                assert running[-2].told_to_go.wait(10)
                load.more(200)
        assert {status for _, status, _ in load.answers} == {200}
        for path, _, text in load.answers:
            version, template, asked = text.split()
            assert template == path == asked, f"{path} was answered by {version} as {template}"
        assert {text.split()[0] for _, _, text in load.answers} == {"v1", "v2", "v3"}
        for worker in running[1:]:
            worker.kill()


def test_a_table_that_is_refused_at_the_switch_leaves_the_old_code_whole(sidecar: Sidecar) -> None:
    def configure(name: str, prefixes: str) -> None:
        # Answers tell when it counts. The log is written later, and of a file that was noticed
        # before the signal came it says nothing more.
        sidecar.config.write_text(f"server_name: {name}\napp: {{prefixes: [{prefixes}]}}\n")
        sidecar.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        eventually(lambda: get(sidecar, "/asked").header("server") == name)

    old = Code("v1", {"/old": "", "/old/other": ""})
    new = Code("v2", {"/old/other": "", "/old": "", "/new": ""})
    with Master(sidecar.runtime) as master:
        first = master.register(old)
        serving = Worker(old, first, pid=1)
        master.switched(first)
        ticket = master.register(new)  # Allowed now...
        configure("strict", "/old")  # ...and not any more when its workers come.
        waiting = Worker(new, ticket, pid=2)
        with workers(serving, waiting):
            notice = master.expect("notice").notice
            assert [one.code for one in notice.diagnostics] == ["CZ1507", "CZ1501"]
            assert "generation 2 is ready and does not take over" in notice.diagnostics[0].message
            assert "generation 1 goes on" in notice.diagnostics[0].message
            for _ in range(20):
                assert get(sidecar, "/old").body == b"v1 /old /old"
            assert get(sidecar, "/new").status == 404
            assert not serving.told_to_go.is_set()
            eventually(lambda: "was refused" in sidecar.log())
            listed = subprocess.run(
                [program("catzillactl"), "--address", sidecar.control, "worker", "ls"],
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert "generation 2 is ready and does not take over" in listed.stderr, listed.stderr
            # The operator allows it again: the new code is there, and takes over.
            configure("lenient", "/old, /new")
            master.switched(ticket)
            assert get(sidecar, "/new").body == b"v2 /new /new"
            assert get(sidecar, "/old").body == b"v2 /old /old"
            assert serving.told_to_go.wait(10)


def test_who_waits_for_code_that_has_died_is_answered_by_its_successor(sidecar: Sidecar) -> None:
    old = Code("v1", {"/a": "", "/b": "", "/gone": ""})
    new = Code("v2", {"/b": "", "/a": ""})
    with (
        Master(sidecar.runtime, instance="one") as master,
        Master(sidecar.runtime, instance="two") as successor,
    ):
        first = master.register(old)
        dying = Worker(old, first, pid=1, holds=True, credits=1)
        master.switched(first)
        running = asking(sidecar, "/a", "POST", b"begun")
        dying.wait_until_holding(1)
        waiting = [
            asking(sidecar, "/a"),
            asking(sidecar, "/b", "POST", b" with a body"),
            asking(sidecar, "/gone"),
        ]
        ticket = successor.register(new, takeover=True)
        dying.kill()
        assert answer_of(running)[0] == 502, "a POST that had begun is not repeated"
        late = asking(sidecar, "/b")  # Routed by the old table: the new one has no worker yet.
        with workers(Worker(new, ticket, pid=2)):
            successor.switched(ticket)
            assert answer_of(waiting[0]) == (200, "v2 /a /a")
            assert answer_of(waiting[1]) == (200, "v2 /b /b with a body")
            assert answer_of(waiting[2])[0] == 404
            assert answer_of(late) == (200, "v2 /b /b")


def test_without_a_successor_who_waits_is_told_at_once(sidecar: Sidecar) -> None:
    code = Code("v1", {"/a": ""})
    master = Master(sidecar.runtime)
    ticket = master.register(code)
    dying = Worker(code, ticket, pid=1, holds=True, credits=1)
    master.switched(ticket)
    running = asking(sidecar, "/a", "POST", b"begun")
    dying.wait_until_holding(1)
    waiting = asking(sidecar, "/a")
    master.close()
    dying.kill()
    began = time.monotonic()
    with waiting:
        answer = waiting.read()
    running.close()
    assert time.monotonic() - began < 4, "not when the queue's timeout has passed"
    assert answer.status == 503
    assert answer.header("retry-after") == "1"


def test_a_body_that_comes_after_the_switch_goes_to_the_new_code(sidecar: Sidecar) -> None:
    old = Code("v1", {"/a": "", "/b": ""})
    new = Code("v2", {"/b": "", "/a": ""})
    with Master(sidecar.runtime) as master:
        first = master.register(old)
        leaving = Worker(old, first, pid=1)
        master.switched(first)
        slow = [RawConnection(sidecar.port, seconds=30) for _ in range(4)]
        for raw in slow:
            raw.send(b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n half")
        eventually(lambda: active(sidecar) == 4)
        ticket = master.register(new)
        with workers(Worker(new, ticket, pid=2)):
            master.switched(ticket)
            assert leaving.told_to_go.wait(10)
            leaving.kill()
            for raw in slow:
                raw.send(b" body")
                assert answer_of(raw) == (200, "v2 /a /a half body")


def test_what_old_code_was_asked_for_is_not_kept_for_the_new_ones_clients(sidecar: Sidecar) -> None:
    old = Code("v1", {"/a": "60s"})
    new = Code("v2", {"/other": "", "/a": "60s"})
    with Master(sidecar.runtime) as master:
        first = master.register(old)
        leaving = Worker(old, first, pid=1, holds=True)
        master.switched(first)
        early = asking(sidecar, "/a")
        leaving.wait_until_holding(1)
        ticket = master.register(new)
        serving = Worker(new, ticket, pid=2, holds=True)
        with workers(leaving, serving):
            master.switched(ticket)
            late = asking(sidecar, "/a")  # Follows nobody: it asks the new code.
            serving.wait_until_holding(1)
            leaving.release()
            assert answer_of(early) == (200, "v1 /a /a"), "the old code finishes"
            follower = asking(sidecar, "/a")
            eventually(lambda: active(sidecar) == 2)
            serving.release()
            assert answer_of(late) == (200, "v2 /a /a")
            assert answer_of(follower) == (200, "v2 /a /a")
            for _ in range(10):
                answer = get(sidecar, "/a")
                assert answer.body == b"v2 /a /a"
                assert "hit" in (answer.header("cache-status") or "")


def test_apply_answers_when_every_loop_serves_it(
    sidecar: Sidecar, apply: Callable[[Sidecar, str], None]
) -> None:
    # The kernel spreads connections over both loops.
    clients = [RawConnection(sidecar.port, seconds=30) for _ in range(8)]
    for number in range(200):
        apply(sidecar, f"server_name: version-{number}\n")
        for raw in clients:
            assert raw.get("/nothing").header("server") == f"version-{number}"
    for raw in clients:
        raw.close()


@pytest.fixture
def apply() -> Iterator[Callable[[Sidecar, str], None]]:
    """ConfigService.Apply over one channel, with what reflection says of its messages."""
    import grpc
    from google.protobuf import descriptor_pool, message_factory
    from grpc_reflection.v1alpha import proto_reflection_descriptor_database as reflection

    channels: list[grpc.Channel] = []
    calls: list[Callable[[str], object]] = []

    def connect(sidecar: Sidecar) -> Callable[[str], object]:
        channel = grpc.insecure_channel(sidecar.control)
        channels.append(channel)
        pool = descriptor_pool.DescriptorPool(reflection.ProtoReflectionDescriptorDatabase(channel))
        package = "catzilla.control.v1"
        request = message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.ApplyRequest")
        )
        response = message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.ApplyResponse")
        )
        call = channel.unary_unary(
            f"/{package}.ConfigService/Apply",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return lambda text: call(request(text=text), timeout=30)

    def run(sidecar: Sidecar, text: str) -> None:
        if not calls:
            calls.append(connect(sidecar))
        calls[0](text)

    yield run
    for channel in channels:
        channel.close()
