"""malformed.txt against a running sidecar: whole, and behind a good request on the same connection."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator

import pytest
from malformed import Case, read_cases

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from raw_http import RawConnection
from sidecar_process import Sidecar

GOOD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("malformed")
    public = folder / "public"
    public.mkdir()
    (public / "index.html").write_text("hello")
    config = f"mounts:\n  - name: site\n    prefix: /\n    root: {public}\n"
    with Sidecar(folder, config) as running:
        yield running


def closed(connection: RawConnection) -> bool:
    """Nothing more comes, and the other side has ended."""
    if connection.buffer:
        return False
    try:
        return connection.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def check(connection: RawConnection, case: Case) -> None:
    """A request to a file may be answered (405) before its body is looked at; then it must close too."""
    if case.status is not None:
        answer = connection.read()
        unread = answer.status == 405 and b"chunked" in case.data
        assert answer.status == case.status or unread, answer
        assert closed(connection), "what follows a refusal must not be read as a request"
        return
    for _ in range(case.requests):
        status = connection.read().status
        assert status < 500 and status not in (400, 408, 413, 414, 417, 431), status


@pytest.mark.parametrize("case", read_cases(), ids=lambda case: case.name)
def test_answer(sidecar: Sidecar, case: Case) -> None:
    alone = RawConnection(sidecar.port)
    alone.send(case.data)
    check(alone, case)
    behind = RawConnection(sidecar.port)
    behind.send(GOOD + case.data)
    assert behind.read().status == 200
    check(behind, case)


def test_sidecar_still_serves(sidecar: Sidecar) -> None:
    assert RawConnection(sidecar.port).get("/").status == 200
