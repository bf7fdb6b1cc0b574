"""The bench refuses figures that show a mistake of ours (O9: a setting that switched a peer's keep-alive off)."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "http"))

import measure

FINE = {"connections": 32, "opened": 32, "used": 2.9, "took": 3.0}


def test_o9_a_fair_round_passes() -> None:
    measure.judge("peer", "93 requests in 3.00s", **FINE)


@pytest.mark.parametrize(
    ("change", "said", "why"),
    [
        ({"opened": 93_000}, "", "does not keep its connections"),
        ({"used": 5.5}, "", "more than its one core"),
        ({}, "Socket errors: connect 0, read 7, write 0, timeout 0", "Socket errors"),
    ],
)
def test_o9_an_unfair_round_ends_the_bench(change: dict[str, float], said: str, why: str) -> None:
    with pytest.raises(measure.Unfair, match=why):
        measure.judge("peer", said, **{**FINE, **change})


def test_o9_accepted_connections_are_counted() -> None:
    assert measure.passive_opens() >= 0


def test_o9_a_version_is_one_line() -> None:
    server = measure.Server("x", lambda port: [], "/", version=[sys.executable, "--version"])
    assert measure.version_of(server).startswith("Python 3")
