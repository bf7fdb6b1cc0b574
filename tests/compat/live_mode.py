"""Requests as real HTTP to a real sidecar, whose worker is this process.

One sidecar for each process of pytest. Every app that is asked becomes a new generation of one registration: the
worker attaches as soon as the sidecar has the table, and the request is sent when it has switched.

What TestClient says that HTTP cannot: a scheme goes along as X-Forwarded-Proto, which the sidecar believes here; the
client's address is 127.0.0.1; a root_path in front of the app is nothing a client could say.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import queue
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from catzilla._master._lease import Lease
from catzilla._master._registration import registration
from catzilla._proto import route_service_pb2 as pb
from catzilla._settings import Ticket
from frames_mode import Fields
from live_socket import Finish, LiveSession
from sidecar_process import Sidecar
from transport import Servings, httpx, on
from watched import Serving

PATIENCE = 15.0
CONFIG = "listeners: [{name: http, trusted_proxies: [127.0.0.1]}]\n"
# A server's own fields; what is compared is what the app said.
SERVERS_OWN = frozenset(
    {b"date", b"server", b"connection", b"keep-alive", b"transfer-encoding", b"x-request-id"}
)
# json.loads() is what tests break on purpose.
_DECODE = json.JSONDecoder().decode


class Registrar:
    """The SDK's own lease with the sidecar; registers one generation after the other."""

    def __init__(self, control: str) -> None:
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._lease = Lease(control, self._events.put)
        self._started = False

    def register(self, serving: Serving) -> Ticket:
        table = serving.worker.table
        self._lease.register(
            registration(
                app="compat",
                instance_id=f"compat-{os.getpid()}",
                code_hash=f"{table.hash.hex()}-{next(self._numbers)}",
                takeover=True,
                workers=1,
                table=_DECODE(table.encode()),
                table_hash=table.hash.hex(),
                framework="fastapi",
            )
        )
        if not self._started:
            self._started = True
            self._lease.start()
        event = self._expect("registered").registered
        return Ticket(
            pool=event.pool,
            epoch=event.generation.boot_epoch,
            generation=event.generation.number,
            token=event.attach_token.hex(),
            socket=event.worker_socket,
        )

    def switched(self, ticket: Ticket) -> None:
        while True:
            event = self._expect("workers_ready").workers_ready
            if event.switched and event.generation.number == ticket.generation:
                return

    def _expect(self, kind: str) -> pb.RegisterResponse:
        deadline = time.monotonic() + PATIENCE
        while True:
            event = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
            if isinstance(event, pb.RegisterResponse):
                if event.WhichOneof("event") == kind:
                    return event
            elif "Lost" in type(event).__name__:
                raise RuntimeError(f"the sidecar refuses the registration: {event}")

    def close(self) -> None:
        self._lease.close()


class LiveServing(Serving):
    """Attached by LiveMode, and until another one is."""


class LiveAnswer:
    def __init__(self, portal: Any, serving: Serving, response: Any) -> None:
        self.status: int = response.status_code
        self.fields: Fields = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower() not in SERVERS_OWN
        ]
        self._portal = portal
        self._serving = serving
        self._response = response
        self._chunks = response.stream.__iter__()

    def chunk(self) -> bytes:
        return next(self._chunks, b"")

    def finish(self) -> list[BaseException]:
        self._response.stream.close()
        return on(self._portal, _let_go, self._serving)  # type: ignore[no-any-return]


async def _let_go(serving: Serving) -> list[BaseException]:
    serving.worker.open -= 1
    return await serving.worker.quiet()


class LiveMode:
    """Starts the sidecar with the first request."""

    def __init__(self, lanes: str) -> None:
        self._servings = Servings(lambda app, state: LiveServing(app, state, lanes))
        self._folder = Path(tempfile.mkdtemp(prefix="compat-"))
        self._sidecar: Sidecar | None = None
        self._registrar: Registrar | None = None
        self._http = httpx.HTTPTransport()
        self._active: tuple[Any, Serving] | None = None

    def ask(self, transport: Any, portal: Any, request: Any) -> LiveAnswer:
        sidecar = self._sidecar or self._start()
        serving = self._serve(transport, portal)
        serving.worker.open += 1
        try:
            response = self._http.handle_request(_over_http(request, sidecar.port))
        except BaseException:
            serving.worker.open -= 1
            raise
        return LiveAnswer(portal, serving, response)

    def socket(self, transport: Any, portal: Any, request: Any) -> LiveSession:
        sidecar = self._sidecar or self._start()

        def begin() -> Finish:
            # A lane's callbacks run in the context that it was opened in: each test has its own.
            if self._active is not None and self._active[1].worker.open == 0:
                self.leave(self._active[0])
            serving = self._serve(transport, portal)
            serving.worker.open += 1
            return functools.partial(on, portal, _let_go, serving)

        return LiveSession(sidecar.port, request, begin)

    def _serve(self, transport: Any, portal: Any) -> Serving:
        serving: Serving = on(
            portal, self._servings.get, portal, transport.app, transport.app_state
        )
        if self._active is None or self._active[1] is not serving:
            self._attach(portal, serving)
        return serving

    def _start(self) -> Sidecar:
        self._sidecar = Sidecar(self._folder, CONFIG).start()
        self._registrar = Registrar(self._sidecar.control)
        return self._sidecar

    def _attach(self, portal: Any, serving: Serving) -> None:
        assert self._registrar is not None
        before, self._active = self._active, None
        ticket = self._registrar.register(serving)
        on(portal, serving.worker.attach, ticket)
        self._registrar.switched(ticket)
        self._active = (portal, serving)
        if before is not None:
            self._drain(*before)

    def leave(self, portal: Any) -> None:
        """Its loop is about to end."""
        if self._active is not None and self._active[0] is portal:
            active, self._active = self._active, None
            self._drain(*active)

    def _drain(self, portal: Any, serving: Serving) -> None:
        """An app that is asked again gets a worker anew."""
        on(portal, serving.worker.drain, 0, "", PATIENCE)
        on(portal, self._servings.leave, portal, serving)

    def close(self) -> None:
        if self._active is not None:
            self.leave(self._active[0])
        if self._registrar is not None:
            self._registrar.close()
        self._http.close()
        if self._sidecar is not None:
            self._sidecar.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _over_http(request: Any, port: int) -> Any:
    url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
    fields = list(request.headers.raw)
    if request.url.scheme == "https":
        fields.append((b"x-forwarded-proto", b"https"))
    return httpx.Request(
        request.method,
        url,
        headers=fields,
        stream=httpx.ByteStream(request.read()),
        extensions={"target": request.url.raw_path},
    )
