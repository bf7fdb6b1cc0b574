"""Django Channels as its manual sets it up, without Daphne: HTTP by Django, WebSockets by consumers and groups."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serving import WAYS, Serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

pytestmark = pytest.mark.usefixtures("installed")

PROJECT = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of a test", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path, re_path

urlpatterns = [path("hello/", lambda request: JsonResponse({"host": request.get_host()}))]


class Room(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.name = self.scope["url_route"]["kwargs"]["name"]
        await self.channel_layer.group_add(self.name, self.channel_name)
        offered = self.scope["subprotocols"]
        await self.accept(offered[0] if offered else None)

    async def disconnect(self, code):
        await self.channel_layer.group_send(self.name, {"type": "left", "code": code})
        await self.channel_layer.group_discard(self.name, self.channel_name)

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.name, {"type": "said", "what": content})

    async def said(self, event):
        await self.send_json(event["what"])

    async def left(self, event):
        await self.send_json({"left": event["code"]})


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            return self.close(4321, "as asked")
        self.send(text_data=text_data, bytes_data=bytes_data)


class Refusing(WebsocketConsumer):
    def connect(self):
        self.close()


app = ProtocolTypeRouter({
    "http": get_asgi_application(),
    "websocket": AllowedHostsOriginValidator(URLRouter([
        re_path(r"^rooms/(?P<name>[a-z]+)/$", Room.as_asgi()),
        path("echo/", Echo.as_asgi()),
        path("refusing/", Refusing.as_asgi()),
    ])),
})
"""


def opened(
    port: int, path: str, origin: str | None = None, **options: Any
) -> contextlib.AbstractContextManager[ClientConnection]:
    """As a page of that host would, whose origin Channels wants to see."""
    made: ClientConnection = connect(
        f"ws://127.0.0.1:{port}{path}",
        origin=Origin(origin or f"http://127.0.0.1:{port}"),
        open_timeout=30,
        close_timeout=30,
        **options,
    )
    return made


@pytest.mark.parametrize("serve", WAYS)
def test_http_rooms_and_consumers(tmp_path: Path, serve: Serve) -> None:
    with serve(tmp_path, PROJECT) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello/", timeout=30) as answer:
            assert json.loads(answer.read()) == {"host": f"127.0.0.1:{port}"}
        with opened(port, "/rooms/blue/", subprotocols=["json"]) as one:
            assert one.subprotocol == "json"
            with (
                opened(port, "/rooms/blue/") as other,
                opened(port, "/rooms/green/") as elsewhere,
            ):
                other.send(json.dumps({"hello": ["grün", 1]}))
                for listener in (one, other):
                    assert json.loads(listener.recv(30)) == {"hello": ["grün", 1]}
                other.close(3001)
                assert json.loads(one.recv(30)) == {"left": 3001}
                elsewhere.send("1")
                assert elsewhere.recv(30) == "1"
        with opened(port, "/echo/", max_size=None) as echo:
            for message in ("", "text", b"\x00\xff", "ü" * 100_000, bytes(1_000_000)):
                echo.send(message)
                assert echo.recv(30) == message
            echo.send("close")
            with pytest.raises(ConnectionClosed) as closed:
                echo.recv(30)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as asked")


@pytest.mark.parametrize("serve", WAYS)
def test_refusals(tmp_path: Path, serve: Serve) -> None:
    with serve(tmp_path, PROJECT) as port:
        for path, origin in (("/refusing/", None), ("/echo/", "http://evil.example")):
            with pytest.raises(InvalidStatus) as refused, opened(port, path, origin):
                pass
            assert refused.value.response.status_code == 403
