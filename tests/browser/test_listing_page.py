"""The listing of a directory in a real browser: its looks, by day and night, and its sorting."""

from __future__ import annotations

import contextlib
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from devtools import Browser
from shop_process import bin_dir, free_port
from test_shop_page import assert_sound, colours
from waiting import eventually

NAMES = "[...document.querySelectorAll('tbody tr:not(.up) span')].map((s) => s.textContent)"


@pytest.fixture(scope="module")
def listing_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("listing")
    shelf = folder / "site" / "releases" / "2.0"
    for name in ("images", "docs"):
        (shelf / name).mkdir(parents=True)
    for number, (name, size) in enumerate(
        {
            "catzilla-2.0.tar.gz": 3_400_000,
            "file10.txt": 812,
            "file9.txt": 20_480,
            "<img src=x onerror=alert(1)>.html": 7,
            'ümläut & "quotes".pdf': 150_000,
            "a-very-long-name-" + "of-a-file-" * 9 + "end.log": 1_234,
        }.items()
    ):
        (shelf / name).write_bytes(b"x" * size)
        os.utime(shelf / name, (1_760_000_000 + number * 86_400,) * 2)
    port, ops = free_port(), free_port()
    config = folder / "catzilla.yaml"
    config.write_text(
        f"mounts: [{{name: files, prefix: /, root: {folder}/site, directory_listing: html}}]\n"
    )
    command = [str(bin_dir() / "catzilla-sidecar"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--ops-host", "127.0.0.1"]
    command += ["--ops-port", str(ops), "--runtime-dir", str(folder / "run")]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command) as process:

        def answers() -> bool:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                return True
            return False

        eventually(answers, 30)
        yield f"{url}/releases/2.0/"
        process.terminate()


def test_a_listing_is_sorted_by_a_click(
    browser: Browser, listing_url: str, screenshots: Path
) -> None:
    with browser.page() as page:
        page.size(1100, 720)
        page.open(listing_url, until="document.querySelectorAll('th button').length === 3")
        assert colours(page.screenshot(screenshots / "listing.png")) > 10
        assert page.evaluate("document.images.length") == 0, "a name became an element"
        page.click("th:nth-child(1) button")
        names = page.evaluate(NAMES)
        assert names[:2] == ["docs/", "images/"]
        assert names.index("file9.txt") < names.index("file10.txt")
        page.click("th:nth-child(2) button")
        page.click("th:nth-child(2) button")
        assert page.evaluate(NAMES)[2] == "catzilla-2.0.tar.gz"
        night = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.call("Emulation.setEmulatedMedia", features=night)
        page.screenshot(screenshots / "listing-night.png")
        assert_sound(page, listing_url)


def test_a_listing_fits_a_phone(browser: Browser, listing_url: str, screenshots: Path) -> None:
    with browser.page() as page:
        page.size(390, 844, scale=2)
        page.open(listing_url, until="document.querySelectorAll('th button').length === 3")
        page.screenshot(screenshots / "listing-phone.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_sound(page, listing_url)
