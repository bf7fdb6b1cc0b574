"""A client who remembers: its cookies, and every answer it was given."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from raw_http import Answer, RawConnection

BOUNDARY = "a-boundary-of-the-tests"
Fields = Iterable[tuple[str, str]]


@dataclasses.dataclass
class Step:
    asked: str
    answer: Answer


class Visitor:
    """`steps` has what was asked, in order, and what was answered. A status that was not wanted is an error."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.steps: list[Step] = []
        self._connection: RawConnection | None = None

    def get(self, target: str, status: int = 200, **fields: str) -> Answer:
        return self.ask("GET", target, status, fields=_named(fields))

    def head(self, target: str, status: int = 200, **fields: str) -> Answer:
        return self.ask("HEAD", target, status, fields=_named(fields))

    def post(self, target: str, status: int, form: Mapping[str, str], **fields: str) -> Answer:
        body = urlencode(form).encode()
        kind = [("Content-Type", "application/x-www-form-urlencoded")]
        return self.ask("POST", target, status, fields=[*kind, *_named(fields)], body=body)

    def upload(
        self, target: str, status: int, form: Mapping[str, str], files: Mapping[str, bytes]
    ) -> Answer:
        """`files` is by name of the field; each is called as its field, with .bin."""
        kind = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
        return self.ask("POST", target, status, fields=kind, body=_multipart(form, files))

    def ask(
        self,
        method: str,
        target: str,
        status: int,
        *,
        fields: Fields = (),
        body: bytes | None = None,
    ) -> Answer:
        sent = [("Host", "shop.example"), ("User-Agent", "tests"), *fields]
        if self.cookies:
            sent.append(("Cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items())))
        if body is not None:
            sent.append(("Content-Length", str(len(body))))
        head = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent)]
        connection = self._connection or RawConnection(self.port, seconds=60)
        connection.send("\r\n".join([*head, "", ""]).encode("latin-1") + (body or b""))
        answer = connection.read(head_only=method == "HEAD")
        self._connection = connection
        # uvicorn closes without a word when the app raises, though its answer is complete.
        if answer.header("connection") == "close" or answer.status == 500:
            self.close()
        asked = f"{len(self.steps) + 1}. {method} {target}"
        self.steps.append(Step(asked, answer))
        assert answer.status == status, f"{asked}: {answer.status}: {answer.body[:2000]!r}"
        self._remember(answer)
        return answer

    def _remember(self, answer: Answer) -> None:
        for name, value in answer.headers:
            if name != "set-cookie":
                continue
            pair, _, attributes = value.partition(";")
            key, _, content = pair.partition("=")
            if re.search(r"max-age=0\b|expires=[^;]*\b1970\b", attributes, re.IGNORECASE):
                self.cookies.pop(key, None)
            else:
                self.cookies[key] = content

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _named(fields: Mapping[str, str]) -> Fields:
    return [(name.replace("_", "-"), value) for name, value in fields.items()]


def _multipart(form: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    parts = []
    for name, value in form.items():
        parts.append(f'form-data; name="{name}"\r\n\r\n'.encode() + value.encode())
    for name, content in files.items():
        head = f'form-data; name="{name}"; filename="{name}.bin"\r\nContent-Type: application/x-tests\r\n\r\n'
        parts.append(head.encode() + content)
    opened = b"--" + BOUNDARY.encode()
    joined = b"".join(opened + b"\r\nContent-Disposition: " + part + b"\r\n" for part in parts)
    return joined + opened + b"--\r\n"


def found(pattern: str, answer: Answer) -> str:
    """What the group of the pattern is in the body, which must have it."""
    match = re.search(pattern, answer.body.decode())
    assert match is not None, f"no {pattern} in {answer.body[:2000]!r}"
    return match.group(1)
