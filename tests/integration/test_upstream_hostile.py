"""Every row of conformance/responses.txt, sent by a server behind a running sidecar."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Iterator

import pytest
from raw_http import RawConnection
from scripted_upstream import Request, Served, Upstream, config
from sidecar_process import Sidecar, metric

CONFORMANCE = pathlib.Path(__file__).resolve().parents[1] / "conformance"
sys.path.append(str(CONFORMANCE))

from malformed import unescape


@dataclasses.dataclass(frozen=True)
class Row:
    outcome: str
    name: str
    data: bytes


def read_rows() -> list[Row]:
    rows = []
    for line in (CONFORMANCE / "responses.txt").read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            outcome, name, text = line.split(maxsplit=2)
            rows.append(Row(outcome, name, unescape(text).encode("latin-1")))
    return rows


ROWS = {row.name: row for row in read_rows()}


@dataclasses.dataclass
class Proxy:
    upstream: Upstream
    sidecar: Sidecar


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    def script(served: Served, request: Request) -> None:
        row = ROWS[request.target[1:]]
        served.send(row.data)
        if row.name != "plain":
            served.close()

    folder = tmp_path_factory.mktemp("hostile")
    # Failures in a row would pass the only server over, which changes nothing but the log.
    with Upstream(script) as upstream, Sidecar(folder, config(upstream.target)) as sidecar:
        yield Proxy(upstream, sidecar)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "plain"])
def test_a_row(proxy: Proxy, name: str) -> None:
    row = ROWS[name]
    with RawConnection(proxy.sidecar.port) as client:
        try:
            got = client.get(f"/{name}", method="HEAD" if name.startswith("head-") else "GET")
        except (EOFError, ConnectionResetError):
            # The answer had begun well.
            assert row.outcome in ("chunk", "trailer", "closed_in_body", "excess_bytes"), (
                "broken off"
            )
        else:
            if row.outcome != "ok":
                assert got.status == 502
            else:
                assert got.status != 502
                expected = {"until-close": b"all of this", "until-close-1.0": b"all of this"}
                assert got.body in (expected.get(name, b"hi"), b"", b"0123456789")
    # Whatever it was, the next answer is another's.
    with RawConnection(proxy.sidecar.port) as client:
        assert client.get("/plain").body == b"hi"
    hostile, good = proxy.upstream.requests[-2:]
    assert good.connection != hostile.connection


def test_they_are_told_apart(proxy: Proxy) -> None:
    with RawConnection(proxy.sidecar.port) as client:
        client.get("/length-twice")
    series = "catzilla_pool_target_failures_total"
    labels = f'pool="web",target="{proxy.upstream.target}",reason="bad_answer"'
    assert metric(proxy.sidecar, f"{series}{{{labels}}}") >= 1
