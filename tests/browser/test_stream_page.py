"""A browser's own EventSource and WebSocket: what is said is shown by both, and each goes on after its end."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_process import AppProcess
from devtools import Browser, Page
from test_shop_page import assert_sound

APP = '''
import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from catzilla import Catzilla, Header, HTMLResponse, WebSocket
from catzilla.sse import EventSourceResponse, ServerSentEvent

app = Catzilla()
said: list[str] = []
changed = asyncio.Condition()
PAGE = """<!doctype html><title>Streams</title><link rel="icon" href="data:,">
<ul id="events"></ul><ul id="messages"></ul><output></output>
<script>
  const show = (list, text) => document.querySelector(list).append(
    Object.assign(document.createElement("li"), {textContent: text}));
  const source = new EventSource("/events");
  source.onmessage = ({data}) => show("#events", data);
  let socket;
  function open() {
    socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
    socket.onmessage = ({data}) => show("#messages", data);
    socket.onclose = ({code, reason}) => { document.querySelector("output").value = `${code} ${reason}`; };
  }
  open();
</script>"""


async def say(word: str) -> None:
    said.append(word)
    async with changed:
        changed.notify_all()


async def after(seen: int) -> AsyncIterator[tuple[int, str]]:
    while True:
        while seen < len(said):
            seen += 1
            yield seen, said[seen - 1]
        async with changed:
            await changed.wait_for(lambda: seen < len(said))


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)


@app.get("/events", response_class=EventSourceResponse)
async def events(last_event_id: Annotated[int, Header()] = 0) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="listening", retry=50)
    async for number, word in after(last_event_id):
        yield ServerSentEvent(raw_data=word, id=str(number))
        if word == "enough":
            return


@app.websocket("/socket")
async def socket(client: WebSocket) -> None:
    async def tell() -> None:
        async for _, word in after(0):
            await client.send_text(word)
            if word == "enough":
                await client.close(4001, "bye, büro")

    await client.accept()
    telling = asyncio.create_task(tell())
    async for word in client.iter_text():
        await say(word)
    telling.cancel()


@app.post("/say/{word}")
async def say_it(word: str) -> None:
    await say(word)
'''


@pytest.fixture
def app(tmp_path: Path) -> Iterator[AppProcess]:
    with AppProcess(tmp_path, APP, "--workers", "1") as running:
        yield running


def shown(page: Page, where: str, words: list[str]) -> None:
    """Each once, and in order."""
    found = f"[...document.querySelectorAll('{where} li')].map((one) => one.textContent)"
    page.wait(f"{found}.join() === {json.dumps(','.join(words))}")


def say(app: AppProcess, word: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{app.port}/say/{word}", method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def test_events_and_messages_are_shown(browser: Browser, app: AppProcess) -> None:
    url = f"http://127.0.0.1:{app.port}"
    with browser.page() as page:
        page.open(f"{url}/", until="source.readyState === 1 && socket.readyState === 1")
        say(app, "one")
        for where in ("#events", "#messages"):
            shown(page, where, ["one"])
        page.evaluate("socket.send('grün')")  # Comes back by both ways.
        for where in ("#events", "#messages"):
            shown(page, where, ["one", "grün"])

        say(app, "enough")
        page.wait("document.querySelector('output').value === '4001 bye, büro'")
        say(app, "again")
        # The browser has come back by itself, and told which event it has heard last.
        shown(page, "#events", ["one", "grün", "enough", "again"])
        shown(page, "#messages", ["one", "grün", "enough"])
        page.evaluate("(document.querySelector('#messages').replaceChildren(), open())")
        shown(page, "#messages", ["one", "grün", "enough"])
        assert_sound(page, url)
