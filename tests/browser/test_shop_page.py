"""What a visitor sees: the shop's page and /docs, in a real browser, with nothing amiss."""

from __future__ import annotations

import json
import struct
import urllib.request
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from devtools import Browser, Page

SHELVES = "document.querySelectorAll('#goods-grid article').length"
PICTURES = (
    "[...document.images].every((i) => i.loading === 'lazy' || (i.complete && i.naturalWidth))"
)


def colours(png: bytes) -> int:
    """How many colours a screenshot has; a blank page has one. Filters are undone row by row."""
    width, height, _depth, kind = struct.unpack(">IIBB", png[16:26])
    step = {2: 3, 6: 4}[kind]
    position, packed = 8, b""
    while position < len(png):
        size, name = struct.unpack(">I4s", png[position : position + 8])
        if name == b"IDAT":
            packed += png[position + 8 : position + 8 + size]
        position += 12 + size
    raw = zlib.decompress(packed)
    stride = width * step
    above = bytearray(stride)
    seen: set[bytes] = set()
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(raw[start], row, above, step)
        if y % 7 == 0:
            seen.update(bytes(row[x : x + 3]) for x in range(0, stride, step * 7))
        above = row
    return len(seen)


def _unfilter(kind: int, row: bytearray, above: bytearray, step: int) -> None:
    for x in range(len(row)):
        left = row[x - step] if x >= step else 0
        corner = above[x - step] if x >= step else 0
        up = above[x]
        if kind == 1:
            row[x] = (row[x] + left) & 255
        elif kind == 2:
            row[x] = (row[x] + up) & 255
        elif kind == 3:
            row[x] = (row[x] + (left + up) // 2) & 255
        elif kind == 4:
            guess = left + up - corner
            near = min((abs(guess - left), 0), (abs(guess - up), 1), (abs(guess - corner), 2))[1]
            row[x] = (row[x] + (left, up, corner)[near]) & 255


def assert_sound(page: Page, url: str) -> None:
    assert page.troubles == []
    assert page.hosts() == {urlsplit(url).netloc}, "the page asked somebody else"


def test_the_shop_shows_its_goods(browser: Browser, shop_url: str, screenshots: Path) -> None:
    with browser.page() as page:
        page.size(1440, 900)
        page.open(f"{shop_url}/", until=f"{SHELVES} === 12")
        page.wait(PICTURES)
        page.wait(
            "document.fonts.ready.then(() => document.fonts.check('16px \"Dela Gothic One\"'))"
        )
        page.wait("document.querySelector('.ticker .lamp').classList.contains('on')")
        assert colours(page.screenshot(screenshots / "shop.png")) > 50
        page.size(1440, 3200)
        page.wait("[...document.images].every((i) => i.complete && i.naturalWidth)")
        page.screenshot(screenshots / "shop-whole.png")
        assert_sound(page, shop_url)


def test_the_shop_fits_a_phone(browser: Browser, shop_url: str, screenshots: Path) -> None:
    with browser.page() as page:
        page.size(390, 844, scale=2)
        page.open(f"{shop_url}/", until=f"{SHELVES} === 12")
        page.wait(PICTURES)
        page.screenshot(screenshots / "shop-phone.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_sound(page, shop_url)


def test_a_visitor_filters_buys_and_asks_for_the_report(
    browser: Browser, shop_url: str, screenshots: Path
) -> None:
    with browser.page() as page:
        page.size(1440, 900)
        page.open(f"{shop_url}/", until=f"{SHELVES} === 12")
        page.click(".pill:nth-of-type(5)")
        page.wait(f"{SHELVES} === 3")
        page.click("[aria-label='Add Purr Megaphone to the basket']")
        page.wait("document.querySelector('.count').innerText === '1'")
        page.click("[data-bs-target='#cart']")
        page.wait("document.querySelector('#cart.show:not(.showing)')")

        # An incomplete order: each mistake beside its field, told by the app's own validation.
        page.evaluate("document.querySelector('#cart form').requestSubmit()")
        page.wait("document.querySelectorAll('#cart .is-invalid').length === 3")
        page.screenshot(screenshots / "shop-basket.png")
        refused = [t for t in page.troubles if "422" in t]
        assert len(refused) == len(page.troubles) > 0
        page.troubles.clear()

        buyer = {"customer": "Mecha", "email": "mecha@example.org", "address": "Tokyo Bay, pier 7"}
        for field, value in buyer.items():
            page.evaluate(
                f"(() => {{ const e = document.getElementById('{field}'); e.value = '{value}';"
                " e.dispatchEvent(new Event('input')); })()"
            )
        page.evaluate("document.querySelector('#cart form').requestSubmit()")
        page.wait("/Order no. \\d+/.test(document.querySelector('.thanks').innerText)")
        page.wait("/: Purr Megaphone/.test(document.querySelector('.ticker .news').innerText)")

        page.click("#cart .btn-close")
        for lane in ("static", "dynamic", "cached"):
            page.click(f".lane.{lane} button")
            page.wait(f"/^[0-9.]+$/.test(document.querySelector('.lane.{lane} .ms').innerText)")
        page.wait("document.querySelectorAll('.report .bars li').length === 4")
        page.evaluate("document.querySelector('#counter').scrollIntoView({behavior: 'instant'})")
        page.wait("getComputedStyle(document.querySelector('.report')).opacity === '1'")
        page.screenshot(screenshots / "shop-counter.png")
        assert_sound(page, shop_url)


def test_the_api_page_needs_no_cdn(browser: Browser, shop_url: str, screenshots: Path) -> None:
    with browser.page() as page:
        page.size(1280, 1000)
        page.open(f"{shop_url}/docs", until="document.querySelectorAll('.opblock').length >= 8")
        assert colours(page.screenshot(screenshots / "docs.png")) > 20
        assert page.evaluate("document.title") == "Catzilla Shop API"
        assert_sound(page, shop_url)


@pytest.mark.parametrize(
    ("script", "trouble"),
    [
        ("console.error('a broken thing')", "console.error: a broken thing"),
        ("setTimeout(() => { throw new Error('boom'); })", "exception: Error: boom"),
        ("fetch('/img/no-such-picture.svg').then(() => 0)", "request: 404"),
        ("fetch('http://127.0.0.1:9/').catch(() => 0)", "request: net::ERR_"),
    ],
)
def test_a_broken_page_would_be_noticed(
    browser: Browser, shop_url: str, script: str, trouble: str
) -> None:
    with browser.page() as page:
        page.open(f"{shop_url}/", until=f"{SHELVES} === 12")
        page.evaluate(script)
        page.wait("new Promise((done) => setTimeout(() => done(true), 50))")
        assert any(found.startswith(trouble) for found in page.troubles), page.troubles


ROWS = "[...document.querySelectorAll('.orders li')].map((row) => row.innerText)"


def buy(shop_url: str, slug: str) -> int:
    """The number of the order."""
    buyer = {"customer": "Mecha", "email": "mecha@example.org", "address": "Tokyo Bay, pier 7"}
    order = {**buyer, "lines": [{"slug": slug, "quantity": 2}]}
    request = urllib.request.Request(
        f"{shop_url}/api/orders", json.dumps(order).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        number: int = json.load(answer)["number"]
    return number


def test_orders_are_shown_as_they_come_in(
    browser: Browser, shop_url: str, screenshots: Path
) -> None:
    """Over a WebSocket, on every page that is open, whichever worker has sold it; and again after it broke."""
    with browser.page() as page, browser.page() as other:
        for one in (page, other):
            one.size(1100, 900)
            one.open(f"{shop_url}/orders.html", until=f"{ROWS}.length === 8")
            one.wait("document.querySelector('.lamp').classList.contains('on')")
        number = buy(shop_url, "tuna-meteor")
        for one in (page, other):
            one.wait(f"{ROWS}[0].includes('No. {number}')")
            assert "Tuna Meteor, 2 pieces" in one.evaluate(ROWS)[0]
            assert "€38.00" in one.evaluate(ROWS)[0]
        page.evaluate("Alpine.$data(document.body).socket.close()")
        number = buy(shop_url, "milk-volcano")
        page.wait(f"{ROWS}[0].includes('No. {number}')")
        assert len(set(page.evaluate(ROWS))) == len(page.evaluate(ROWS)) == 10
        other.wait("document.querySelectorAll('.orders .fresh').length === 2")
        assert colours(page.screenshot(screenshots / "orders.png")) > 15
        page.size(390, 844, scale=2)
        page.screenshot(screenshots / "orders-phone.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_sound(page, shop_url)
        assert_sound(other, shop_url)
