"""`catzilla deploy`: tells the running master to bring up new code, and waits for what comes of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Final

from catzilla._exceptions import CatzillaError, ConfigurationError
from catzilla._master import _run_files as run_files
from catzilla._master._sidecar import default_runtime_directory

_LOOK_EVERY: Final = 0.05


def deploy(runtime_directory: str | None, name: str | None, pid: int | None, timeout: float) -> int:
    """The exit code: 0 when the new code serves, 1 when it does not start. What served before goes on then."""
    path = _find(runtime_directory, name, pid)
    state = run_files.read_run(path)
    if state is None:
        raise CatzillaError("the master has just gone")
    awaited = state.newest + 1
    os.kill(state.pid, signal.SIGUSR2)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = run_files.read_run(path)
        if state is None:
            raise CatzillaError("the master has gone before the new code served: its log says why")
        fate = state.generations.get(awaited)
        if fate is not None and fate.state == run_files.SERVING:
            print(f"generation {awaited} serves: {fate.text}")
            return 0
        if fate is not None and fate.state == run_files.FAILED:
            print(f"{fate.details}catzilla: {fate.text}", file=sys.stderr)
            print(f"catzilla: generation {awaited} does not serve, what served before goes on", file=sys.stderr)
            return 1
        if fate is not None and fate.state == run_files.REPLACED and state.newest > awaited:
            awaited += 1  # Somebody deploys at the same time: that code is as new as ours.
            continue
        time.sleep(_LOOK_EVERY)
    raise CatzillaError(
        f"generation {awaited} does not serve within {timeout:g} s: it takes over when it is ready, the log says more"
    )


def _find(runtime_directory: str | None, name: str | None, pid: int | None) -> str:
    runs = run_files.find_runs(runtime_directory, default_runtime_directory())
    fit = [
        path
        for path, state in runs.items()
        if (name is None or state.app == name) and (pid is None or state.pid == pid)
    ]
    if len(fit) == 1:
        return fit[0]
    those = ", ".join(f"{state.app} (pid {state.pid})" for state in runs.values())
    if len(fit) > 1:
        raise ConfigurationError(f"several apps run here: {those}: choose one with --name or --pid")
    asked = " with that --name or --pid" if those and (name or pid) else ""
    raise ConfigurationError(
        f"no `catzilla run`{asked} was found{f': there is {those}' if those else ''}; "
        "is it another user's, or in another container? --runtime-dir names where it has its sockets"
    )
