"""A headless Chromium, driven over the DevTools protocol: load a page, look at it, list troubles.

One `Browser` is one Chromium process with an empty profile; `Browser.page()` opens a tab.
Everything is synchronous: a call waits for its answer, a wait polls the page until its deadline.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from waiting import eventually
from websockets.sync.client import ClientConnection, connect

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0",
]  # fmt: skip


class Page:
    """One tab. `troubles` lists console errors, uncaught exceptions and failed requests so far."""

    def __init__(self, socket: ClientConnection, seconds: float) -> None:
        self._socket = socket
        self._seconds = seconds
        self._last_id = 0
        self._urls: dict[str, str] = {}
        self.troubles: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        deadline = time.monotonic() + self._seconds
        while True:
            message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message.get("method", ""), message.get("params", {}))

    def evaluate(self, expression: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails'].get('exception')}")
        return answer["result"].get("value")

    def open(self, url: str, until: str) -> None:
        """Loads `url` and waits until the expression `until` is true on it."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")
        self.wait(until)

    def wait(self, expression: str) -> Any:
        values: list[Any] = [None]

        def is_true() -> bool:
            values[0] = self.evaluate(expression)
            return bool(values[0])

        eventually(is_true, self._seconds, lambda: f"{expression}; troubles: {self.troubles}")
        return values[0]

    def click(self, selector: str) -> None:
        """As soon as there is something to click on."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{found} && ({found}.click(), true)")

    def size(self, width: int, height: int, scale: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    def screenshot(self, path: Path, whole: bool = False) -> bytes:
        picture = base64.b64decode(
            self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        )
        path.write_bytes(picture)
        return picture

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and params["type"] in (
            "error",
            "warning",
            "assert",
        ):
            words = [str(a.get("value", a.get("description"))) for a in params["args"]]
            self.troubles.append(f"console.{params['type']}: {' '.join(words)}")
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.troubles.append(
                f"exception: {details.get('exception', {}).get('description', details['text'])}"
            )
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.troubles.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self._urls[params["requestId"]] = params["request"]["url"]
            self.requested.append(params["request"]["url"])
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            response = params["response"]
            self.troubles.append(f"request: {response['status']} {response['url']}")
        elif method == "Network.loadingFailed" and not params.get("canceled"):
            url = self._urls.get(params["requestId"], "?")
            self.troubles.append(f"request: {params['errorText']} {url}")

    def hosts(self) -> set[str]:
        """Everything the page talked to over the network."""
        parts = [urlsplit(url) for url in self.requested]
        return {part.netloc for part in parts if part.scheme in ("http", "https", "ws", "wss")}


class Browser:
    """REQUIRES: Debian's `chromium` (or one named by `binary`)."""

    def __init__(self, binary: str | None = None, seconds: float = 30) -> None:
        found = binary or shutil.which("chromium") or shutil.which("chromium-browser")
        if found is None:
            raise FileNotFoundError("chromium is missing: apt-get install chromium")
        self._seconds = seconds
        self._profile = tempfile.TemporaryDirectory(prefix="catzilla-chromium-")
        self._process = subprocess.Popen(
            [found, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._port = self._read_port()
        except BaseException:
            self.close()
            raise

    def _read_port(self) -> int:
        file = Path(self._profile.name) / "DevToolsActivePort"
        lines: list[str] = []

        def is_open() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError(f"chromium ended with {self._process.returncode}")
            with suppress(FileNotFoundError):
                lines[:] = file.read_text().splitlines()
            return len(lines) == 2

        eventually(is_open, self._seconds, lambda: "chromium did not open its DevTools port")
        return int(lines[0])

    @contextmanager
    def page(self) -> Iterator[Page]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/json/new?about:blank", method="PUT"
        )
        with urllib.request.urlopen(request, timeout=self._seconds) as answer:
            target = json.load(answer)
        with connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket, self._seconds)
            yield page
            # A tab left open would keep its event stream, one of the six connections to a host.
            page.call("Page.close")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(OSError):  # A late child of Chromium may still be writing there.
            self._profile.cleanup()
