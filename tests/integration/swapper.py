"""A program that swaps what is served for links that lead out of the root, as fast as it can.

swapper.py FOLDER KIND...: repeats the kinds until its standard input ends, then prints how often. The tree is
make_race_tree()'s; FOLDER/stage is where what is not in the root at the moment waits.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import select
import sys
from collections.abc import Callable

SECRET = b"SECRET-OF-THE-OUTSIDE"
# The versions of a file: other lengths, so that a head of one with bytes of the other shows.
FIRST, SECOND = b"first " * 100, b"second " * 700
_EXCHANGE = 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


def make_race_tree(folder: pathlib.Path) -> pathlib.Path:
    site, outside, stage = folder / "site", folder / "outside", folder / "stage"
    for path in ("tree/inner", "plain", "links/one", "links/two", "up/moving"):
        (site / path).mkdir(parents=True)
    (outside / "inner").mkdir(parents=True)
    stage.mkdir()
    for name in ("tree/inner/file", "tree/file", "plain/file", "links/one/file"):
        (site / name).write_bytes(FIRST)
    (site / "links/two/file").write_bytes(SECOND)
    for name in ("file", "inner/file", "marker"):
        (outside / name).write_bytes(SECRET * 50)
    (stage / "tree").symlink_to(outside)
    (site / "links/now").symlink_to("one")
    # In the root it leads to site/up/marker; while its directory is outside, to the outside's.
    (site / "up/moving/link").symlink_to("../marker")
    (site / "up/marker").write_bytes(FIRST)
    return site


def exchange(one: bytes, other: bytes) -> None:
    if _libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), f"exchange {one!r} and {other!r}")


def directory_for_link(folder: pathlib.Path) -> Callable[[], None]:
    """site/tree is the directory, then a link to the outside: one system call, never missing."""
    here, there = os.fsencode(folder / "site/tree"), os.fsencode(folder / "stage/tree")
    return lambda: exchange(here, there)


def file_for_link(folder: pathlib.Path) -> Callable[[], None]:
    """site/plain/file is one version, a link to the outside, the other version, nothing."""
    name, stage, turn = folder / "site/plain/file", folder / "stage", 0

    def swap() -> None:
        nonlocal turn
        turn += 1
        new = stage / "plain"
        if turn % 4 == 0:
            name.unlink()
        elif turn % 4 == 2:
            new.symlink_to(folder / "outside/file")
            new.rename(name)
        else:
            new.write_bytes(FIRST if turn % 4 == 1 else SECOND)
            new.rename(name)

    return swap


def link_for_link(folder: pathlib.Path) -> Callable[[], None]:
    """site/links/now leads to one, to the outside, to two, to the outside by a relative path."""
    name, new, turn = folder / "site/links/now", folder / "stage/now", 0
    targets = ("one", str(folder / "outside"), "two", "../../outside")

    def swap() -> None:
        nonlocal turn
        turn += 1
        new.symlink_to(targets[turn % 4])
        new.rename(name)

    return swap


def directory_out_and_in(folder: pathlib.Path) -> Callable[[], None]:
    """site/up/moving leaves the root with a link in it that climbs, and comes back."""
    inside, outside, is_inside = folder / "site/up/moving", folder / "outside/moving", True

    def swap() -> None:
        nonlocal is_inside
        os.rename(inside if is_inside else outside, outside if is_inside else inside)
        is_inside = not is_inside

    return swap


KINDS = {
    "tree": directory_for_link,
    "plain": file_for_link,
    "links": link_for_link,
    "up": directory_out_and_in,
}


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    swaps = [KINDS[kind](folder) for kind in sys.argv[2:]]
    rounds = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(16):
            for swap in swaps:
                swap()
        rounds += 16
    print(rounds)


if __name__ == "__main__":
    main()
