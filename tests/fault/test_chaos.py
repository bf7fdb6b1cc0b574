"""The chaos run. What it must show: a deploy, a restart and a lost worker cost no request that may be sent twice."""

from __future__ import annotations

import os
import pathlib
import random
import sys
import time
from collections import Counter

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))
from attached_site import Site
from clients import Counts, Load, Phases
from events import EVENTS, ORDER, QUIET
from table import excess, markdown
from waiting import pause

SECONDS = float(os.environ.get("CATZILLA_CHAOS_SECONDS", "30"))
SEED = int(os.environ.get("CATZILLA_CHAOS_SEED", "7"))
TABLE = os.environ.get("CATZILLA_CHAOS_TABLE", "")
CLIENTS = 8
REST = 0.5


def test_chaos(tmp_path: pathlib.Path) -> None:
    chance = random.Random(SEED)
    phases = Phases(ORDER)
    happened: Counter[str] = Counter()
    with Site(tmp_path) as site, Load(site.sidecar.port, phases, CLIENTS) as load:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            # Each kind in each round, in another order.
            for event in chance.sample(EVENTS, len(EVENTS)):
                pause(REST)
                phases.enter(event.name)
                event.happens(site, chance)
                phases.enter(QUIET)
                happened[event.name] += 1
                if time.monotonic() >= end and len(happened) == len(EVENTS):
                    break
        pause(REST)
    counts = load.counts
    text = markdown(counts, happened)
    print(text)
    print(f"{load.rate:.0f} requests/s, the slowest took {load.slowest:.1f} s")
    if TABLE:
        rate = f"{load.rate:.0f} requests/s in the mean, the slowest took {load.slowest:.1f} s.\n"
        pathlib.Path(TABLE).write_text(f"{text}\n{rate}")
    assert not excess(counts, happened, CLIENTS), text
    assert counts.requests[QUIET] > 100, "the load flows"
    assert min(happened.values()) >= 1


def test_what_may_not_be_is_found() -> None:
    counts = Counts()
    phases = Phases(ORDER)
    began = time.monotonic()
    phases.enter(EVENTS[-1].name)
    phases.enter(QUIET)
    assert phases.during(began, time.monotonic()) == EVENTS[-1].name
    now = time.monotonic()
    assert phases.during(now, now) == QUIET
    for outcome in ("200", "503", "502"):
        counts.add(QUIET, "GET", outcome)
    kill = next(event.name for event in EVENTS if event.others == {"502"})
    for method in ("POST", "POST", "GET"):
        counts.add(kill, method, "502")
    assert excess(counts, Counter({kill: 1}), clients=1) == [
        f"1 × GET: 502, during: {kill}",
        f"2 × POST: 502, more than clients, during: {kill}",
        "1 × GET: 502, during: nothing",
        "1 × GET: 503, during: nothing",
    ]
    assert f"| {kill} | 1 | 3 | 1 | 2 | 3 502 |" in markdown(counts, Counter({kill: 1}))
