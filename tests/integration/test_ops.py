"""The ops listener from outside: probes, both metric formats, and series that stay few."""

from __future__ import annotations

import contextlib
import pathlib
import random
import re
import signal
import string
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest
from app_process import eventually
from conftest import make_site
from raw_http import Answer, RawConnection
from sidecar_process import Sidecar

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """
mounts:
  - {{name: site, prefix: /, root: {site}}}
  - {{name: odd, prefix: '/a "b" é', root: {site}}}
"""


@pytest.fixture
def fresh(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    """A sidecar that nobody has asked anything but whether it listens."""
    with Sidecar(tmp_path, CONFIG.format(site=make_site(tmp_path))) as running:
        wait_until_started(running)
        yield running


def wait_until_started(sidecar: Sidecar, seconds: float = 30.0) -> None:
    """The ops listener opens after the clients' one, which Sidecar waits for."""

    def started() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            return ask(sidecar, "/startupz").status == 200
        return False

    eventually(started, seconds, sidecar.log)


def ask(sidecar: Sidecar, path: str, *headers: str, method: str = "GET") -> Answer:
    with RawConnection(sidecar.ops_port) as ops:
        return ops.get(path, *headers, method=method)


def samples(sidecar: Sidecar) -> dict[str, float]:
    """Series with their labels, as they are written."""
    found: dict[str, float] = {}
    for line in ask(sidecar, "/metrics").body.decode().splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            assert series not in found, f"twice: {series}"
            found[series] = float(value)
    return found


def told_families() -> dict[str, str]:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
    return dict(rows)


def test_probes(fresh: Sidecar) -> None:
    for path in ("/livez", "/readyz", "/startupz"):
        answer = ask(fresh, path)
        assert (answer.status, answer.body) == (200, b"ok\n")
        assert answer.header("cache-control") == "no-store"
        assert ask(fresh, path, method="HEAD").header("content-length") == "3"


def test_the_ops_listener_does_nothing_else(fresh: Sidecar) -> None:
    assert ask(fresh, "/").status == 404
    assert ask(fresh, "/a.txt").status == 404
    assert ask(fresh, "/metrics", "Content-Length: 0", method="POST").status == 405
    assert ask(fresh, "/metrics", "Content-Length: 0", method="POST").header("allow") == "GET, HEAD"


def test_readyz_waits_for_something_to_serve(tmp_path: pathlib.Path) -> None:
    with Sidecar(tmp_path) as sidecar:
        wait_until_started(sidecar)
        ready = ask(sidecar, "/readyz")
        assert (ready.status, ready.body) == (
            503,
            b"nothing to serve yet: no mount, no route, no app\n",
        )
        assert ask(sidecar, "/startupz").status == 200
        assert ask(sidecar, "/livez").status == 200


def test_readyz_says_that_it_drains_while_livez_stays(tmp_path: pathlib.Path) -> None:
    config = CONFIG.format(site=make_site(tmp_path)) + "drain: {delay: 2s}\n"
    with Sidecar(tmp_path, config) as sidecar:
        wait_until_started(sidecar)
        assert ask(sidecar, "/readyz").status == 200
        assert sidecar.process is not None
        sidecar.process.send_signal(signal.SIGTERM)
        eventually(lambda: ask(sidecar, "/readyz").status != 200, 1.5)
        ready = ask(sidecar, "/readyz")
        assert (ready.status, ready.body) == (503, b"draining\n")
        assert ask(sidecar, "/livez").status == 200
        assert samples(sidecar)["catzilla_http_connections_accepted_total"] >= 1


def test_every_family_of_the_manual_is_there_at_the_start(fresh: Sidecar) -> None:
    text = ask(fresh, "/metrics").body.decode()
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    told = told_families()
    assert len(told) > 50
    assert set(types) == set(told)
    for name, kind in told.items():
        assert types[name] == ("gauge" if kind == "info" else kind)


def test_series_are_there_before_the_first_request(fresh: Sidecar) -> None:
    at_start = samples(fresh)
    for series in (
        'catzilla_http_requests_total{route="/",method="GET",code="2xx"}',
        'catzilla_http_requests_total{route="<none>",method="GET",code="4xx"}',
        'catzilla_http_responses_total{code="200"}',
        'catzilla_http_request_duration_seconds_count{route="/"}',
        'catzilla_static_requests_total{mount="site",result="ok"}',
        'catzilla_static_requests_total{mount="odd",result="ok"}',
        'catzilla_http_requests_total{route="/a \\"b\\" é",method="GET",code="2xx"}',
        'catzilla_config_rejections_total{source="file"}',
    ):
        assert at_start[series] == 0, series
    assert at_start['catzilla_config_info{version="1"}'] == 1
    with RawConnection(fresh.port) as client:
        for path in ("/", "/a.txt", "/sub", "/nothing", "/large.bin"):
            client.get(path)
        client.get("/a.txt", method="HEAD")
        client.get("/a.txt", "Range: bytes=0-1")
    gone = set(at_start) - set(samples(fresh))
    assert gone == set()
    new = {series for series in set(samples(fresh)) - set(at_start) if "/" not in series}
    assert new == set()


def test_counts_what_was_answered(fresh: Sidecar) -> None:
    with RawConnection(fresh.port) as client:
        for _ in range(5):
            assert client.get("/a.txt").status == 200
        etag = client.get("/a.txt").header("etag")
        assert client.get("/a.txt", f"If-None-Match: {etag}").status == 304
        assert client.get("/a.txt", "Range: bytes=0-1").status == 206
        assert client.get("/nothing").status == 404
        # The client may have its answer before the loop's turn is over.
        eventually(lambda: samples(fresh)['catzilla_http_connections{state="idle"}'] == 1)
        during = samples(fresh)
    assert during['catzilla_http_requests_total{route="/",method="GET",code="2xx"}'] == 7
    assert during['catzilla_http_requests_total{route="/",method="GET",code="3xx"}'] == 1
    assert during['catzilla_http_requests_total{route="/",method="GET",code="4xx"}'] == 1
    assert during['catzilla_http_responses_total{code="200"}'] == 6
    assert during['catzilla_http_responses_total{code="206"}'] == 1
    assert during['catzilla_http_responses_total{code="304"}'] == 1
    assert during['catzilla_http_responses_total{code="404"}'] == 1
    assert during['catzilla_static_requests_total{mount="site",result="not_modified"}'] == 1
    assert during['catzilla_static_requests_total{mount="site",result="not_found"}'] == 1
    assert during['catzilla_http_request_duration_seconds_count{route="/"}'] == 9
    assert during['catzilla_http_request_duration_seconds_bucket{route="/",le="+Inf"}'] == 9
    assert during["catzilla_http_keepalive_reuses_total"] == 8
    assert during["catzilla_http_sent_bytes_total"] > 9 * 100
    # The probe of the fixture and this client: gauges come back, they do not drift.
    eventually(lambda: samples(fresh)['catzilla_http_connections{state="idle"}'] == 0)
    assert samples(fresh)['catzilla_http_connections_closed_total{reason="client"}'] == 2


def test_a_refused_configuration_is_counted(fresh: Sidecar) -> None:
    fresh.config.write_text("mounts: [{name: site, prefix: 7}]\nnonsense: 1\n")
    assert fresh.process is not None
    fresh.process.send_signal(signal.SIGHUP)
    series = 'catzilla_config_rejections_total{source="file"}'
    eventually(lambda: samples(fresh)[series] >= 1)
    assert samples(fresh)['catzilla_config_info{version="1"}'] == 1


def test_promtool_has_nothing_to_say(fresh: Sidecar) -> None:
    with RawConnection(fresh.port) as client:
        for path in ("/", "/a.txt", "/nothing", "/a%20%22b%22%20%C3%A9/a.txt"):
            client.get(path)
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=ask(fresh, "/metrics").body,
        capture_output=True,
        timeout=60,
    )
    said = (checked.stdout + checked.stderr).decode()
    assert (checked.returncode, said) == (0, "")


def test_openmetrics_when_it_is_preferred(fresh: Sidecar) -> None:
    answer = ask(
        fresh, "/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )
    assert (
        answer.header("content-type")
        == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    text = answer.body.decode()
    assert text.endswith("\n# EOF\n")
    assert "# TYPE catzilla_http_requests counter\n" in text
    assert "# TYPE catzilla_build info\ncatzilla_build_info{" in text
    plain = ask(fresh, "/metrics")
    assert plain.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in plain.body


def test_random_requests_make_no_series(fresh: Sidecar) -> None:
    chance = random.Random(5)
    letters = string.ascii_letters + string.digits
    before = samples(fresh)

    def word() -> str:
        return "".join(chance.choices(letters, k=12))

    sent = 0
    for _ in range(100):
        with RawConnection(fresh.port) as client:
            for _ in range(5):
                lines = [
                    f"GET /{word()}/{word()}?{word()} HTTP/1.1\r\nHost: {word()}\r\n\r\n"
                    for _ in range(20)
                ]
                client.send("".join(lines).encode())
                sent += len(lines)
                for _ in lines:
                    assert client.read().status == 404
    for _ in range(200):
        with RawConnection(fresh.port) as client:
            client.send(f"{word().upper()} /{word()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.read().status in (405, 501)
    assert sent == 10_000
    after = samples(fresh)
    assert after['catzilla_http_responses_total{code="404"}'] == sent
    # At most the other methods and statuses that routes and connections may ever have.
    assert len(after) <= len(before) + 10


def test_a_scrape_does_not_wait_for_slow_clients(fresh: Sidecar) -> None:
    """Its own thread: a client that stops reading in the middle of a large file changes nothing."""
    with RawConnection(fresh.port) as client:
        client.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        started = time.monotonic()
        with urllib.request.urlopen(
            f"http://127.0.0.1:{fresh.ops_port}/metrics", timeout=5
        ) as answer:
            assert answer.status == 200
        assert time.monotonic() - started < 5
        now = samples(fresh)
        open_now = [
            value
            for series, value in now.items()
            if series.startswith("catzilla_http_connections{")
        ]
        assert sum(open_now) == 1
