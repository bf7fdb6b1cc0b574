"""A server behind each proxy: what passing its answers on costs, and how much later they come.

The upstream is on the load's core and is not counted: the bare epoll responder for small answers, which cannot write a
large one in pieces; nginx with sendfile for those.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import machine
import peers
from fairness import Wanted
from measure import LOAD_CORE, Server, interleave, running, table

MIB = 1 << 20

NGINX = """\
worker_processes 1;
daemon off;
pid proxy.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  upstream origin {{
    server 127.0.0.1:{origin};
    # "The maximum number of idle keepalive connections to upstream servers that are preserved in the cache of each
    # worker process"; "when this number is exceeded, the least recently used connections are closed".
    keepalive 512;
    # "The maximum number of requests that can be served through one keepalive connection"; default 1000.
    keepalive_requests 1000000000;
    # "A timeout during which an idle keepalive connection to an upstream server will stay open"; default 60s.
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://origin;
      # "Version 1.1 is recommended for use with keepalive connections".
      proxy_http_version 1.1;
      # "The Connection header field should be cleared".
      proxy_set_header Connection "";
      # "If the whole response does not fit into memory, a part of it can be saved to a temporary file": 0 disables that.
      proxy_max_temp_file_size 0;
      {buffers}
    }}
  }}
}}
"""
# "The number and size of the buffers used for reading a response from the proxied server, for a single connection".
LARGE_BUFFERS = "proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k;"

HAPROXY = """\
global
  # "Starting from 2.5, it is 1 thread per CPU" by default: one core each.
  nbthread 1
  maxconn 4096
{tune}defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  timeout http-keep-alive 600s
  # "Always": "idle connections are shared between all sessions"; "safe" is the default.
  http-reuse always
{splice}frontend front
  bind 127.0.0.1:{port}
  default_backend origin
backend origin
  server one 127.0.0.1:{origin}
"""


def catzilla(folder: pathlib.Path, origin: int, wanted: Wanted, path: str) -> Server:
    runtime = folder / "run"
    runtime.mkdir()
    config = folder / "catzilla.yaml"
    config.write_text(
        "telemetry: {access_log: false}\n"
        f"pools: [{{name: origin, upstream: {{targets: ['127.0.0.1:{origin}']}}}}]\n"
        "routes: [{name: all, path: '/{path:path}', pool: origin}]\n"
    )

    def command(port: int) -> list[str]:
        return [
            str(peers.BINARIES / "catzilla-sidecar"),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", "0", "--runtime-dir", str(runtime), "--loops", "1"),
        ]

    return Server(
        "catzilla",
        command,
        path,
        wanted=wanted,
        proxies=True,
        check=lambda command: [*command, "--check"],
        version=["echo", f"catzilla {machine.commit(peers.ROOT)}"],
    )


def nginx(folder: pathlib.Path, origin: int, wanted: Wanted, path: str) -> Server:
    buffers = LARGE_BUFFERS if wanted.body is not None and wanted.body >= MIB else ""

    def command(port: int) -> list[str]:
        config = folder / "proxy.conf"
        config.write_text(NGINX.format(port=port, origin=origin, buffers=buffers))
        return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]

    return Server(
        "nginx (proxy_pass, keepalive)",
        command,
        path,
        wanted=wanted,
        proxies=True,
        check=lambda command: [*command, "-t", "-q"],
        version=["nginx", "-v"],
    )


def haproxy(folder: pathlib.Path, origin: int, wanted: Wanted, path: str) -> Server:
    large = wanted.body is not None and wanted.body >= MIB
    # "Sets the buffer size to this size (in bytes)"; default 16384. "Automatically use kernel splicing on responses".
    tune = "  tune.bufsize 65536\n" if large else ""
    splice = "  option splice-response\n" if large else ""

    def command(port: int) -> list[str]:
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, origin=origin, tune=tune, splice=splice))
        return ["haproxy", "-db", "-f", str(config)]

    return Server(
        "haproxy (http-reuse always)",
        command,
        path,
        wanted=wanted,
        proxies=True,
        # "Only perform a check of the configuration files and exit"; -q: "do not display any message during startup".
        check=lambda command: [*command, "-c", "-q"],
        version=["haproxy", "-v"],
    )


@contextlib.contextmanager
def origin_of(folder: pathlib.Path, body: int) -> Iterator[tuple[Server, str]]:
    """The server behind, running, and the path to ask for."""
    if body < MIB:
        server, path = peers.floor(body), "/"
    else:
        files = folder / "files"
        files.mkdir()
        (files / "large.bin").write_bytes(b"x" * body)
        for one in (folder, files):
            one.chmod(0o755)
        (folder / "origin").mkdir()
        path = "/large.bin"
        server = peers.nginx(folder / "origin", files, path, sendfile="on")
    with running([server], LOAD_CORE, folder / "origin.log"):
        yield server, path


def proxies(folder: pathlib.Path, options: argparse.Namespace) -> list[tuple[str, str]]:
    sections = []
    folder.chmod(0o755)
    for name, body, connections in (
        ("1 KiB, 32 connections", 1024, 32),
        ("1 KiB, 256 connections", 1024, 256),
        ("1 KiB, 1 connection", 1024, 1),
        ("1 MiB, 32 connections", MIB, 32),
    ):
        place = folder / name.replace(" ", "-").replace(",", "")
        with origin_of(_made(place), body) as (origin, path):
            wanted = Wanted(body=body)
            contenders = [
                catzilla(_made(place / "catzilla"), origin.port, wanted, path),
                nginx(_made(place / "nginx"), origin.port, wanted, path),
                haproxy(_made(place / "haproxy"), origin.port, wanted, path),
            ]
            if connections == 1:  # How much later than without a proxy.
                direct = dataclasses.replace(origin, name="without a proxy", process=None)
                contenders.append(direct)
            samples = interleave(
                contenders,
                rounds=options.rounds,
                seconds=options.seconds,
                connections=connections,
                log=place / "servers.log",
            )
        sections.append((name, table(samples, contenders[1].name)))
    return sections


def _made(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder
