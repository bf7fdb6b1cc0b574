"""Fixtures: one sidecar with a small tree of files, shared by the tests that do not change it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from raw_http import RawConnection
from sidecar_process import Sidecar

LARGE_BYTES = 3 * 1024 * 1024 + 17


def make_site(root: pathlib.Path) -> pathlib.Path:
    site = root / "site"
    (site / "sub").mkdir(parents=True)
    (site / ".well-known").mkdir()
    (site / "index.html").write_text("<h1>home</h1>\n")
    (site / "sub" / "index.html").write_text("sub\n")
    (site / "a.txt").write_text("0123456789")
    (site / "empty.txt").write_bytes(b"")
    (site / "with space.txt").write_text("space")
    (site / "ümlaut.txt").write_text("umlaut")
    (site / ".secret").write_text("secret")
    (site / ".well-known" / "security.txt").write_text("contact")
    (site / "large.bin").write_bytes(bytes(range(256)) * (LARGE_BYTES // 256) + b"x" * 17)
    (root / "outside.txt").write_text("outside")
    (site / "escape").symlink_to(root / "outside.txt")
    (site / "inside").symlink_to("a.txt")
    return site


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    site = make_site(folder)
    config = f"""
limits: {{header_timeout: 1s, body_timeout: 1s, idle_timeout: 3s, max_request_line: 4KiB,
  max_header_bytes: 16KiB, max_headers: 50}}
mounts:
  - {{name: site, prefix: /, root: {site}}}
  - {{name: nested, prefix: /nested/deep, root: {site}/sub, cache_control: "max-age=60"}}
"""
    with Sidecar(folder, config) as running:
        yield running


@pytest.fixture
def connection(sidecar: Sidecar) -> Iterator[RawConnection]:
    with RawConnection(sidecar.port) as raw:
        yield raw
