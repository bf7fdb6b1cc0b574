"""Fixtures of the browser tests: one Chromium, and the example shop behind a real sidecar."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

from devtools import Browser
from shop_process import ShopProcess


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = Browser()
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def shop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the example is served. SHOP_URL names one that already runs."""
    if running := os.environ.get("SHOP_URL"):
        yield running.rstrip("/")
        return
    with ShopProcess(tmp_path_factory.mktemp("shop")) as shop:
        yield shop.url


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """CATZILLA_ARTIFACTS, or a folder in the system's temporary one that stays for looking at."""
    base = os.environ.get("CATZILLA_ARTIFACTS")
    folder = Path(base) if base else Path(tempfile.gettempdir()) / "catzilla-screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
