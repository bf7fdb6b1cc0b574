"""Random apps asked at random: with lanes and without, every answer, and what has run by then, is the same.

CATZILLA_RANDOM_APPS: how many; CATZILLA_RANDOM_SEED: the first one's seed, to see one again.
"""

import asyncio
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from lane_harness import serving
from random_apps import Maker
from test_lanes import Pure, answer_of

APPS = int(os.environ.get("CATZILLA_RANDOM_APPS", "40"))
FIRST = int(os.environ.get("CATZILLA_RANDOM_SEED", "1"))


async def answers(folder: Path, seed: int, lanes: bool, served: dict[str, int]) -> list[Any]:
    maker = Maker(seed)
    if seed % 3 == 0:
        maker.app.add_middleware(Pure)
    async with serving(folder, maker.app, lanes=lanes) as client:
        given = []
        for request in maker.requests:
            given.append((await answer_of(client, request), await answer_of(client, ("GET", "/log", b"", []))))
            if lanes:
                exchange = await client.open(*request)
                try:
                    head, _ = await exchange.head()
                except Exception:
                    continue
                served[("slow", "stack", "fast")[head.lane]] = served.get(("slow", "stack", "fast")[head.lane], 0) + 1
                await exchange.credited.wait() if exchange.detached else None
                await client.ask("GET", "/log")
        return given


@pytest.mark.parametrize("group", range(4))
def test_random_apps_answer_the_same(tmp_path: Path, group: int, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("catzilla.error").setLevel(logging.CRITICAL)
    served: dict[str, int] = {}
    for seed in range(FIRST + group, FIRST + APPS, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            slow = asyncio.run(answers(tmp_path, seed, False, served))
            fast = asyncio.run(answers(tmp_path, seed, True, served))
            requests = Maker(seed).requests
        for request, one, other in zip(requests, slow, fast, strict=True):
            assert one == other, f"CATZILLA_RANDOM_SEED={seed}: {request}"
    assert served["fast"] > sum(served.values()) / 8, served
    assert served["stack"] > sum(served.values()) / 16, served
