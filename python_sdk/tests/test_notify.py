"""What systemd hears of the master: READY once workers serve, RELOADING until the new code does, STOPPING."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_harness import APP, HERE, PATIENCE, Run

from catzilla._master._notify import Notifier

UNIT = HERE.parents[1] / "deploy" / "systemd" / "catzilla.service"


class Manager:
    """systemd's end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def next(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


SAYS = """
@app.get("/environment")
def environment():
    return os.environ.get("NOTIFY_SOCKET", "")
"""


def test_the_life_of_a_service(launch: Any, manager: Manager, tmp_path: Path) -> None:
    source = APP + SAYS
    run: Run = launch(source, "--workers", "2", env={"NOTIFY_SOCKET": str(manager.path)})
    told = manager.next()
    assert told["READY"] == "1"
    assert told["STATUS"].startswith("serving app_under_test:app on ")
    assert run.get("/environment").body == b'""'  # Only the master speaks for the service.
    (tmp_path / "app_under_test.py").write_text(source.replace("VERSION = 1", "VERSION = 2"))
    run.process.send_signal(12)  # SIGUSR2
    told = manager.next()
    assert (told["RELOADING"], told["STATUS"]) == ("1", "SIGUSR2")
    assert int(told["MONOTONIC_USEC"]) > 0
    assert manager.next()["READY"] == "1"
    (tmp_path / "app_under_test.py").write_text("1/0\n")
    run.process.send_signal(12)
    assert manager.next()["RELOADING"] == "1"
    told = manager.next()
    assert told["READY"] == "1"
    assert told["STATUS"].startswith("generation 2 serves on: ")
    assert "ZeroDivisionError" in told["STATUS"]
    run.process.terminate()
    assert manager.next()["STOPPING"] == "1"
    assert run.process.wait(PATIENCE) == 0


def test_a_reload_that_nobody_asked_for_is_told_too(launch: Any, manager: Manager, tmp_path: Path) -> None:
    run: Run = launch(APP, "--reload", env={"NOTIFY_SOCKET": str(manager.path)})
    assert manager.next()["READY"] == "1"
    (tmp_path / "app_under_test.py").write_text("1/0\n")
    assert manager.next()["STATUS"].endswith("app_under_test.py has changed")
    assert manager.next()["READY"] == "1"
    assert run.stop() == 0


def test_names_without_a_file_and_nobody_who_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = f"catzilla-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notifier = Notifier()
        assert "NOTIFY_SOCKET" not in os.environ
        notifier.ready("two\nREADY=0")
        assert listening.recv(4096) == b"READY=1\nSTATUS=two\\nREADY=0"
        notifier.reloaded("it was not reloading")
        notifier.stopping("now")
        assert listening.recv(4096) == b"STOPPING=1\nSTATUS=now"
        # Its queue is full: what does not fit is dropped, and nobody waits.
        for _ in range(1000):
            notifier.ready("x" * 300)
        notifier.close()
    for path in (str(tmp_path / "nobody"), "relative", ""):
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        silent = Notifier()
        silent.ready("unheard")
        silent.close()
        silent.ready("after its end")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # The program and its user are where the unit is installed, not here.
    text = UNIT.read_text().replace("/srv/app/.venv/bin/catzilla", sys.executable)
    unit = tmp_path / "catzilla.service"
    unit.write_text(text)
    made = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    ours = [line for line in made.stderr.splitlines() if "catzilla" in line]
    assert (made.returncode, ours) == (0, [])
    unit.write_text(text.replace("Type=notify", "Type=nonsense"))  # It does look.
    made = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "nonsense" in made.stderr
    made = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
