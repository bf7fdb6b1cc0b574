"""Fields that are marked live take effect while the sidecar runs; those read at its start do so there, too.

O5, S16: each test names the fault it keeps away.
"""

from __future__ import annotations

import os
import pathlib
import signal
import time

import pytest
from app_process import eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, metric, metrics


def one_loop(folder: pathlib.Path, config: str) -> Sidecar:
    return Sidecar(folder, config, arguments=("--loops", "1"))


def apply(sidecar: Sidecar, config: str) -> None:
    """Returns when `config` is what requests meet: the one loop names another server in its answers."""
    name = f"test-{time.monotonic_ns()}"
    sidecar.config.write_text(f"server_name: {name}\n{config}")
    os.kill(sidecar.pid, signal.SIGHUP)

    def is_met() -> bool:
        with RawConnection(sidecar.port) as raw:
            return raw.get("/asked").header("server") == name

    eventually(is_met)


def test_o5_the_access_log_goes_on_off_and_elsewhere(tmp_path: pathlib.Path) -> None:
    mounts = f"mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]\n"
    one, two = tmp_path / "one.log", tmp_path / "two.log"

    def config(on: bool, path: pathlib.Path) -> str:
        return f"telemetry: {{access_log: {str(on).lower()}, access_log_path: {path}}}\n{mounts}"

    with one_loop(tmp_path, config(False, one)) as sidecar:

        def ask(name: str) -> None:
            with RawConnection(sidecar.port) as raw:
                assert raw.get(f"/{name}").status == 404

        ask("before")
        assert not one.exists()
        apply(sidecar, config(True, one))
        ask("first")
        eventually(lambda: "/first" in one.read_text())
        assert "/before" not in one.read_text()
        apply(sidecar, config(True, two))
        ask("second")
        eventually(lambda: "/second" in two.read_text())
        assert "/second" not in one.read_text()
        apply(sidecar, config(False, two))
        ask("third")
        apply(sidecar, config(True, tmp_path / "no" / "such" / "folder.log"))
        eventually(lambda: "it stays as it was" in sidecar.log())
        ask("fourth")
        apply(sidecar, config(True, two))
        ask("fifth")
        eventually(lambda: "/fifth" in two.read_text())
        assert "/third" not in two.read_text()
        assert "/fourth" not in two.read_text()


def test_o5_more_series_give_a_mount_its_own(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    mounts = "\n".join(f"  - {{name: m{n}, prefix: /m{n}, root: {site}}}" for n in range(20))
    config = f"telemetry: {{max_series: MOST}}\nmounts:\n{mounts}\n"
    with one_loop(tmp_path, config.replace("MOST", "100")) as sidecar:
        assert not any('route="/m19"' in series for series in metrics(sidecar))
        apply(sidecar, config.replace("MOST", "10000"))
        with RawConnection(sidecar.port) as raw:
            assert raw.get("/m19/a.txt").status == 200
        eventually(lambda: any('route="/m19"' in series for series in metrics(sidecar)))


def test_o5_the_time_for_draining_is_that_of_the_moment(tmp_path: pathlib.Path) -> None:
    mounts = f"mounts: [{{name: s, prefix: /, root: {make_site(tmp_path)}}}]\n"
    with one_loop(tmp_path, "drain: {timeout: 1h}\n" + mounts) as sidecar:
        apply(sidecar, "drain: {timeout: 100ms}\n" + mounts)
        with RawConnection(sidecar.port) as raw:
            raw.send(b"POST /a.txt HTTP/1.1\r\nHost: t\r\nContent-Le")  # Never goes on.
            eventually(lambda: metric(sidecar, "catzilla_http_connections_accepted_total") > 0)
            sidecar.stop(25)


@pytest.mark.parametrize(("level", "speaks"), [("error", False), ("info", True)])
def test_o5_the_level_of_the_log_counts_from_the_start(
    tmp_path: pathlib.Path, level: str, speaks: bool
) -> None:
    with one_loop(tmp_path, f"telemetry: {{log_level: {level}}}\n") as sidecar:
        apply(sidecar, "telemetry: {log_level: info}\n")
        eventually(lambda: "configuration version" in sidecar.log())
        assert ("listening on" in sidecar.log()) == speaks


def test_s16_o5_more_connections_than_at_the_start(tmp_path: pathlib.Path) -> None:
    with one_loop(tmp_path, "limits: {max_connections: 1}\n") as sidecar:
        eventually(lambda: metric(sidecar, "catzilla_http_connections_max") == 1)
        apply(sidecar, "limits: {max_connections: 3}\n")
        assert metric(sidecar, "catzilla_http_connections_max") == 3
        kept: list[RawConnection] = []

        def another() -> bool:
            kept.append(RawConnection(sidecar.port))
            if kept[-1].get("/").status == 404:
                return True
            kept.pop().close()
            return False

        for _ in range(3):
            eventually(another)
        for raw in kept:
            raw.close()
