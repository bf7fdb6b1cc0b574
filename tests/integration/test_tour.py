"""docs/tour.md, word for word: every command it shows, against the example as a user starts it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tour import Shell, Step, matches, read_steps

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from shop_process import ShopProcess

PAGE = ROOT / "docs" / "tour.md"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopProcess]:
    with ShopProcess(tmp_path_factory.mktemp("tour")) as running:
        yield running


def test_every_transcript_of_the_tour_is_true(shop: ShopProcess) -> None:
    here = {"127.0.0.1:8080": shop.url, "127.0.0.1:9901": shop.ops_url}
    ports = {told: url.removeprefix("http://") for told, url in here.items()}
    steps = list(read_steps(PAGE.read_text()))
    assert len(steps) >= 12
    with Shell(ROOT, shop.environment) as shell:
        for step in steps:
            command = step.command
            for told, actual in ports.items():
                command = command.replace(told, actual)
            lines = shell.run(command)
            for told, actual in ports.items():
                lines = [line.replace(actual, told) for line in lines]
            assert matches(step.expected, lines), said(step, lines)


def said(step: Step, lines: list[str]) -> str:
    return "\n".join(
        [
            f"docs/tour.md:{step.line}: $ {step.command}",
            "-- it says",
            *step.expected,
            "-- but",
            *lines,
        ]
    )


def test_the_tour_shows_every_ability() -> None:
    text = PAGE.read_text()
    for ability in (
        "304 Not Modified",
        "206 Partial Content",
        "Cache-Status: catzilla; hit",
        "cache purge --tag report",
        "mount add",
        "text/event-stream",
        "/metrics",
    ):
        assert ability in text


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        (["a"], ["a", "b"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["...", "c"], ["a", "b", "c"], True),
        (["a", "...", "c"], ["a", "c"], True),
        (["..."], [], True),
        (['{"id":...}'], ['{"id":7}'], True),
        (['{"id":...}'], ['{"id":7} x'], False),
        (["a.c"], ["abc"], False),
        ([], ["a"], False),
    ],
)
def test_what_a_transcript_line_means(expected: list[str], actual: list[str], fits: bool) -> None:
    assert matches(expected, actual) is fits


def test_transcripts_are_read_from_console_blocks_only() -> None:
    page = "text\n```sh\n$ no\n```\n```console\n$ a\n> b\nx\n$ c\n```\n$ no\n```console\n$ d\n..."
    assert list(read_steps(page)) == [
        Step(6, "a\nb", ["x"]), Step(9, "c", []), Step(13, "d", ["..."]),
    ]  # fmt: skip
