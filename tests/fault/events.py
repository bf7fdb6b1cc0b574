"""What is done to a site under load, and what each event may cost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from attached_site import Site
from waiting import pause

QUIET = "nothing"


@dataclass(frozen=True)
class Event:
    name: str
    happens: Callable[[Site, random.Random], None]
    # Reasons that may occur, each at most so often for one event. The others may not occur at all.
    idempotent: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    why: str = ""


def _one(site: Site, chance: random.Random) -> int:
    return chance.choice(sorted(site.ready()))


def restart(site: Site, chance: random.Random) -> None:
    site.ctl("worker", "restart", "--wait")


def restart_one(site: Site, chance: random.Random) -> None:
    site.ctl("worker", "restart", "--worker", str(_one(site, chance)), "--wait")


def refresh(site: Site, chance: random.Random) -> None:
    before = site.ready()
    os.kill(site.master, signal.SIGHUP)
    site.until_all_serve(without=before)


def deploy(site: Site, chance: random.Random) -> None:
    site.deploy()
    site.until_all_serve()


def reload_configuration(site: Site, chance: random.Random) -> None:
    process = site.sidecar.process
    assert process is not None
    process.send_signal(signal.SIGHUP)
    pause(0.3)


def stop_and_continue(site: Site, chance: random.Random) -> None:
    pid = _one(site, chance)
    os.kill(pid, signal.SIGSTOP)
    try:
        pause(1.0)
    finally:
        os.kill(pid, signal.SIGCONT)
    pause(0.3)


def terminate(site: Site, chance: random.Random) -> None:
    pid = _one(site, chance)
    os.kill(pid, signal.SIGTERM)
    site.until_all_serve(without={pid})


def kill(site: Site, chance: random.Random) -> None:
    pid = _one(site, chance)
    os.kill(pid, signal.SIGKILL)
    site.until_all_serve(without={pid})


def restart_sidecar(site: Site, chance: random.Random) -> None:
    site.sidecar.stop(60)
    site.start_sidecar_again()


def kill_sidecar(site: Site, chance: random.Random) -> None:
    site.kill_sidecar()
    site.start_sidecar_again()


AWAY = frozenset({"refused", "503", "closed before the answer", "ConnectionResetError"})

# From what costs nothing to what costs most: a request belongs to the hardest one that it has seen.
EVENTS = (
    Event("configuration reloaded (SIGHUP)", reload_configuration),
    Event("all workers replaced (worker restart)", restart),
    Event("one worker replaced (worker restart --worker)", restart_one),
    Event("all workers replaced (SIGHUP)", refresh),
    Event("one worker told to go (SIGTERM)", terminate),
    Event("new code (catzilla deploy)", deploy),
    Event("a worker stopped for 1 s (SIGSTOP, SIGCONT)", stop_and_continue),
    Event(
        "a worker killed (kill -9)",
        kill,
        others=frozenset({"502"}),
        why="what it had begun and may not be sent twice: at most one for each client",
    ),
    Event(
        "the sidecar restarted (SIGTERM)",
        restart_sidecar,
        idempotent=AWAY,
        others=AWAY,
        why="nobody listens until it is back; then 503 until the app has registered",
    ),
    Event(
        "the sidecar killed (kill -9)",
        kill_sidecar,
        idempotent=AWAY | {"closed within the answer"},
        others=AWAY | {"closed within the answer"},
        why="as above, and what was under way is lost",
    ),
)
ORDER = (QUIET, *(event.name for event in EVENTS))
