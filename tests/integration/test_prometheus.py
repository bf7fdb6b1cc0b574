"""A real Prometheus server scrapes the sidecar, and answers queries about it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, free_port
from waiting import eventually

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: catzilla
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
READY_SECONDS = 60.0


class Prometheus:
    def __init__(self, folder: pathlib.Path, target_port: int) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(port=target_port))
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str, **parameters: str) -> object:
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        data = self.get("/api/v1/query", query=expression)
        assert isinstance(data, dict)
        return [(found["metric"], float(found["value"][1])) for found in data["result"]]

    def wait_for(self, expression: str, good: Callable[[float], bool]) -> float:
        """The value of the one series of `expression`, as soon as it is good."""
        values: list[float] = []

        def is_good() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                values[:] = [value for _, value in self.query(expression)]
                return len(values) == 1 and good(values[0])
            return False

        eventually(
            is_good,
            READY_SECONDS,
            lambda: f"{expression}: {values}\n{self.log.read_text()[-2000:]}",
        )
        return values[0]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("scraped")
    site = make_site(folder)
    with Sidecar(folder, f"mounts: [{{name: site, prefix: /, root: {site}}}]\n") as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(sidecar: Sidecar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), sidecar.ops_port)
    try:
        yield server
    finally:
        server.stop()


def test_the_target_is_up(prometheus: Prometheus) -> None:
    assert prometheus.wait_for("up", lambda value: value == 1) == 1
    targets = prometheus.get("/api/v1/targets")
    assert isinstance(targets, dict)
    assert [(one["health"], one["lastError"]) for one in targets["activeTargets"]] == [("up", "")]


def test_it_has_every_type(prometheus: Prometheus) -> None:
    prometheus.wait_for("up", lambda value: value == 1)
    metadata = prometheus.get("/api/v1/targets/metadata")
    assert isinstance(metadata, list)
    types = {one["metric"]: one["type"] for one in metadata}
    # Prometheus asks for OpenMetrics, where families are named without their suffix.
    assert types["catzilla_http_requests"] == "counter"
    assert types["catzilla_http_request_duration_seconds"] == "histogram"
    assert types["catzilla_http_connections"] == "gauge"
    assert types["catzilla_build"] == "info"


def test_traffic_is_seen(sidecar: Sidecar, prometheus: Prometheus) -> None:
    with RawConnection(sidecar.port) as client:
        for _ in range(100):
            assert client.get("/a.txt").status == 200
    series = 'catzilla_http_requests_total{route="/",method="GET",code="2xx"}'
    assert prometheus.wait_for(series, lambda value: value >= 100) == 100
    quantile = 'histogram_quantile(0.99, catzilla_http_request_duration_seconds_bucket{route="/"})'
    assert 0 < prometheus.wait_for(quantile, lambda value: value > 0) < 10
    assert prometheus.wait_for("scrape_samples_scraped", lambda value: value > 100) < 1000
    assert prometheus.wait_for("process_resident_memory_bytes", lambda value: value > 1e6)
