"""A real nginx on a free loopback port, all of it in one folder; as root or as any user."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
from types import TracebackType

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from waiting import eventually

READY_SECONDS = 10.0
# What Debian's /etc/nginx/mime.types says of the tree's extensions, so that no other file is needed.
TYPES = """
text/html html htm; text/css css; text/xml xml; application/javascript js; application/json json;
text/plain txt; image/png png; image/svg+xml svg svgz; font/woff2 woff2; application/wasm wasm;
application/octet-stream bin;
"""
CONFIG = """
daemon off; master_process off; worker_processes 1; {user}
pid {folder}/nginx.pid; error_log {folder}/error.log notice;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_timeout 10s; client_header_timeout 5s; client_body_timeout 5s;
  lingering_timeout 200ms; lingering_time 1s; keepalive_requests 100000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  default_type application/octet-stream;
  types {{ {types} }}
  server {{ listen 127.0.0.1:{port}; root {site}; index index.html;
    location /files/ {{ alias {site}/; gzip_static on; gzip_vary on; }}
    location /made/ {{ alias {site}/; gzip on; gzip_min_length 256; gzip_vary on; gzip_types text/plain text/css; }}
  }}
}}
"""


def nginx_program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Nginx:
    """`folder` gets its configuration, log and temporary files; `site` is what it serves."""

    def __init__(self, folder: pathlib.Path, site: pathlib.Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        self.config.write_text(
            CONFIG.format(folder=folder, site=site, port=self.port, types=TYPES, user=user)
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Nginx:
        program = nginx_program()
        assert program is not None, "nginx is not installed: ./dev setup"
        command = [program, "-p", str(self.folder), "-c", str(self.config)]
        with (self.folder / "stderr.log").open("wb") as log:
            self.process = subprocess.Popen([*command, "-e", "stderr"], stdout=log, stderr=log)
        process = self.process

        def told() -> str:
            return (self.folder / "stderr.log").read_text(errors="replace")

        def listens() -> bool:
            if process.poll() is not None:
                raise RuntimeError(told())
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return True
            return False

        eventually(listens, READY_SECONDS, told)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
