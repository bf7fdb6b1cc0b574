"""limits.max_connections_per_client counts clients, not those who speak for many.

O14, A8: each test names the fault it keeps away.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from collections.abc import Iterator

import pytest
from app_process import AppProcess, eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar


@contextlib.contextmanager
def serving(folder: pathlib.Path, listener: str) -> Iterator[Sidecar]:
    config = f"""
limits: {{max_connections_per_client: 2}}
telemetry: {{access_log: true}}
listeners: [{{name: http, {listener}}}]
mounts: [{{name: s, prefix: /, root: {make_site(folder)}}}]
"""
    with Sidecar(folder, config) as sidecar:
        yield sidecar


def status(sidecar: Sidecar, kept: contextlib.ExitStack, before: bytes = b"") -> int:
    raw = kept.enter_context(RawConnection(sidecar.port))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        raw.send(before + b"GET /a.txt HTTP/1.1\r\nHost: t\r\n\r\n")
    return raw.read().status


def test_o14_a_client_has_its_cap(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path, "proxy_protocol: false") as sidecar:
        with contextlib.ExitStack() as kept:
            eventually(lambda: status(sidecar, kept) == 503)
        with contextlib.ExitStack() as kept:
            # Whoever has left gives its place back.
            eventually(lambda: status(sidecar, kept) == 200)


def test_o14_a_trusted_proxy_has_none(tmp_path: pathlib.Path) -> None:
    with (
        serving(tmp_path, "trusted_proxies: [127.0.0.0/8]") as sidecar,
        contextlib.ExitStack() as kept,
    ):
        assert [status(sidecar, kept) for _ in range(6)] == [200] * 6


@pytest.mark.parametrize("trusted", ["", ", trusted_proxies: [127.0.0.0/8]"])
def test_o14_the_proxy_protocol_names_who_is_counted(tmp_path: pathlib.Path, trusted: str) -> None:
    def header(client: int) -> bytes:
        return b"PROXY TCP4 192.0.2.%d 198.51.100.1 4000 80\r\n" % client

    with serving(tmp_path, "proxy_protocol: true" + trusted) as sidecar:
        with contextlib.ExitStack() as kept:
            assert [status(sidecar, kept, header(n)) for n in (1, 1, 2, 2)] == [200] * 4
            assert status(sidecar, kept, header(1)) == 503
            assert status(sidecar, kept, header(2)) == 503
            assert status(sidecar, kept, header(3)) == 200
            # The balancer's own questions are nobody's.
            local = b"PROXY UNKNOWN\r\n"
            assert [status(sidecar, kept, local) for _ in range(4)] == [200] * 4
        with contextlib.ExitStack() as kept:
            eventually(lambda: status(sidecar, kept, header(1)) == 200)

    def refused() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in sidecar.stdout.read_text().splitlines()]
        return [line for line in lines if line["status"] == 503]

    assert {(line["client"], line["cause"]) for line in refused()} >= {
        ("192.0.2.1", "over_limit"),
        ("192.0.2.2", "over_limit"),
    }


def test_a8_o14_what_a_trusted_proxy_is_believed(tmp_path: pathlib.Path) -> None:
    source = """
from catzilla import Catzilla
from fastapi import Request
app = Catzilla()

@app.get("/who")
async def who(request: Request):
    return [request.client.host, request.url.scheme, request.headers["host"],
            request.headers["x-forwarded-host"]]
"""
    config = "listeners: [{name: http, trusted_proxies: [127.0.0.0/8]}]\n"
    with AppProcess(tmp_path, source, config=config) as app, app.connect() as raw:
        answer = raw.get(
            "/who",
            "X-Forwarded-For: 192.0.2.9",
            "X-Forwarded-Proto: HTTPS",
            "X-Forwarded-Host: elsewhere.example",
        )
        assert json.loads(answer.body) == ["192.0.2.9", "https", "test", "elsewhere.example"]


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_o12_a_hard_timeout_names_its_route_and_where_the_worker_stands(
    tmp_path: pathlib.Path, kind: str
) -> None:
    """Whether it holds up the loop, or a thread of the pool."""
    began = tmp_path / "began"
    source = f"""
import pathlib, time
from catzilla import Catzilla
app = Catzilla()

@app.get("/slow/{{name}}")
{kind} slow(name: str):
    never_returns()

def never_returns():
    pathlib.Path({str(began)!r}).touch(); time.sleep(3600)
"""
    config = "pools: [{name: app, request_timeout: 200ms, hard_timeout: 400ms}]\n"
    with AppProcess(tmp_path, source, config=config) as app, app.connect() as raw:

        def asked() -> bool:
            """What is cancelled before it has begun is dropped: nothing is stuck then."""
            assert raw.get("/slow/one").status == 504
            return began.exists()

        eventually(asked, 30)
        eventually(lambda: "a request of /slow/{name} still runs after" in app.log(), 30, app.log)
        file = tmp_path / "app_under_test.py"
        stack = re.compile(
            r"the sidecar wants this process replaced; thread [\w ]+: "
            rf"never_returns \({file}:11\) < slow \({file}:8\) < .* \[pid (\d+)\]\n"
        )
        eventually(lambda: stack.search(app.output.read_text()), 30, app.log)
        [pid] = stack.findall(app.output.read_text())
        eventually(lambda: not pathlib.Path(f"/proc/{pid}").exists(), 30, app.log)
