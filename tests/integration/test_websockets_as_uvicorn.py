"""The same app under catzilla and under uvicorn, asked by the `websockets` library: scope, events, codes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from app_process import AppProcess
from sidecar_process import free_port
from waiting import eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

APP = (pathlib.Path(__file__).parent / "websocket_app.py").read_text()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Catzilla's and uvicorn's."""
    folder = tmp_path_factory.mktemp("both")
    port = free_port()
    with AppProcess(folder, APP) as app:
        uvicorn = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app_under_test:app", "--port", str(port)],
            cwd=folder,
            env=dict(os.environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:

            def up() -> bool:
                with contextlib.suppress(OSError):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=5):
                        return True
                return False

            eventually(up, 60)
            yield app.port, port
        finally:
            uvicorn.terminate()
            uvicorn.wait(30)


def opened(port: int, path: str, **options: Any) -> ClientConnection:
    url = f"ws://127.0.0.1:{port}{path}"
    made: ClientConnection = connect(url, open_timeout=30, close_timeout=30, **options)
    return made


def scope(port: int, path: str, **options: Any) -> dict[str, Any]:
    with opened(port, path, **options) as socket:
        shown: dict[str, Any] = json.loads(socket.recv(30))
    shown["server"] = None
    text = json.dumps(shown).replace(f":{port}", ":PORT")
    shown = json.loads(text)
    # uvicorn leaves names as they came; ASGI wants them in lower case, as uvicorn's own for HTTP.
    pairs = [(name.lower(), value) for name, value in shown["headers"]]
    shown["headers"] = [pair for pair in pairs if "sec-websocket-key" not in pair[0]]
    return shown


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/scope", {}),
        ("/scope?a=1&b=%20&a=2", {}),
        ("/scope", {"subprotocols": ["one", "two"]}),
        (
            "/scope",
            {"additional_headers": [("X-Twice", "1"), ("X-Twice", "2")], "compression": None},
        ),
        ("/scope", {"origin": "https://example.com"}),
    ],
)
def test_the_scope_is_the_same(ports: tuple[int, int], path: str, options: dict[str, Any]) -> None:
    ours, theirs = (scope(port, path, **options) for port in ports)
    # Ours has what the sidecar adds for the request to be found again.
    ours["headers"] = [pair for pair in ours["headers"] if "x-request-id" not in pair[0]]
    assert ours == theirs


def ending(socket: ClientConnection) -> list[Any]:
    told: list[Any] = []
    try:
        while True:
            told.append(socket.recv(30))
    except ConnectionClosed as closed:
        received = closed.rcvd
        told.append([received.code, received.reason] if received else None)
    return told


def echo_and_close(port: int) -> list[Any]:
    with opened(port, "/echo") as socket:
        socket.send("text")
        socket.send(b"bytes")
        socket.send(["frag", "ments"])
        told = [socket.recv(30) for _ in range(3)]
        socket.close(3001, "through")
        return told + ending(socket)


def talk(path: str, **options: Any) -> Callable[[int], list[Any]]:
    def script(port: int) -> list[Any]:
        with opened(port, path, **options) as socket:
            return ending(socket)

    return script


@pytest.mark.parametrize(
    "script",
    [
        echo_and_close,
        talk("/both"),
        talk("/rooms/a/1?token=t", subprotocols=["chat"]),
        talk("/wrong-states"),
    ],
    ids=["echo", "both", "rooms", "wrong-states"],
)
def test_the_conversation_is_the_same(
    ports: tuple[int, int], script: Callable[[int], list[Any]]
) -> None:
    ours, theirs = (script(port) for port in ports)
    assert ours == theirs


@pytest.mark.parametrize("path", ["/refuse", "/deny", "/raise-early", "/return-early", "/no-such"])
def test_the_refusal_is_the_same(ports: tuple[int, int], path: str) -> None:
    told = []
    for port in ports:
        with pytest.raises(InvalidStatus) as refused:
            opened(port, path)
        response = refused.value.response
        kept = {name: response.headers.get(name) for name in ("content-type", "x-why")}
        told.append((response.status_code, kept if path in ("/refuse", "/deny") else None))
    assert told[0] == told[1]


def test_what_the_app_is_told_is_the_same(ports: tuple[int, int]) -> None:
    """Disconnects, as the app has written them down."""

    def seen(port: int) -> list[Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/seen", timeout=10) as answer:
            told: list[Any] = json.loads(answer.read())
            return told

    for port in ports:
        for code, reason in ((1000, ""), (1001, "away"), (4999, "grün")):
            with opened(port, "/echo") as socket:
                socket.close(code, reason)

        def told(port: int = port) -> bool:
            rows = seen(port)
            return all(
                {"code": code, "reason": reason} in rows
                for code, reason in ((1000, ""), (1001, "away"), (4999, "grün"))
            )

        eventually(told, 20)


def test_a_compressed_conversation(ports: tuple[int, int]) -> None:
    text = "the same again and again " * 1000
    for port in ports:
        with opened(port, "/echo", max_size=None) as socket:
            assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]
            for message in (text, "short", "", text.encode(), os.urandom(100_000), text * 10):
                socket.send(message)
                assert socket.recv(30) == message
