"""What the master says to people: that it serves, where, and how the app's routes are answered."""

from __future__ import annotations

import logging
from typing import Final

from catzilla._master import _lease
from catzilla._master._generation import Generation
from catzilla._proto import sidecar_service_pb2 as sidecar_pb

log = logging.getLogger("catzilla.master")

_NO_DIRECTORY: Final = "CZ1203"


def start_line(generation: Generation, status: sidecar_pb.StatusResponse | None) -> str:
    """Once, when the first generation serves."""
    where, docs, ops = "the sidecar", "", ""
    if status is not None and status.listeners:
        urls = [_url(item.address, item.port) for item in status.listeners]
        where = ", ".join(urls)
        docs = f"; docs on {urls[0]}{generation.docs}" if generation.docs else ""
        ops = f"; metrics and health on http://{status.ops_address}" if status.ops_address else ""
    return f"serving {generation.target} on {where} with {generation.what}{docs}{ops}"


def log_lanes(generation: Generation) -> None:
    """For who writes the app: which of its routes are not compiled, and why."""
    for route in generation.own_routes:
        if route["lane"] != "fast":
            methods = ",".join(route["methods"]) or "*"
            why = "; ".join(route["lane_reasons"])
            log.info("%s %s takes the %s lane: %s", methods, route["template"], route["lane"], why)


def remedy_for(event: _lease.Lost) -> str:
    if event.code == "ALREADY_EXISTS":
        return " (start with --takeover to replace it)"
    if _NO_DIRECTORY in event.details:
        return (
            ". The path is looked up where the sidecar runs: the folder of a mount_static must be visible in its "
            "container too, under the same path (a shared volume, or the same image). No route is published before, "
            "for an app without its files would pass for healthy"
        )
    return ""


def _url(address: str, port: int) -> str:
    host = "127.0.0.1" if address in ("0.0.0.0", "") else "[::1]" if address == "::" else address
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{port}"
