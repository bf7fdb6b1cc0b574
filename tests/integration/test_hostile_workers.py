"""A worker that breaks the link's rules, or only strains them: it may lose its lane, and nothing else goes with it."""

from __future__ import annotations

import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest
from catzilla._worker import _frames as frames
from raw_http import RawConnection
from scripted_app import Code, Master, Worker
from sidecar_process import Sidecar
from waiting import eventually, pause

Script = Callable[[socket.socket, int, frames.Request], None]

CONFIG = """
limits: {body_timeout: 2s}
caches: [{name: default, fill_timeout: 1s}]
"""


class ScriptedWorker(Worker):
    """Answers a path by its script, where it has one."""

    scripts: dict[str, Script]
    scripted: set[tuple[socket.socket, int]]

    def _on_frame(self, connection: socket.socket, frame: frames.Frame) -> None:
        kind, _, stream, _, payload = frame
        if kind == frames.REQUEST:
            request = frames.Request(payload)
            script = self.scripts.get(request.path)
            if script is not None:
                self.scripted.add((connection, stream))
                script(connection, stream, request)
                return
        if kind == frames.CANCEL and (connection, stream) in self.scripted:
            return  # A script ends its stream itself, and once (frames.md, 3.1).
        super()._on_frame(connection, frame)

    def lane(self) -> socket.socket:
        """Its only one, from now on the test's alone."""
        lane = self._sockets[1]
        self._selector.unregister(lane)
        return lane

    def another_lane(self) -> socket.socket:
        return self._connect(frames.PURPOSE_LANE, 0)[0]


class Stage:
    def __init__(self, sidecar: Sidecar, worker: ScriptedWorker) -> None:
        self.sidecar, self.worker = sidecar, worker

    def connect(self) -> RawConnection:
        return RawConnection(self.sidecar.port)

    def still_serves(self) -> None:
        with self.connect() as raw:
            assert raw.get("/fine").status == 200


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Iterator[Stage]:
    ScriptedWorker.scripts, ScriptedWorker.scripted = {}, set()
    with (
        Sidecar(tmp_path, CONFIG, arguments=("--loops", "1")) as sidecar,
        Master(sidecar.runtime) as master,
    ):
        code = Code("v1", {"/kept/{name}": "60s", "/{rest:path}": ""})
        ticket = master.register(code)
        worker = ScriptedWorker(code, ticket)
        master.switched(ticket)
        yield Stage(sidecar, worker)
        worker.kill()


def answers(
    fields: tuple[tuple[bytes, bytes], ...],
    body: bytes,
    status: int = 200,
    more: bytes | None = None,
) -> Script:
    def script(lane: socket.socket, stream: int, _: frames.Request) -> None:
        lane.sendall(frames.encode_response(stream, status, fields, body, end=more is None))
        if more is not None:
            lane.sendall(frames.encode_frame(frames.RESPONSE_DATA, stream, more, frames.FLAG_END))

    return script


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("http://a?x=1&y", b"/?x=1&y"),
        ("http://a", b"/"),
        ("http://a?", b"/?"),
        ("http://a/?z", b"/?z"),
    ],
)
def test_an_absolute_target_without_a_path_is_told_without_what_lies_behind_it(
    stage: Stage, asked: str, told: bytes
) -> None:
    seen: list[bytes] = []

    def script(lane: socket.socket, stream: int, request: frames.Request) -> None:
        seen.append(request.target)
        answers((), b"ok")(lane, stream, request)

    stage.worker.scripts["/"] = script
    with stage.connect() as raw:
        assert raw.get(asked).status == 200
    assert seen == [told]


@pytest.mark.parametrize(
    "fields",
    [
        ((b"Content-Length", b"5"),),
        ((b"content-length", b"10"), (b"Content-Length", b"5")),
        ((b"Transfer-Encoding", b"chunked"),),
        ((b"Set-Cookie", b"a=b"),),
    ],
)
def test_names_with_capitals_frame_no_answer(
    stage: Stage, fields: tuple[tuple[bytes, bytes], ...]
) -> None:
    stage.worker.scripts["/capitals"] = answers(fields, b"hello", more=b"EXTRA")
    with stage.connect() as raw:
        assert raw.get("/capitals").status == 502
        assert raw.get("/fine").status == 200


def test_a_kept_204_has_no_length(stage: Stage) -> None:
    stage.worker.scripts["/kept/nothing"] = answers(((b"content-length", b"0"),), b"", 204)
    with stage.connect() as raw:
        for _ in range(2):  # As it comes, and as it was kept.
            answer = raw.get("/kept/nothing")
            assert (answer.status, answer.header("content-length")) == (204, None)


def test_pings_whose_answers_nobody_reads_are_not_kept(stage: Stage) -> None:
    before = stage.sidecar.rss_kib()
    lane = stage.worker.lane()
    lane.settimeout(2)
    pings = frames.encode_frame(frames.PING, 0, bytes(8)) * 4096
    with contextlib.suppress(OSError):  # It is cut off; or nobody reads it any more.
        for _ in range(1024):
            lane.sendall(pings)
    assert stage.sidecar.rss_kib() - before < 32 * 1024


def test_interim_answers_do_not_pile_up_before_a_client_that_does_not_read(stage: Stage) -> None:
    lanes: list[tuple[socket.socket, int]] = []
    stage.worker.scripts["/hints"] = lambda lane, stream, _: lanes.append((lane, stream))
    with stage.connect() as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.send(b"GET /hints HTTP/1.1\r\nHost: t\r\n\r\n")
        eventually(lambda: lanes)
        lane, stream = lanes[0]
        before = stage.sidecar.rss_kib()
        hint = frames.encode_informational(stream, 103, ((b"link", b"x" * 8000),))
        for _ in range(8192):
            lane.sendall(hint)
        lane.sendall(frames.encode_response(stream, 200, (), b"done", end=True))
        stage.still_serves()  # So all of that has been read.
        assert stage.sidecar.rss_kib() - before < 32 * 1024


def test_a_worker_with_too_many_lanes_is_refused_more(stage: Stage) -> None:
    lanes: list[socket.socket] = []

    def attach_many() -> None:
        for _ in range(300):
            lanes.append(stage.worker.another_lane())
            stage.still_serves()  # So it is attached.

    with pytest.raises(AssertionError, match="lanes, no more are taken"):
        attach_many()
    for lane in lanes:
        lane.shutdown(socket.SHUT_RDWR)
    stage.still_serves()


def test_a_client_that_waits_for_100_continue_is_not_too_late(stage: Stage) -> None:
    asked: list[tuple[socket.socket, int]] = []
    stage.worker.scripts["/slow"] = lambda lane, stream, _: asked.append((lane, stream))
    with stage.connect() as raw:
        raw.send(
            b"POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        eventually(lambda: asked)
        pause(4)  # Twice limits.body_timeout.
        lane, stream = asked[0]
        lane.sendall(frames.encode_frame(frames.WINDOW, stream, aux=1 << 16))
        assert raw._line() == b"HTTP/1.1 100 Continue"
        assert raw._line() == b""
        raw.send(b"body")
        lane.sendall(frames.encode_response(stream, 200, (), b"ok", end=True))
        assert raw.read().status == 200


def test_a_client_that_was_asked_for_its_body_may_not_sleep(stage: Stage) -> None:
    def script(lane: socket.socket, stream: int, _: frames.Request) -> None:
        lane.sendall(frames.encode_frame(frames.WINDOW, stream, aux=1 << 16))

    stage.worker.scripts["/asks"] = script
    with stage.connect() as raw:
        raw.send(
            b"POST /asks HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = raw.read()
    assert (answer.informational, answer.status) == ([100], 408)


def test_nobody_waits_behind_an_answer_that_stands_still(stage: Stage) -> None:
    stage.worker.scripts["/kept/stuck"] = lambda lane, stream, _: lane.sendall(
        frames.encode_response(stream, 200, (), b"begun", end=False)
    )
    with stage.connect() as first:
        first.send(b"GET /kept/stuck HTTP/1.1\r\nHost: test\r\n\r\n")
        eventually(lambda: first.socket.recv(1))
    stage.worker.scripts["/kept/stuck"] = answers((), b"whole")
    pause(1.5)  # More than fill_timeout.
    with stage.connect() as second:
        assert second.get("/kept/stuck").body == b"whole"
