"""The bench of the app path asks what it says it asks, and its load generator knows who waited (bench/http/app_path.py)."""

from __future__ import annotations

import argparse
import pathlib
import socketserver
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "http"))

import app_path
import app_peers
import app_rows
import environments
import fairness
import measure
import open_loop
from app_cases import CASES, TITLES, Case
from fastapi.testclient import TestClient


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.row} {case.kind}")
def test_the_app_answers_what_the_bench_expects_of_every_server(case: Case) -> None:
    with TestClient(getattr(app_rows, case.app)) as client:
        answer = client.request(case.method, case.path, content=case.body, headers=case.headers)
    assert answer.status_code == 200
    assert answer.content == case.content
    assert ("x-tag" in answer.headers) is (case.app == "stacked")


def test_a_wrong_body_is_refused_by_the_app() -> None:
    client = TestClient(app_rows.app)
    assert client.post("/body", json={"sku": "X", "quantity": 0, "price": 0}).status_code == 422
    assert client.get("/params/7?q=&limit=0").status_code == 422


def test_each_row_can_be_named() -> None:
    assert {case.row for case in CASES} == set(TITLES)
    assert app_path.parse(["--rows", "body,hello"]).rows == ["hello", "body"]
    assert app_path.parse(["--contenders", "catzilla,uvicorn"]).contenders == [
        "uvicorn",
        "catzilla",
    ]


@pytest.mark.parametrize(
    "wrong", [["--rows", "helo"], ["--contenders", "us"], ["--python", "1.5"], ["--sdk-lanes", "x"]]
)
def test_what_it_does_not_know_ends_the_bench(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        app_path.parse(wrong)


def test_a_goal_may_be_another_on_a_later_python() -> None:
    assert CASES[0].wanted_ratio((3, 11)) == 1 / 8
    assert CASES[0].wanted_ratio((3, 13)) == 1 / 10
    assert CASES[1].wanted_ratio((3, 13)) == CASES[1].goal


def sample(cpu_us: float) -> measure.Sample:
    return measure.Sample(1, cpu_us, 1, 1, 1, 1)


def test_the_table_has_the_ratio_round_by_round_and_the_goal(tmp_path: pathlib.Path) -> None:
    options = argparse.Namespace(contenders=["uvicorn", "robyn", "catzilla"], version=(3, 11))
    bench = app_path.Bench(options, tmp_path)
    ours, base = [sample(10.0), sample(12.0), sample(8.0)], [sample(100.0)] * 3
    bench.samples[CASES[0]] = {"uvicorn": base, "catzilla": ours}
    assert app_path.cpu_table(bench).splitlines()[-1] == (
        "| hello, async | 100.0 | – | 10.0 (0.100) | 0.080–0.120 | ≤ 0.125 |"
    )


def test_lanes_and_the_tree_reach_our_worker(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/tree/src")
    monkeypatch.setenv("CATZILLA_BIN_DIR", "/tree/bin")
    server = app_peers.catzilla(sys.executable, "app", tmp_path, "off")
    assert server.environment["CATZILLA_LANES"] == "off"
    assert server.environment["CATZILLA_BIN_DIR"] == "/tree/bin"
    assert server.environment["PYTHONPATH"].endswith(":/tree/src")
    unset = app_peers.catzilla(sys.executable, "app", tmp_path, None)
    assert "CATZILLA_LANES" not in unset.environment


def test_a_peer_that_is_not_installed_says_why(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "HOME", tmp_path)
    monkeypatch.setattr(environments, "_install", lambda *_: "no wheel for this Python")
    environments.prepare("robyn", sys.executable)
    with pytest.raises(environments.NotInstalled, match="no wheel for this Python"):
        app_peers.contender("robyn", sys.executable, "app", tmp_path)


def test_a_body_is_sent_with_its_length() -> None:
    asked = fairness.request_of(80, "/body", {"X": "y"}, "POST", b"{}")
    assert asked.startswith(b"POST /body HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX: y\r\n")
    assert asked.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Prompt(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(1 << 16):
            self.request.sendall(OK)


class Slow(socketserver.BaseRequestHandler):
    """The first answer, which tells how long they are, at once; each other one takes 20 ms."""

    def handle(self) -> None:
        seconds = 0.0
        while self.request.recv(1 << 16):
            threading.Event().wait(seconds)
            seconds = 0.02
            self.request.sendall(OK)


class Closes(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1 << 16)
        self.request.sendall(OK)


def open_round(
    peer: type[socketserver.BaseRequestHandler], rate: float, connections: int
) -> dict[str, float]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), peer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
        thread.start()
        try:
            request = b"GET / HTTP/1.1\r\n\r\n"
            port = server.server_address[1]
            found: dict[str, float] = open_loop.run(port, request, rate, 0.3, connections)
            return found
        finally:
            server.shutdown()
            thread.join()


def test_the_open_loop_sends_all_that_was_due_and_times_it() -> None:
    found = open_round(Prompt, 500, 4)
    assert found["requests"] == len(open_loop.due_times(500, 0.3))
    assert 0 < found["p50"] <= found["p99"] <= found["p99.9"]


def test_an_answer_that_waited_for_a_connection_counts_from_when_it_was_due() -> None:
    # 200 a second are due and 50 are done: the last one waits for all before it.
    assert open_round(Slow, 200, 1)["p99"] > 200


def test_a_closed_connection_ends_the_open_loop() -> None:
    with pytest.raises((SystemExit, OSError)):
        open_round(Closes, 500, 1)


def test_arrivals_are_the_same_for_every_server() -> None:
    due = open_loop.due_times(1000, 5)
    assert due == open_loop.due_times(1000, 5) == sorted(due)
    assert len(due) == pytest.approx(5000, rel=0.1)
    assert due[-1] < 5
