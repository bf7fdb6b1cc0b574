"""The benchmark scenarios; each writes one table into bench/results/.

Usage: python bench/http/run.py [SCENARIO ...] [--rounds N] [--seconds N]
       python bench/http/run.py compare --base BIN_DIR [--ours BIN_DIR] [--rounds N] [--seconds N]
       python bench/http/run.py app [--rows ROW,...] [--contenders NAME,...] [--rounds N] [--seconds N]
       python bench/http/run.py websockets [--rounds N] [--seconds N]
       python bench/http/run.py footprint [--only idle,memory,routes] [--seconds N] [--rounds N]
       python bench/http/run.py streams [--clients N] [--seconds N] [--contenders NAME,...] [--paths PATH,...]
Needs a release build (`./dev build`), wrk and the peers; `./dev bench` sees to it.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import app_path
import compare
import footprint
import idle
import network
import peers
import proxy
import sockets
import static_files
import streams
import zipf
from fairness import Unfair
from measure import interleave, table
from page import RESULTS, write


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


def proxied(folder: pathlib.Path, options: argparse.Namespace) -> None:
    title = "A server behind each proxy"
    write("proxy", title, options.command, proxy.proxies(folder, options))


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
    "proxy": proxied,
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
    others = {
        "compare": compare.main,
        "app": app_path.main,
        "footprint": footprint.main,
        "websockets": sockets.main,
        "streams": streams.main,
    }
    if len(sys.argv) > 1 and (other := others.get(sys.argv[1])):
        return other(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[[], *SCENARIOS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--unproven", action="store_true", help="without testing the peers first")
    options = parser.parse_args()
    network.enter()
    options.command = " ".join(["python", "bench/http/run.py", *sys.argv[1:]])
    if not options.unproven:
        proof = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_peers.py"]
        subprocess.run(proof, check=True, cwd=pathlib.Path(__file__).resolve().parent)
    for name in options.scenarios or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="catzilla-bench-") as folder:
            try:
                SCENARIOS[name](pathlib.Path(folder), options)
            except Unfair as error:
                print(f"\nUNFAIR, no table for {name}: {error}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
