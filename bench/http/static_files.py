"""Static files in more ways than the hot one: pipelined, validated, in parts, coded, large, many mounts."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib

import chart
import peers
from fairness import Wanted
from measure import Sample, Server, bytes_table, interleave, medians, table

Sections = list[tuple[str, str]]


@dataclasses.dataclass
class Bench:
    """One scenario's folder, files and options."""

    folder: pathlib.Path
    options: argparse.Namespace

    def __post_init__(self) -> None:
        self.files = self.folder / "files"
        self.files.mkdir()
        self.folder.chmod(0o755)
        self.files.chmod(0o755)

    def file(self, name: str, content: bytes) -> str:
        (self.files / name).write_bytes(content)
        return f"/{name}"

    def run(
        self, contenders: list[Server], connections: int, pipeline: int = 1
    ) -> dict[str, list[Sample]]:
        samples: dict[str, list[Sample]] = interleave(
            contenders,
            rounds=self.options.rounds,
            seconds=self.options.seconds,
            connections=connections,
            log=self.folder / "servers.log",
            pipeline=pipeline,
        )
        return samples


def pipelined(bench: Bench, drawing: pathlib.Path) -> Sections:
    path = bench.file("1k.bin", b"x" * 1024)
    contenders = [
        peers.floor(1024),
        peers.catzilla(bench.folder, bench.files, path),
        peers.nginx(bench.folder, bench.files, path),
        peers.h2o(bench.folder, bench.files, path),
    ]
    samples = bench.run(contenders, 32, pipeline=16)
    title = "16 pipelined requests for 1 KiB, 32 connections"
    per_core = {name: 1e6 / us for name, us in medians(samples, "cpu_us").items()}
    chart.write(drawing, title, "requests per CPU second", {"": per_core})
    return [(title, table(samples, contenders[0].name))]


def kinds(bench: Bench, drawing: pathlib.Path) -> Sections:
    """A 304, a small part, and a gzip variant beside the plain 200 of the same wire size."""
    hot = bench.file("1k.bin", os.urandom(1024))
    text = "".join(f"{n * 2654435761 % 2**32:08x}\n" for n in range(230)).encode()
    coded = bench.file("coded.txt", text)
    gzip = peers.catzilla(
        bench.folder, bench.files, coded, name="200 gzip, negotiated", mount=", gzip_level: 6"
    )

    def another(name: str) -> Server:
        return peers.catzilla(bench.folder, bench.files, hot, name=name)

    contenders = [
        another("200 of 1 KiB"),
        peers.asking(another("304 (If-None-Match)"), {"If-None-Match": "*"}, Wanted(304, 0)),
        peers.asking(another("206 (100 bytes)"), {"Range": "bytes=100-199"}, Wanted(206, 100)),
        peers.asking(gzip, {"Accept-Encoding": "gzip, deflate, br"}, Wanted(coding="gzip")),
    ]
    samples = bench.run(contenders, 32)
    title = "What an answer costs beside the plain 200"
    chart.write(drawing, title, "CPU µs per request", {"": medians(samples, "cpu_us")})
    return [(title, table(samples, contenders[0].name))]


def large(bench: Bench, drawing: pathlib.Path) -> Sections:
    sections: Sections = []
    bars: dict[str, dict[str, float]] = {}
    for name, size in (("100 KiB", 100 << 10), ("1 MiB", 1 << 20), ("1 GiB", 1 << 30)):
        path = bench.file(f"{size}.bin", b"")
        with (bench.files / f"{size}.bin").open("wb") as file:
            for _ in range(max(size >> 20, 1)):
                file.write(os.urandom(min(size, 1 << 20)))
        contenders = [
            peers.catzilla(bench.folder, bench.files, path, name="catzilla"),
            peers.catzilla(
                bench.folder,
                bench.files,
                path,
                name="catzilla, sendfile",
                mount=", max_cached_file: 1KiB",
            ),
            peers.nginx(bench.folder, bench.files, path, sendfile="on"),
            peers.h2o(bench.folder, bench.files, path),
            peers.lighttpd(bench.folder, bench.files, path),
            peers.caddy(bench.folder, bench.files, path),
        ]
        samples = bench.run(contenders, 16)
        sections.append((f"{name}, 16 connections", bytes_table(samples)))
        bars[name] = medians(samples, "mib_per_cpu_second")
    chart.write(drawing, "Large files", "MiB per CPU second", bars)
    return sections


def mounts(bench: Bench, drawing: pathlib.Path) -> Sections:
    bench.file("1k.bin", b"x" * 1024)
    contenders = []
    for count in (1, 10, 100, 1000):
        others = "".join(
            f"\n  - {{name: m{n}, prefix: /mount/{n}, root: {bench.files}}}"
            for n in range(count - 1)
        )
        name = f"{count} mounts"
        contenders.append(
            peers.catzilla(bench.folder, bench.files, "/1k.bin", name=name, others=others)
        )
    samples = bench.run(contenders, 32)
    title = "A hot file among many mounts"
    chart.write(drawing, title, "CPU µs per request", {"": medians(samples, "cpu_us")})
    return [(title, table(samples, contenders[0].name))]


def logged(bench: Bench, drawing: pathlib.Path) -> Sections:
    """The same hot file with the access log on for all."""
    path = bench.file("1k.bin", b"x" * 1024)
    contenders = [
        peers.floor(1024),
        peers.catzilla(bench.folder, bench.files, path, logs=True),
        peers.nginx(bench.folder, bench.files, path, logs=True),
        peers.h2o(bench.folder, bench.files, path, logs=True),
    ]
    samples = bench.run(contenders, 32)
    title = "A hot 1 KiB file with access logs on"
    chart.write(drawing, title, "CPU µs per request", {"": medians(samples, "cpu_us")})
    return [(title, table(samples, contenders[0].name))]
