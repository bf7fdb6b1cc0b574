"""SIGTERM while clients hold streams open on the control plane: none of them keeps the sidecar alive."""

from __future__ import annotations

import contextlib
import pathlib
import queue
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from app_process import eventually
from catzilla._proto import route_service_pb2 as route
from sidecar_process import Sidecar, program

SERVICES = "/catzilla.control.v1."
DRAIN_SECONDS = 2.0


@pytest.fixture
def sidecar(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    with Sidecar(tmp_path, f"drain: {{timeout: {DRAIN_SECONDS:.0f}s}}\n") as running:
        yield running


@pytest.fixture
def channel(sidecar: Sidecar) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(sidecar.control) as opened:
        yield opened


def watch(channel: grpc.Channel, service: str) -> Any:
    """A stream of `service`, its first event read. Its messages stay bytes; the request is empty."""
    method: Any = channel.unary_stream(
        f"{SERVICES}{service}/Watch",
        request_serializer=lambda request: request,
        response_deserializer=lambda event: event,
    )
    opened = method(b"")
    assert next(opened)
    return opened


def register(channel: grpc.Channel, outbox: queue.SimpleQueue[route.RegisterRequest]) -> Any:
    """A lease of an app without workers, accepted. It never closes its side, whatever it is told."""
    hello = route.Registration(app="held", instance_id="held-1", code_hash="1")
    outbox.put(route.RegisterRequest(registration=hello))
    opened: Any = channel.stream_stream(
        f"{SERVICES}RouteService/Register",
        request_serializer=route.RegisterRequest.SerializeToString,
        response_deserializer=route.RegisterResponse.FromString,
    )(iter(outbox.get, None))
    assert next(opened).WhichOneof("event") == "registered"
    return opened


@contextlib.contextmanager
def stats_printed(sidecar: Sidecar) -> Iterator[subprocess.Popen[bytes]]:
    """`catzillactl stats -w` with its first line out."""
    printed = sidecar.folder / "stats.txt"
    with printed.open("wb") as out:
        command = [str(program("catzillactl")), "--address", sidecar.control, "stats", "-w"]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: printed.stat().st_size > 0)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def ends_in_time(sidecar: Sidecar) -> None:
    began = time.monotonic()
    code = sidecar.stop()
    took = time.monotonic() - began
    assert code == 0, sidecar.log()
    assert took < DRAIN_SECONDS, f"{took:.2f} s: {sidecar.log()}"


def code_of(opened: Any) -> grpc.StatusCode:
    """How the stream ended, after what was still to read."""
    with contextlib.suppress(grpc.RpcError):
        for _ in opened:
            pass
    code: grpc.StatusCode = opened.code()
    return code


def test_stats_on_a_terminal(sidecar: Sidecar) -> None:
    with stats_printed(sidecar) as process:
        ends_in_time(sidecar)
        assert process.wait(10) == 7, (sidecar.folder / "stats.txt").read_text()


def test_a_client_that_no_longer_runs(sidecar: Sidecar) -> None:
    with stats_printed(sidecar) as process:
        process.send_signal(signal.SIGSTOP)  # Its connection is open, and nobody acknowledges.
        ends_in_time(sidecar)


@pytest.mark.parametrize("service", ["StatsService", "ConfigService"])
def test_a_watch(sidecar: Sidecar, channel: grpc.Channel, service: str) -> None:
    opened = watch(channel, service)
    ends_in_time(sidecar)
    assert code_of(opened) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_registration(sidecar: Sidecar, channel: grpc.Channel) -> None:
    outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    opened = register(channel, outbox)
    ends_in_time(sidecar)
    assert code_of(opened) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    outbox.put(None)


def test_many_at_once(sidecar: Sidecar, channel: grpc.Channel) -> None:
    outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    opened = [watch(channel, name) for name in ("StatsService", "ConfigService") for _ in range(8)]
    opened.append(register(channel, outbox))
    with stats_printed(sidecar):
        ends_in_time(sidecar)
    assert {code_of(each) for each in opened} <= {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }
    outbox.put(None)
