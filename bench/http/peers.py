"""How each contender is started, at its best setting for the job, one worker, logs off."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from measure import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / "build" / "release"


def floor(body_bytes: int) -> Server:
    return Server(
        "floor (bare epoll)",
        lambda port: [str(BINARIES / "bin" / "bench_floor"), str(port), str(body_bytes)],
        "/",
    )


def catzilla(
    folder: pathlib.Path,
    files: pathlib.Path,
    path: str,
    *,
    name: str = "catzilla",
    mount: str = "",
    more: str = "telemetry: {access_log: false}\n",
    others: str = "",
    ops_port: int = 0,
) -> Server:
    """The sidecar with one mount, one loop, no access log."""
    folder = folder / name.replace(" ", "-").replace("/", "-")
    folder.mkdir(exist_ok=True)
    config = folder / "catzilla.yaml"
    config.write_text(
        f"{more}mounts:\n  - {{name: files, prefix: /, root: {files}{mount}}}{others}\n"
    )
    runtime = folder / "run"
    runtime.mkdir(exist_ok=True)

    def command(port: int) -> list[str]:
        return [
            str(BINARIES / "bin" / "catzilla-sidecar"),
            *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", str(ops_port), "--runtime-dir", str(runtime), "--loops", "1"),
        ]

    return Server(name, command, path)


def nginx(
    folder: pathlib.Path,
    files: pathlib.Path,
    path: str,
    *,
    sendfile: str = "off",
    access_log: str = "off",
) -> Server:
    """open_file_cache on; sendfile off is its best setting for small hot files."""

    def command(port: int) -> list[str]:
        config = folder / "nginx.conf"
        config.write_text(
            "worker_processes 1; daemon off; pid nginx.pid; error_log stderr error;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log {access_log}; sendfile {sendfile}; tcp_nodelay on;\n"
            " keepalive_requests 1000000000;\n"
            " open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s;\n"
            f" server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n"
        )
        return ["nginx", "-p", str(folder), "-c", str(config)]

    return Server("nginx (open_file_cache)", command, path, version=["nginx", "-v"])


def h2o(folder: pathlib.Path, files: pathlib.Path, path: str, *, access_log: str = "") -> Server:
    log = f"access-log: {folder / access_log}\n" if access_log else ""

    def command(port: int) -> list[str]:
        config = folder / "h2o.conf"
        config.write_text(
            f"{log}listen: {{host: 127.0.0.1, port: {port}}}\nnum-threads: 1\n"
            "file.etag: on\nhttp1-request-timeout: 600\n"
            f"hosts:\n  default:\n    paths:\n      /: {{file.dir: {files}}}\n"
        )
        return ["h2o", "-c", str(config)]

    return Server("h2o", command, path, version=["h2o", "--version"])


def lighttpd(folder: pathlib.Path, files: pathlib.Path, path: str) -> Server:
    def command(port: int) -> list[str]:
        config = folder / "lighttpd.conf"
        config.write_text(
            f'server.document-root = "{files}"\nserver.bind = "127.0.0.1"\n'
            # lighttpd's manual: "maximum number of requests within a keep-alive session"; 0 switches
            # keep-alive off, and the value is held in 16 bits.
            f"server.port = {port}\nserver.max-keep-alive-requests = 65535\n"
            "server.max-keep-alive-idle = 600\nserver.max-connections = 4096\n"
            'server.max-fds = 8192\nserver.stat-cache-engine = "inotify"\n'
            'mimetype.assign = ( "" => "application/octet-stream" )\n'
        )
        return ["lighttpd", "-D", "-f", str(config)]

    return Server("lighttpd", command, path, version=["lighttpd", "-v"])


def caddy(folder: pathlib.Path, files: pathlib.Path, path: str) -> Server:
    """One thread for its goroutines; no admin endpoint, no log, nothing else in the way."""
    tool = subprocess.run(
        [ROOT / "dev.d" / "gotools", "caddy"], check=True, capture_output=True, text=True
    )

    def command(port: int) -> list[str]:
        config = folder / "Caddyfile"
        config.write_text(
            "{\n admin off\n auto_https off\n persist_config off\n log default {\n  level ERROR\n }\n}\n"
            f"http://127.0.0.1:{port} {{\n root * {files}\n file_server\n}}\n"
        )
        return [tool.stdout.strip(), "run", "--config", str(config), "--adapter", "caddyfile"]

    return Server(
        "caddy",
        command,
        path,
        {"GOMAXPROCS": "1", "HOME": str(folder)},
        version=[tool.stdout.strip(), "version"],
    )


def uvicorn(app_folder: pathlib.Path, path: str) -> Server:
    def command(port: int) -> list[str]:
        return [
            sys.executable,
            *("-m", "uvicorn", "hello:app", "--port", str(port), "--no-access-log"),
            *("--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
        ]

    return Server(
        "uvicorn + FastAPI",
        command,
        path,
        {"PYTHONPATH": str(app_folder)},
        version=[
            sys.executable,
            "-c",
            "import uvicorn, fastapi, sys; print('uvicorn', uvicorn.__version__, 'FastAPI',"
            " fastapi.__version__, 'Python', sys.version.split()[0])",
        ],
    )


def catzilla_app(
    app_folder: pathlib.Path,
    path: str,
    folder: pathlib.Path,
    files: pathlib.Path | None = None,
    name: str = "catzilla (sidecar + worker)",
) -> Server:
    """Sidecar and one worker together: the CPU of both counts. With `files`: below /files, too."""
    config = folder / f"{path.strip('/').replace('/', '-')}.yaml"
    mounts = "" if files is None else f"mounts: [{{name: files, prefix: /files, root: {files}}}]\n"
    config.write_text(f"telemetry: {{access_log: false}}\n{mounts}")

    def command(port: int) -> list[str]:
        return [
            sys.executable,
            *("-m", "catzilla", "run", "hello:app", "--host", "127.0.0.1", "--port", str(port)),
            *("--ops-port", "0", "--workers", "1", "--config", str(config)),
        ]

    environment = {"PYTHONPATH": str(app_folder), "CATZILLA_BIN_DIR": str(BINARIES / "bin")}
    return Server(name, command, path, environment)
