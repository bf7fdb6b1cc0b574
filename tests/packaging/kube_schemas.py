"""Kubernetes' own API description, and CRDs, as the JSON schemas that kubeconform reads, offline.

kubeconform would fetch ready-made schemas from the web. These are made here from the OpenAPI
document in the k8s.io/kubernetes module, and as strict: a field that the API does not know is an
error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

# What -schema-location must be given for a folder that write_schemas() filled.
TEMPLATE = "{{ .ResourceKind }}{{ .KindSuffix }}.json"

# Written as strings in the document, while the API takes numbers too.
SCALARS: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}


def write_schemas(swagger: Path, crds: list[Path], folder: Path) -> int:
    """Returns how many kinds were written."""
    definitions = json.loads(swagger.read_text())["definitions"]
    shared = {name: SCALARS.get(name) or _strict(body) for name, body in definitions.items()}
    (folder / "_definitions.json").write_text(json.dumps({"definitions": shared}))
    written = 0
    for body in shared.values():
        for kind in body.get("x-kubernetes-group-version-kind", []):
            only = {"type": "string", "enum": [kind["kind"]]}
            top = {**body, "properties": {**body.get("properties", {}), "kind": only}}
            _write(folder, kind["kind"], kind["group"], kind["version"], top)
            written += 1
    for file in crds:
        crd = yaml.safe_load(file.read_text())["spec"]
        for version in crd["versions"]:
            schema = _strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            _write(folder, crd["names"]["kind"], crd["group"], version["name"], schema)
            written += 1
    return written


def _write(folder: Path, kind: str, group: str, version: str, schema: dict[str, Any]) -> None:
    # As kubeconform's KindSuffix has it: the group's first label only.
    parts = [kind, group.split(".")[0], version] if group else [kind, version]
    (folder / f"{'-'.join(parts).lower()}.json").write_text(json.dumps(schema))


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with references into _definitions.json and without unknown fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    made = dict(schema)
    if "$ref" in made:
        made["$ref"] = f"_definitions.json{made['$ref']}"
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = _strict(made[key])
    if "properties" in made:
        # By name, not by walking on: a field may itself be called "properties" or "$ref".
        made["properties"] = {name: _strict(body) for name, body in made["properties"].items()}
        if "additionalProperties" not in made and not made.get(
            "x-kubernetes-preserve-unknown-fields"
        ):
            made["additionalProperties"] = False
    return made
