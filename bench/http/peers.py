"""How each contender is started, at its best setting for the job: one worker, no log unless all of a scenario log.

Beside each setting stands what the peer's manual says of it, in quotes where these are its words. A setting that is not here is at its default, because
the default is the best for these scenarios. Each configuration is looked at by the peer itself before it starts, and
a directive that it does not know ends the run.
"""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
from functools import cache

import fairness
import machine
from measure import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / "build" / "release" / "bin"


def _file(files: pathlib.Path, path: str) -> fairness.Wanted:
    """A 200 with the whole file."""
    return fairness.Wanted(body=(files / path.lstrip("/")).stat().st_size)


def floor(body_bytes: int) -> Server:
    return Server(
        "floor (bare epoll)",
        lambda port: [str(BINARIES / "bench_floor"), str(port), str(body_bytes)],
        "/",
        wanted=fairness.Wanted(body=body_bytes),
    )


def catzilla(
    folder: pathlib.Path,
    files: pathlib.Path,
    path: str,
    *,
    name: str = "catzilla",
    mount: str = "",
    more: str = "",
    others: str = "",
    ops_port: int = 0,
    logs: bool = False,
    binaries: pathlib.Path = BINARIES,
) -> Server:
    """The sidecar with one mount and one loop."""
    folder = folder / name.replace(" ", "-").replace("/", "-")
    folder.mkdir(exist_ok=True)
    config = folder / "catzilla.yaml"
    config.write_text(
        f"telemetry: {{access_log: {'true' if logs else 'false'}}}\n{more}"
        f"mounts:\n  - {{name: files, prefix: /, root: {files}{mount}}}{others}\n"
    )
    runtime = folder / "run"
    runtime.mkdir(exist_ok=True)

    def command(port: int) -> list[str]:
        return [
            str(binaries / "catzilla-sidecar"),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", str(ops_port), "--runtime-dir", str(runtime), "--loops", "1"),
        ]

    return Server(
        name,
        command,
        path,
        wanted=_file(files, path),
        logs=logs,
        check=lambda command: [*command, "--check"],
        version=["echo", f"catzilla {machine.commit(ROOT)}"],
    )


NGINX = """\
# The number of worker processes: one core each; its default.
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr error;
events {{
  # How many connections a worker process may have open at a time; default 512.
  worker_connections 4096;
}}
http {{
  # "The special value off cancels all access_log directives"; with buffer=, lines are written "if the next log line
  # does not fit into the buffer", or "is older than specified by the flush parameter".
  access_log {access_log};
  # "Enables or disables the use of sendfile()": off, a small file's head and body leave in one write; on for large
  # ones, without tcp_nopush ("the beginning of a file in one packet"), which costs its process more CPU here.
  sendfile {sendfile};
  # On for connections that are kept: its default.
  tcp_nodelay on;
  # "The maximum number of requests that can be served through one keep-alive connection"; default 1000, and
  # "after the maximum number of requests are made, the connection is closed".
  keepalive_requests 1000000000;
  # "A timeout during which a keep-alive client connection will stay open"; 0 disables keep-alive; default 75s.
  keepalive_timeout 600s;
  # "Open file descriptors, their sizes and modification times"; an element is "removed from the cache if it has
  # not been accessed during" inactive.
  open_file_cache max=10000 inactive=600s;
  # "A time after which open_file_cache elements should be validated"; default 60s.
  open_file_cache_valid 600s;
  server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""


def nginx(
    folder: pathlib.Path,
    files: pathlib.Path,
    path: str,
    *,
    sendfile: str = "off",
    logs: bool = False,
) -> Server:
    access_log = f"{folder}/nginx-access.log combined buffer=64k flush=1s" if logs else "off"

    def command(port: int) -> list[str]:
        config = folder / "nginx.conf"
        config.write_text(
            NGINX.format(port=port, files=files, sendfile=sendfile, access_log=access_log)
        )
        return ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)]

    return Server(
        "nginx (open_file_cache)",
        command,
        path,
        wanted=_file(files, path),
        logs=logs,
        # -t: "do not run, just test the configuration file"; -q: "suppress non-error messages".
        check=lambda command: [*command, "-t", "-q"],
        version=["nginx", "-v"],
    )


H2O = """\
{access_log}listen: {{host: 127.0.0.1, port: {port}}}
# "Number of worker threads. Default is the number of the processors": one core each.
num-threads: 1
# "Number of connections to handle at once at maximum"; default 1024.
max-connections: 4096
# "Timeout for incoming requests in seconds", also of an idle connection; default 10.
http1-request-timeout: 600
# "Whether or not to send etags": its default, as all the others do.
file.etag: ON
hosts:
  default:
    paths:
      /: {{file.dir: {files}}}
"""


def h2o(folder: pathlib.Path, files: pathlib.Path, path: str, *, logs: bool = False) -> Server:
    """The manual has no limit of requests on a connection, and no buffer for the access log."""
    access_log = f"access-log: {folder}/h2o-access.log\n" if logs else ""

    def command(port: int) -> list[str]:
        config = folder / "h2o.conf"
        config.write_text(H2O.format(port=port, files=files, access_log=access_log))
        return ["h2o", "-c", str(config)]

    return Server(
        "h2o",
        command,
        path,
        wanted=_file(files, path),
        logs=logs,
        # "Tests the configuration and exits".
        check=lambda command: [*command, "-t"],
        version=["h2o", "--version"],
    )


LIGHTTPD = """\
server.document-root = "{files}"
server.bind = "127.0.0.1"
server.port = {port}
# "Maximum number of request within a keep-alive session before the server terminates the connection". 0 is not
# "no limit": the manual gives it for "disabling keep-alive completely". The value is held in 16 bits.
server.max-keep-alive-requests = {keep_alive_requests}
# "Maximum number of seconds until a idling keep-alive connection is dropped"; default 5.
server.max-keep-alive-idle = 600
# "Its main resource limit is the number of file descriptors"; connections are a part of them.
server.max-fds = 16384
server.max-connections = 4096
# "You can stat() it once and monitor the directory the file is in for modifications".
server.stat-cache-engine = "inotify"
mimetype.assign = ( "" => "application/octet-stream" )
{more}"""


def lighttpd(
    folder: pathlib.Path,
    files: pathlib.Path,
    path: str,
    *,
    keep_alive_requests: int = 65535,
    more: str = "",
) -> Server:
    """One process ("server.max-worker: number of worker processes to spawn; default 0"), no mod_accesslog."""

    def command(port: int) -> list[str]:
        config = folder / "lighttpd.conf"
        config.write_text(
            LIGHTTPD.format(
                port=port, files=files, keep_alive_requests=keep_alive_requests, more=more
            )
        )
        return ["lighttpd", "-D", "-f", str(config)]

    return Server(
        "lighttpd",
        command,
        path,
        wanted=_file(files, path),
        # -tt: "test the configuration file for syntax errors, load and initialize modules, and exit": with 0 also
        # where it warns of an "unknown config-key (ignored)".
        check=lambda command: ["lighttpd", "-tt", *command[2:]],
        version=["lighttpd", "-v"],
    )


CADDYFILE = """\
{{
\t# "If set to off, then the admin endpoint will be disabled": nothing else listens.
\tadmin off
\t# off: "disables both certificate automation and HTTP-to-HTTPS redirects".
\tauto_https off
\t# "Controls whether the current JSON config should be persisted"; "by default, the config is persisted".
\tpersist_config off
\t# The directive `log` in a site "configures HTTP request logging"; there is none. This is the process's own.
\tlog default {{
\t\tlevel ERROR
\t}}
\tservers {{
\t\ttimeouts {{
\t\t\t# How long a kept connection may wait for its next request; default 5m.
\t\t\tidle 10m
\t\t}}
\t}}
}}

http://127.0.0.1:{port} {{
\troot * {files}
\tfile_server
}}
"""


@cache
def _caddy() -> str:
    tool = subprocess.run(
        [ROOT / "dev.d" / "gotools", "caddy"], check=True, capture_output=True, text=True
    )
    return tool.stdout.strip()


def caddy(folder: pathlib.Path, files: pathlib.Path, path: str) -> Server:
    """GOMAXPROCS: one thread at a time runs Go code."""

    def command(port: int) -> list[str]:
        config = folder / "Caddyfile"
        config.write_text(CADDYFILE.format(port=port, files=files))
        return [_caddy(), "run", "--config", str(config), "--adapter", "caddyfile"]

    return Server(
        "caddy",
        command,
        path,
        {"GOMAXPROCS": "1", "HOME": str(folder)},
        wanted=_file(files, path),
        # It warns of what was asked of it, such as no HTTPS; what it does not know is an error.
        check=lambda command: [command[0], "validate", *command[2:]],
        complaint=r"(?i)unrecognized|unknown",
        # Built from its module, it does not know its version by itself.
        version=["echo", pathlib.Path(_caddy()).parent.name],
    )


def uvicorn(app_folder: pathlib.Path, path: str) -> Server:
    def command(port: int) -> list[str]:
        return [
            sys.executable,
            *("-m", "uvicorn", "hello:app", "--host", "127.0.0.1", "--port", str(port)),
            # "Number of worker processes. Defaults to the $WEB_CONCURRENCY environment variable if available, or 1."
            *("--workers", "1"),
            # "Enable/Disable access log"; the other one's level is info by default.
            *("--no-access-log", "--log-level", "warning"),
            # Of "[auto|asyncio|uvloop|zuvloop]" and "[auto|h11|httptools|zttp]" what `uvicorn[standard]` brings.
            *("--loop", "uvloop", "--http", "httptools"),
            # "Close Keep-Alive connections if no new data is received within this timeout (in seconds)"; default 5.
            *("--timeout-keep-alive", "600"),
        ]

    return Server(
        "uvicorn + FastAPI",
        command,
        path,
        {"PYTHONPATH": str(app_folder)},
        version=[
            sys.executable,
            "-c",
            "import uvicorn, uvloop, httptools, fastapi, sys; print('uvicorn', uvicorn.__version__, 'uvloop',"
            " uvloop.__version__, 'httptools', httptools.__version__, 'FastAPI', fastapi.__version__,"
            " 'Python', sys.version.split()[0])",
        ],
    )


def catzilla_app(
    app_folder: pathlib.Path,
    path: str,
    folder: pathlib.Path,
    files: pathlib.Path | None = None,
    name: str = "catzilla (sidecar + worker)",
    binaries: pathlib.Path = BINARIES,
) -> Server:
    """Sidecar and one worker together: the CPU of both counts. With `files`: below /files, too."""
    folder = folder / f"{name}-{path}".replace(" ", "-").replace("/", "-")
    folder.mkdir(exist_ok=True)
    config = folder / "catzilla.yaml"
    mounts = "" if files is None else f"mounts: [{{name: files, prefix: /files, root: {files}}}]\n"
    config.write_text(f"telemetry: {{access_log: false}}\n{mounts}")

    def command(port: int) -> list[str]:
        return [
            sys.executable,
            *("-m", "catzilla", "run", "hello:app", "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", "0", "--workers", "1", "--config", str(config)),
        ]

    environment = {"PYTHONPATH": str(app_folder), "CATZILLA_BIN_DIR": str(binaries)}
    return Server(
        name,
        command,
        path,
        environment,
        version=["echo", f"catzilla {machine.commit(ROOT)}"],
    )


def asking(server: Server, headers: dict[str, str], wanted: fairness.Wanted) -> Server:
    """The same contender, asked in another way."""
    return dataclasses.replace(server, headers=headers, wanted=wanted)
