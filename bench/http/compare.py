"""Two builds of ours on the paths that are hot, interleaved: what a change costs each of them.

Usage: ./dev bench compare --base BIN_DIR [--ours BIN_DIR] [--rounds N] [--seconds N] [SCENARIO...]

BIN_DIR holds the `catzilla-sidecar` of the commit before. Both are started anew for each third of the rounds: where
a process's pages happen to lie is worth a percent or two, for as long as it lives. Fails if a path costs more than
before in every single round: with nine rounds that is chance once in five hundred times.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable

import machine
import network
import peers
from fairness import Unfair, Wanted
from measure import Sample, Server, interleave

APPS = pathlib.Path(__file__).resolve().parent
BEFORE, AFTER = "before", "after"
STARTS = 3


class Paths:
    """The hot paths, each as a contender of one build."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "1k.bin").write_bytes(b"x" * 1024)

    def hot(self, name: str, binaries: pathlib.Path) -> Server:
        return peers.catzilla(self.folder, self.files, "/1k.bin", name=name, binaries=binaries)

    def validated(self, name: str, binaries: pathlib.Path) -> Server:
        return peers.asking(self.hot(name, binaries), {"If-None-Match": "*"}, Wanted(304, 0))

    def cached(self, name: str, binaries: pathlib.Path) -> Server:
        return peers.catzilla_app(APPS, "/stored", self.folder, name=name, binaries=binaries)

    def hello(self, name: str, binaries: pathlib.Path) -> Server:
        return peers.catzilla_app(APPS, "/hello", self.folder, name=name, binaries=binaries)


def scenarios(paths: Paths) -> dict[str, tuple[Callable[[str, pathlib.Path], Server], int]]:
    """Each with how many requests are sent at once on a connection."""
    return {
        "hot 1 KiB file": (paths.hot, 1),
        "304": (paths.validated, 1),
        "16 pipelined": (paths.hot, 16),
        "cache hit": (paths.cached, 1),
        "dynamic hello": (paths.hello, 1),
    }


def ratios(samples: dict[str, list[Sample]]) -> list[float]:
    return [
        after.cpu_us / before.cpu_us
        for before, after in zip(samples[BEFORE], samples[AFTER], strict=True)
    ]


def dearer(found: list[float]) -> bool:
    """Not one round in which the change cost nothing."""
    return min(found) > 1.0


def row(name: str, samples: dict[str, list[Sample]]) -> str:
    before, after = (
        statistics.median(sample.cpu_us for sample in samples[which]) for which in (BEFORE, AFTER)
    )
    found = ratios(samples)
    return (
        f"| {name} | {before:.2f} | {after:.2f} | {statistics.median(found):.3f} "
        f"| {min(found):.3f}–{max(found):.3f} | {'dearer' if dearer(found) else 'holds'} |"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./dev bench compare", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="parts of their names; default: all")
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--ours", type=pathlib.Path, default=peers.BINARIES)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args(arguments)
    network.enter()
    for binaries in (options.base, options.ours):
        if not (binaries / "catzilla-sidecar").exists():
            parser.error(f"{binaries}/catzilla-sidecar does not exist")
    print(
        f"{machine.description()}; 32 connections, {options.rounds} rounds of {options.seconds} s"
    )
    print(f"before: {options.base}; after: {options.ours}\n")
    print("| path | before, CPU µs | after | ratio, round by round | min–max | |")
    print("| --- | ---: | ---: | ---: | ---: | --- |", flush=True)
    worse = False
    with tempfile.TemporaryDirectory(prefix="catzilla-compare-") as name:
        folder = pathlib.Path(name)
        for title, (contender, pipeline) in scenarios(Paths(folder)).items():
            if options.scenarios and not any(part in title for part in options.scenarios):
                continue
            samples: dict[str, list[Sample]] = {BEFORE: [], AFTER: []}
            try:
                for _ in range(STARTS):
                    part = interleave(
                        [
                            contender(BEFORE, options.base.resolve()),
                            contender(AFTER, options.ours.resolve()),
                        ],
                        rounds=max(options.rounds // STARTS, 1),
                        seconds=options.seconds,
                        connections=32,
                        log=folder / "servers.log",
                        pipeline=pipeline,
                    )
                    for which, found in part.items():
                        samples[which] += found
            except Unfair as error:
                print(f"\nUNFAIR, no figure for {title}: {error}", file=sys.stderr)
                return 1
            print(row(title, samples), flush=True)
            worse = worse or dearer(ratios(samples))
    return 1 if worse else 0
