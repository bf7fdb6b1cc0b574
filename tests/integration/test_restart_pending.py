"""A change of what only a restart can change: the rest goes live, and it is said (O16)."""

from __future__ import annotations

import os
import pathlib
import signal
import urllib.request

from app_process import eventually
from conftest import make_site
from raw_http import RawConnection
from sidecar_process import Sidecar, free_port, metric
from test_catzillactl import ctl


def test_o16_the_rest_goes_live_and_what_waits_is_said(tmp_path: pathlib.Path) -> None:
    site = make_site(tmp_path)
    mounts = f"mounts: [{{name: site, prefix: /, root: {site}}}]\n"
    secret = {"CATZILLA_TEST": "0123456789abcdef"}
    with Sidecar(tmp_path, mounts, environment=secret) as sidecar:
        assert metric(sidecar, "catzilla_config_restart_pending") == 0
        sidecar.config.write_text(
            f"{mounts}server_name: new\n"
            "telemetry:\n  access_log_buffer: 1MiB\n"
            f"control:\n  tcp_address: 127.0.0.1:{free_port()}\n  token: ${{env:CATZILLA_TEST}}\n"
        )
        os.kill(sidecar.pid, signal.SIGHUP)
        with RawConnection(sidecar.port) as client:
            eventually(lambda: client.get("/a.txt").header("server") == "new")
        eventually(lambda: metric(sidecar, "catzilla_config_restart_pending") == 3)
        said = "CZ1401: telemetry.access_log_buffer: stays as it is until the sidecar"
        eventually(lambda: said in sidecar.log())
        where = f"{sidecar.config}:4: warning CZ1401"  # With the line in the file.
        eventually(lambda: where in sidecar.log())
        with urllib.request.urlopen(f"http://127.0.0.1:{sidecar.ops_port}/readyz") as ready:
            assert ready.status == 200

        told = ctl(sidecar, "status", cwd=tmp_path).stdout
        assert "state      serving" in told
        assert "restart    is needed for 3 changed fields" in told
        assert "control.tcp_address" in told
        got = ctl(sidecar, "get", "config", cwd=tmp_path)
        assert 'access_log_buffer: "4MiB"' in got.stdout, "what is effective is what runs"
        assert "warning CZ1401 telemetry.access_log_buffer" in got.stderr

        # Back again: nothing waits any more.
        sidecar.config.write_text(f"{mounts}server_name: new\n")
        os.kill(sidecar.pid, signal.SIGHUP)
        eventually(lambda: metric(sidecar, "catzilla_config_restart_pending") == 0)
        assert "restart " not in ctl(sidecar, "status", cwd=tmp_path).stdout


def test_o16_apply_warns_and_strict_refuses(sidecar: Sidecar, tmp_path: pathlib.Path) -> None:
    change = tmp_path / "change.yaml"
    change.write_text("server_name: applied\ntelemetry: {access_log_buffer: 1MiB}\n")
    refused = ctl(sidecar, "apply", "--strict", "-f", str(change), cwd=tmp_path)
    assert refused.returncode == 6
    assert "error CZ1401 telemetry.access_log_buffer" in refused.stderr
    assert "cannot change while the sidecar runs" in refused.stderr
    dry = ctl(sidecar, "diff", "-f", str(change), cwd=tmp_path)
    assert dry.returncode == 3
    assert "+   server_name: applied" in dry.stdout
    assert "access_log_buffer" not in dry.stdout
    assert "warning CZ1401 telemetry.access_log_buffer" in dry.stderr
    applied = ctl(sidecar, "apply", "-f", str(change), cwd=tmp_path)
    assert applied.returncode == 0, applied.stderr
    assert "warning CZ1401 telemetry.access_log_buffer" in applied.stderr
    with RawConnection(sidecar.port) as client:
        eventually(lambda: client.get("/").header("server") == "applied")
