"""The SDK's worker, watched: what its handlers raised, when they are done, which lane answered what."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass
from typing import Any

from catzilla._compile._assign import compiled_app
from catzilla._routing import RouteEntry, Table, compile_table, guard_of
from catzilla._settings import Ticket, WorkerPlace, WorkerSettings
from catzilla._worker import _frames as frames
from catzilla._worker._lane import Lane
from catzilla._worker._serve import Worker

PATIENCE = 10.0
LANES = {frames.LANE_SLOW: "slow", frames.LANE_STACK: "stack", frames.LANE_FAST: "fast"}

# (kind of the route, its registered lane, the one that answered, how it ended, what is particular about the route) of
# every answer of this process.
answers: Counter[tuple[str, str, str, str, str]] = Counter()
# Valid requests that left their route's lane: method and template, and what the frame says of it.
left: Counter[str] = Counter()
# Why routes that were asked are in no faster lane, by request.
reasons: Counter[str] = Counter()


class WatchedWorker(Worker):
    """`quiet()` waits until the handlers are done, as Starlette's TestClient does before it says what they raised."""

    def __init__(self, app: Any, state: dict[str, Any], table: Table, lanes: str) -> None:
        super().__init__(
            app,
            WorkerSettings(target="compat:app", lanes=lanes),
            WorkerPlace.here(0),
            state=state,
            table_hash=table.hash,
            vary=table.vary,
            framework="fastapi",
            compiled=compiled_app(app, table.compiled),
            on_ended=lambda *_: None,
            on_recycle=lambda _: None,
        )
        gc.callbacks.remove(self._on_gc)  # A process of tests has hundreds of workers.
        self.table = table
        self.entries = {entry.id: entry for entry in table.routes}
        self.failures: list[BaseException] = []
        self.open = 0  # Answers whose clients still read.
        self._one_less = asyncio.Event()

    def failed(self, what: str, error: BaseException) -> None:
        self.failures.append(error)
        super().failed(what, error)

    def settled(self) -> None:
        super().settled()
        self._one_less.set()

    async def quiet(self) -> list[BaseException]:
        """What handlers raised since it was last asked."""
        async with asyncio.timeout(PATIENCE):
            while self.active > self.open:
                self._one_less.clear()
                await self._one_less.wait()
        failures, self.failures = self.failures, []
        return failures


class Serving:
    """One app on one loop. `current()` is False once the app's table would be another one."""

    def __init__(self, app: Any, state: dict[str, Any], lanes: str) -> None:
        self.app = app
        self.state = state
        self._guard = _guard_of(app)
        table = compile_table(app, lanes=lanes == "on")
        self.worker = WatchedWorker(app, state, table, lanes)

    def current(self, app: Any, state: dict[str, Any]) -> bool:
        return app is self.app and state is self.state and _guard_of(app) == self._guard

    def retire(self) -> None:
        """On the worker's loop."""
        if self.worker.threads is not None:
            self.worker.threads.close()


def _guard_of(app: Any) -> tuple[Any, ...]:
    handlers = getattr(app, "exception_handlers", {})
    return guard_of(app), tuple(handlers.items()), getattr(app, "root_path", "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way."""

    route: RouteEntry | None
    streamed: bool
    overridden: bool
    form: bool

    @property
    def group(self) -> str:
        """What keeps a request from the share that has a goal; "plain": nothing does."""
        assert self.route is not None
        reason = self.route.lane_reasons[-1] if self.route.lane_reasons else ""
        if self.overridden:
            return "override"
        if self.route.lane == "stack":
            return "middleware"
        if reason.endswith("is its own"):
            return "class"
        if self.route.response != "complete" or "generator" in reason:
            return "generator"
        return "form" if self.form else "plain"


def ending(lane: str, answer: Any) -> str:
    """As far as the frame tells: endpoints of the slow lane may have raised what was handled."""
    if lane == "slow" and answer.fallback == frames.FALLBACK_EXCEPTION:
        return "raised"
    if lane != "fast" and answer.status == 422:
        return "invalid"
    return (
        "invalid" if answer.fallback == frames.FALLBACK_INPUT and answer.status == 400 else "valid"
    )


def count(asked: Asked, answer: Any) -> None:
    lane = LANES[answer.lane]
    route = asked.route
    if route is None:
        answers["none", "slow", lane, "valid", ""] += 1
        return
    end = ending(lane, answer)
    answers[route.kind, route.lane, lane, end, asked.group if route.kind == "api" else ""] += 1
    if route.kind == "api" and route.lane != lane and end == "valid":
        how = (
            "streamed"
            if asked.streamed
            else "overrides"
            if asked.overridden
            else f"fallback {answer.fallback}"
        )
        left[f"{'/'.join(route.methods)} {route.template}: {how}"] += 1
    if route.kind == "api" and route.lane == "slow":
        reasons[route.lane_reasons[-1] if route.lane_reasons else "no reason is given"] += 1


class Tap:
    """Reads along on a lane, for the lane byte of RESPONSE."""

    def __init__(self, worker: Any, transport: Any) -> None:
        self._worker = worker
        self._transport = transport
        limits = frames.Limits(1 << 20, 1 << 16)
        self._in, self._out = frames.FrameReader(limits), frames.FrameReader(limits)
        self._asked: dict[int, Asked] = {}

    def incoming(self, data: bytes) -> None:
        for kind, _, stream, _, payload in self._in.feed(data):
            if kind == frames.REQUEST:
                request = frames.Request(payload)
                plan = getattr(self._worker.table.compiled.get(request.route_id), "plan", None)
                self._asked[stream] = Asked(
                    self._worker.entries.get(request.route_id),
                    request.body_mode == frames.BODY_STREAMING,
                    bool(getattr(self._worker.app, "dependency_overrides", None)),
                    plan is not None and plan.limits is not None,
                )

    def write(self, data: bytes) -> None:
        for kind, _, stream, _, payload in self._out.feed(data):
            if kind == frames.RESPONSE:
                asked = self._asked.pop(stream, None)
                if asked is not None:
                    count(asked, frames.decode_response(payload))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def tap_lanes() -> None:
    """Once per process."""
    made, received = Lane.connection_made, Lane.data_received

    def connection_made(lane: Lane, transport: Any) -> None:
        if isinstance(lane.worker, WatchedWorker):
            transport = Tap(lane.worker, transport)
        made(lane, transport)

    def data_received(lane: Lane, data: bytes) -> None:
        if isinstance(lane._transport, Tap):
            lane._transport.incoming(data)
        received(lane, data)

    Lane.connection_made = connection_made  # type: ignore[method-assign, assignment]
    Lane.data_received = data_received  # type: ignore[method-assign, assignment]


def ticket(socket: str = "", token: str = "00" * 16) -> Ticket:
    return Ticket(pool="compat", epoch=1, generation=1, token=token, socket=socket)
