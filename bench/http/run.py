"""The benchmark scenarios; each writes one table into bench/results/.

Usage: python bench/http/run.py [SCENARIO ...] [--rounds N] [--seconds N]
Needs a release build (`./dev build`), wrk and the peers; `./dev bench` sees to it.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import platform
import sys
import tempfile
from collections.abc import Callable

import idle
import network
import peers
import static_files
import zipf
from measure import VERSIONS, interleave, table

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"


def write(scenario: str, title: str, command: str, sections: list[tuple[str, str]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    day = datetime.date.today().isoformat()
    cpu = platform.processor() or platform.machine()
    tcp = network.congestion_control()
    lines = [f"# {title}", "", f"{day}, {cpu}, Linux {platform.release()}, TCP {tcp}.", ""]
    if VERSIONS:
        lines += ["Peers: " + "; ".join(sorted(set(VERSIONS.values()))) + ".", ""]
    lines += [f"Command: `{command}`", "", "Server on one core, load (wrk) on the other; rounds"]
    lines += [
        "interleaved; the ratio is taken round by round. A round in which a server opened more"
    ]
    lines += [
        "connections than it was given, failed, or used more than its core would have ended it.",
        "",
    ]
    for heading, text in sections:
        lines += [f"## {heading}", "", text, ""]
    path = RESULTS / f"{day}-{scenario}.md"
    path.write_text("\n".join(lines))
    print(path.read_text())


def hot_file(folder: pathlib.Path, options: argparse.Namespace) -> None:
    files = folder / "files"
    files.mkdir()
    (files / "1k.bin").write_bytes(b"x" * 1024)
    folder.chmod(0o755)
    files.chmod(0o755)
    sections = []
    for connections in (32, 256):
        contenders = [
            peers.floor(1024),
            peers.catzilla(folder, files, "/1k.bin"),
            peers.nginx(folder, files, "/1k.bin"),
            peers.h2o(folder, files, "/1k.bin"),
            peers.lighttpd(folder, files, "/1k.bin"),
            peers.caddy(folder, files, "/1k.bin"),
        ]
        samples = interleave(
            contenders,
            rounds=options.rounds,
            seconds=options.seconds,
            connections=connections,
            log=folder / "servers.log",
        )
        sections.append((f"{connections} connections", table(samples, contenders[0].name)))
    write("hot-file", "A hot 1 KiB file, keep-alive", options.command, sections)


def hello(folder: pathlib.Path, options: argparse.Namespace) -> None:
    apps = pathlib.Path(__file__).resolve().parent
    sections = []
    for path in ("/hello", "/hello-def"):
        contenders = [
            peers.uvicorn(apps, path),
            peers.catzilla_app(apps, path, folder),
        ]
        samples = interleave(
            contenders,
            rounds=options.rounds,
            seconds=options.seconds,
            connections=32,
            log=folder / "servers.log",
        )
        sections.append((f"{path}, 32 connections", table(samples, contenders[0].name)))
    write("hello", "Dynamic hello: the whole FastAPI stack", options.command, sections)


def edge_cache(folder: pathlib.Path, options: argparse.Namespace) -> None:
    """The same sidecar with the same app: a stored answer beside a file of the same size."""
    apps = pathlib.Path(__file__).resolve().parent
    files = folder / "files"
    files.mkdir()
    (files / "1k.bin").write_bytes(b"x" * 1024)
    sections = []
    for connections in (32, 256):
        contenders = [
            peers.catzilla_app(apps, "/files/1k.bin", folder, files, "hot file"),
            peers.catzilla_app(apps, "/stored", folder, files, "edge-cache hit"),
            peers.floor(1024),
        ]
        samples = interleave(
            contenders,
            rounds=options.rounds,
            seconds=options.seconds,
            connections=connections,
            log=folder / "servers.log",
        )
        sections.append((f"{connections} connections", table(samples, contenders[0].name)))
    write("edge-cache", "An edge-cache hit of 1 KiB beside a hot file", options.command, sections)


def static(
    name: str,
    title: str,
    scenario: Callable[[static_files.Bench, pathlib.Path], static_files.Sections],
) -> Callable[[pathlib.Path, argparse.Namespace], None]:
    """A scenario of static_files with its table and its chart."""

    def run(folder: pathlib.Path, options: argparse.Namespace) -> None:
        drawing = RESULTS / f"{datetime.date.today().isoformat()}-{name}.svg"
        sections = scenario(static_files.Bench(folder, options), drawing)
        sections.append(("Chart", f"![{title}]({drawing.name})"))
        write(name, title, options.command, sections)

    return run


SCENARIOS = {
    "hot-file": hot_file,
    "edge-cache": edge_cache,
    "hello": hello,
    "pipelined": static("pipelined", "A hot file, pipelined", static_files.pipelined),
    "kinds": static("kinds", "Kinds of answers", static_files.kinds),
    "large": static("large", "Large files", static_files.large),
    "mounts": static("mounts", "Many mounts", static_files.mounts),
    "idle": static(
        "idle", "Idle connections", lambda b, d: idle.idle(b.folder / "i", d, b.options.rounds)
    ),
    "slow-readers": static(
        "slow-readers", "Slow readers", lambda b, d: idle.slow_readers(b.folder / "s", d)
    ),
    "zipf": static(
        "zipf", "Many files, small cache", lambda b, d: zipf.hit_ratio(b.folder / "z", d)
    ),
    "logged": static("logged", "A hot file, logged", static_files.logged),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    network.enter()
    options.command = " ".join(["python", "bench/http/run.py", *sys.argv[1:]])
    for name in options.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="catzilla-bench-") as folder:
            SCENARIOS[name](pathlib.Path(folder), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
