"""python-socketio over long polling: a handshake, events both ways with acknowledgements, two clients, errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from both import FRAMING, assert_same, both
from visitor import Step, Visitor

DIFFERS = {"sid": r'"sid":"([\w-]{20})"'}
PATH = "/socket.io/?EIO=4&transport=polling"
TEXT = [("Content-Type", "text/plain;charset=UTF-8")]


class Client:
    """One of Engine.IO's, version 4."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        opened = visitor.get(PATH + "&t=a").body.decode()
        assert opened[0] == "0"
        self.path = f"{PATH}&sid={json.loads(opened[1:])['sid']}"

    def send(self, packets: str, status: int = 200) -> None:
        asked = self.visitor
        asked.ask("POST", self.path, status, fields=TEXT, body=packets.encode())
        asked.steps[
            -1
        ].asked = f"{len(asked.steps)}. POST {packets[:40]}"  # The session's id differs.

    def poll(self, *expected: str) -> None:
        """Until all of it has come, in however many answers: they are compared as one."""
        steps = self.visitor.steps
        at, text = len(steps), ""
        while not all(packet in text for packet in expected):
            text += self.visitor.get(self.path).body.decode() + "\x1e"
        fields = [pair for pair in steps[at].answer.headers if pair[0] not in FRAMING]
        answer = dataclasses.replace(steps[at].answer, headers=fields, body=text.encode())
        steps[at:] = [Step(f"{at + 1}. poll", answer)]


def conversation(visitor: Visitor) -> None:
    client = Client(visitor)
    client.send("40")
    client.poll('40{"sid":')
    client.send('421["echo","grün",{"a":[1,2.5,null]}]')
    client.poll("42", "43")
    client.send('42["shout","one"]\x1e42["shout","two"]')  # Two packets in one body.
    client.poll("ONE", "TWO")
    client.send('422["session"]')
    client.poll('432["/socket.io/"]')
    client.send('42["echo","' + "x" * 300_000 + '"]')
    client.poll("x" * 300_000)
    client.send("41")
    client.send("1")


def errors(visitor: Visitor) -> None:
    visitor.get(PATH + "&sid=nobody", 400)
    visitor.get("/socket.io/?EIO=3&transport=polling", 400)
    visitor.get("/socket.io/?EIO=4&transport=pigeons", 400)
    visitor.ask("POST", PATH + "&sid=nobody", 400, fields=TEXT, body=b"40")
    visitor.ask("PUT", PATH, 405, body=b"x")
    visitor.ask("OPTIONS", PATH, 200, fields=[("Origin", "https://shop.example")])
    visitor.get(PATH, 400, Origin="https://elsewhere.example")
    visitor.get(PATH, 200, Origin="https://shop.example")
    refused = Client(visitor)
    refused.send('40{"token":"wrong"}')
    refused.poll('44{"message":"Connection refused by server"}')
    refused.send("nonsense")
    visitor.get("/")
    visitor.head("/")
    visitor.get("/note.txt")
    visitor.get("/nowhere", 404)


def test_socketio(tmp_path: Path, environment: dict[str, str]) -> None:
    with both(tmp_path, "app_socketio", environment) as servers:
        assert_same(servers, conversation, DIFFERS)
        assert_same(servers, errors, DIFFERS)
