"""Autobahn|Testsuite's fuzzing client against an SDK app and against a server of an upstream pool.

A minute of it; all of the cases, in which compression is measured at length, with CATZILLA_AUTOBAHN=all.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_process import AppProcess
from autobahn import PACKAGES, Verdict, find_python2, run_cases
from processes import running
from scripted_upstream import config
from sidecar_process import Sidecar, free_port

TABLE = Path(__file__).with_name("autobahn.txt")
APP = (Path(__file__).parents[1] / "integration" / "websocket_app.py").read_text()
FRAMES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)]
SIZES = ["9.*"]
# Each is a thousand messages: small ones, and of a size that changes.
COMPRESSION = [*(f"12.{kind}.3" for kind in range(1, 6)), "12.2.11", "12.5.11"]
COMPRESSION += [f"13.{terms}.3" for terms in range(1, 8)]
ALL = os.environ.get("CATZILLA_AUTOBAHN") == "all"


@pytest.fixture(scope="module")
def python2() -> str:
    found = find_python2()
    if found is None:
        pytest.skip("Autobahn|Testsuite needs a Python 2.7, and there is none (CATZILLA_PYTHON2)")
    if not (PACKAGES / "autobahntestsuite").is_dir():
        pytest.skip(f"Autobahn|Testsuite is not in {PACKAGES}: ./dev test websockets installs it")
    return found


def expected() -> dict[str, tuple[str, str]]:
    rows = [line.split() for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return {case: (behavior, closing) for case, behavior, closing, *_ in rows}


def is_as_expected(verdict: Verdict) -> bool:
    frames, closing = expected().get(verdict.case, ("OK", "OK"))
    return (verdict.behavior, verdict.closing) == (frames, closing)


def check(python2: str, port: int, cases: list[str], folder: Path) -> None:
    verdicts = run_cases(python2, f"ws://127.0.0.1:{port}/echo", cases, folder)
    assert len(verdicts) >= len(cases), (folder / "wstest.log").read_text()[-4000:]
    wrong = [str(verdict) for verdict in verdicts if not is_as_expected(verdict)]
    assert not wrong, "\n".join([*wrong, f"told in {folder / 'reports'}"])


@contextlib.contextmanager
def of_an_app(folder: Path) -> Iterator[int]:
    with AppProcess(folder, APP) as app:
        yield app.port


@contextlib.contextmanager
def of_a_server(folder: Path) -> Iterator[int]:
    (folder / "peer_app.py").write_text(APP)
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "peer_app:app", "--port", str(port))
    with running(folder, port, *command), Sidecar(folder, config(f"127.0.0.1:{port}")) as sidecar:
        yield sidecar.port


def test_frames(python2: str, tmp_path: Path) -> None:
    with of_an_app(tmp_path) as port:
        check(python2, port, FRAMES, tmp_path)


def test_frames_to_a_server(python2: str, tmp_path: Path) -> None:
    with of_a_server(tmp_path) as port:
        check(python2, port, FRAMES if ALL else ["2.*", "5.*", "7.*"], tmp_path)


def test_sizes(python2: str, tmp_path: Path) -> None:
    with of_an_app(tmp_path) as port:
        check(python2, port, SIZES, tmp_path)


@pytest.mark.parametrize("cases", [["12.*"], ["13.*"]] if ALL else [COMPRESSION])
def test_compression(python2: str, tmp_path: Path, cases: list[str]) -> None:
    with of_an_app(tmp_path) as port:
        check(python2, port, cases, tmp_path)
