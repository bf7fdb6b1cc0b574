"""When a change on disk is seen, by each way of mounts[].invalidation."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import pytest
from app_process import eventually
from raw_http import RawConnection
from sidecar_process import Sidecar, metric

WINDOW = 3.0


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("one", "two"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "page.txt").write_text(name)
    (tmp_path / "current").symlink_to("releases/one")
    return tmp_path


@pytest.fixture
def sidecar(tree: pathlib.Path) -> Iterator[Sidecar]:
    mounts = "".join(
        f"  - {{name: {way}, prefix: /{way}, root: {tree}/current, revalidate: {WINDOW}s,"
        f" invalidation: {way}}}\n"
        for way in ("immediate", "lazy", "ttl")
    )
    with Sidecar(tree, f"mounts:\n{mounts}") as running:
        yield running


def body(sidecar: Sidecar, path: str) -> bytes:
    with RawConnection(sidecar.port) as raw:
        answer = raw.get(path)
        return answer.body if answer.status == 200 else str(answer.status).encode()


def seen_after(sidecar: Sidecar, path: str, expected: bytes) -> float:
    began = time.monotonic()
    eventually(lambda: body(sidecar, path) == expected)
    return time.monotonic() - began


def test_a_told_change_is_seen_at_once(sidecar: Sidecar, tree: pathlib.Path) -> None:
    page = tree / "releases" / "one" / "page.txt"
    assert body(sidecar, "/immediate/page.txt") == b"one"
    page.write_text("rewritten in place")
    assert seen_after(sidecar, "/immediate/page.txt", b"rewritten in place") < WINDOW / 3
    assert body(sidecar, "/immediate/new.txt") == b"404"
    (page.parent / "new.txt").write_text("new")
    assert seen_after(sidecar, "/immediate/new.txt", b"new") < WINDOW / 3
    page.unlink()
    assert seen_after(sidecar, "/immediate/page.txt", b"404") < WINDOW / 3


def test_a_release_switched_by_its_symlink_is_seen_at_once(
    sidecar: Sidecar, tree: pathlib.Path
) -> None:
    assert body(sidecar, "/immediate/page.txt") == b"one"
    (tree / "next").symlink_to("releases/two")
    (tree / "next").rename(tree / "current")
    assert seen_after(sidecar, "/immediate/page.txt", b"two") < WINDOW / 3


@pytest.mark.parametrize("way", ["lazy", "ttl"])
def test_the_other_ways_see_it_within_the_window(
    sidecar: Sidecar, tree: pathlib.Path, way: str
) -> None:
    page = tree / "releases" / "one" / "page.txt"
    assert body(sidecar, f"/{way}/page.txt") == b"one"
    page.write_text("changed")
    assert body(sidecar, f"/{way}/page.txt") == b"one"
    assert seen_after(sidecar, f"/{way}/page.txt", b"changed") < WINDOW + 2


def test_the_state_is_a_metric(sidecar: Sidecar) -> None:
    assert metric(sidecar, 'catzilla_static_watch_active{mount="immediate"}') == 1
    assert metric(sidecar, 'catzilla_static_watch_active{mount="lazy"}') == 0
