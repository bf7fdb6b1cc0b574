"""The compiled route table and the state of the workers, as messages of the control plane."""

from __future__ import annotations

import os
import platform
from typing import Any, Final

from google.protobuf import json_format

from catzilla._master._generation import Generation
from catzilla._master._options import MasterOptions
from catzilla._proto import config_pb2 as config
from catzilla._proto import route_service_pb2 as pb
from catzilla._settings import __version__

_CACHE: Final = "default"


def registration_of(options: MasterOptions, instance_id: str, generation: Generation) -> pb.Registration:
    table = generation.table
    return registration(
        app=options.app,
        instance_id=instance_id,
        code_hash=f"{generation.code_hash}-{generation.number}" if table else "",
        takeover=options.takeover,
        workers=generation.settings.workers,
        table=table,
        table_hash=generation.table_hash,
        framework=generation.framework,
    )


def registration(
    *,
    app: str,
    instance_id: str,
    code_hash: str,
    takeover: bool,
    workers: int,
    table: dict[str, Any] | None,
    table_hash: str,
    framework: str,
) -> pb.Registration:
    """`table`: None: the app does not start, and only its name is registered."""
    message = pb.Registration(
        app=app,
        instance_id=instance_id,
        code_hash=code_hash,
        takeover=takeover,
        workers_expected=workers,
        workers_min_ready=1,
        sdk=pb.SdkInfo(
            sdk_version=__version__,
            python_version=platform.python_version(),
            fastapi_version=framework.removeprefix("fastapi "),
            pid=os.getpid(),
        ),
    )
    if table is None:
        return message
    message.table.hash = bytes.fromhex(table_hash)
    message.table.unmatched = pb.UNMATCHED_SIDECAR if table["unmatched"] == "sidecar" else pb.UNMATCHED_APP
    message.table.redirect_slashes = table["redirect_slashes"]
    message.table.routes.extend(_route(entry) for entry in table["routes"])
    message.mounts.extend(_mount(entry["resource"]) for entry in table["mounts"] if entry["moved"])
    if any(entry["cache_ttl"] for entry in table["routes"]):
        message.caches.add(name=_CACHE)
    return message


def _route(entry: dict[str, Any]) -> pb.AppRoute:
    route = pb.AppRoute(
        id=entry["id"],
        declaration_index=entry["declaration_index"],
        kind="ROUTE_KIND_" + entry["kind"].upper(),
        host=entry["host"],
        methods=entry["methods"],
        template=entry["template"],
        regex=entry["regex"],
        convertors=entry["convertors"],
        label=entry["label"],
        endpoint=entry["endpoint"],
        lane="LANE_" + entry["lane"].upper(),
        lane_kind=pb.LANE_KIND_EVENT_LOOP,
        lane_reasons=entry["lane_reasons"],
        max_body_size=entry["max_body_size"],
        response_kind="RESPONSE_KIND_" + entry["response"].upper(),
        low_priority=entry["low_priority"],
    )
    route.body.MergeFrom(pb.RouteBody(kind="BODY_KIND_" + entry["body"].upper()))
    if entry["body"] == "buffered":
        route.body.buffer_limit = 64 * 1024
        route.body.content_type = entry["body_type"]
    for found in entry["inputs"]:
        route.inputs.add(
            place="INPUT_PLACE_" + found["place"].upper(),
            name=found["name"],
            multi=found["multi"],
            slot=found["slot"],
        )
    if entry["cache_ttl"]:
        route.cache.ttl = entry["cache_ttl"]
        route.cache.ignores_cookies = entry["cache_ignores_cookies"]
        route.cache.tags.extend(entry["cache_tags"])
        route.cache.cache = _CACHE
    return route


def _mount(resource: dict[str, Any]) -> config.Mount:
    fields = dict(resource)
    for name, field in config.Mount.DESCRIPTOR.fields_by_name.items():
        if name in fields and field.enum_type is not None:
            # The words of the configuration: "inside" is SYMLINKS_INSIDE.
            unspecified: str = field.enum_type.values_by_number[0].name
            fields[name] = unspecified.removesuffix("UNSPECIFIED") + fields[name].upper()
    return json_format.ParseDict(fields, config.Mount())
