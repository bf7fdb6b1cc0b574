"""What `config:` may hold, as the part of helm/catzilla/values.schema.json made from the proto.

    python tests/packaging/config_schema.py --write

So the chart refuses an unknown field before anything is installed, and the schema cannot drift from
config.proto: test_chart.py compares the two.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[2]
VALUES_SCHEMA = ROOT / "helm" / "catzilla" / "values.schema.json"
INTEGERS = {Field.TYPE_UINT32, Field.TYPE_INT32, Field.TYPE_UINT64, Field.TYPE_INT64}


def read_proto() -> descriptor_pb2.FileDescriptorProto:
    with tempfile.NamedTemporaryFile() as out:
        proto = ROOT / "proto"
        source = proto / "catzilla" / "config" / "v1" / "config.proto"
        code = protoc.main(
            ["protoc", f"-I{proto}", f"--descriptor_set_out={out.name}", str(source)]
        )
        if code != 0:
            raise RuntimeError(f"protoc failed with {code}")
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes())
    return files.file[0]


def definitions() -> dict[str, Any]:
    file = read_proto()
    package = f".{file.package}."
    found: dict[str, Any] = {}
    for message in file.message_type:
        maps = {
            f"{package}{message.name}.{nested.name}"
            for nested in message.nested_type
            if nested.options.map_entry
        }
        found[message.name] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {field.name: _schema(field, package, maps) for field in message.field},
        }
    return found


def _schema(field: Field, package: str, maps: set[str]) -> dict[str, Any]:
    if field.type_name in maps:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    one: dict[str, Any]
    if field.type == Field.TYPE_MESSAGE:
        one = {"$ref": f"#/$defs/{field.type_name.removeprefix(package)}"}
    elif field.type == Field.TYPE_BOOL:
        one = {"type": "boolean"}
    elif field.type in INTEGERS:
        one = {"type": "integer", "minimum": 0}
    else:  # Strings, and enums by name; the sidecar knows durations, sizes and names better.
        one = {"type": "string"}
    return {"type": "array", "items": one} if field.label == Field.LABEL_REPEATED else one


def updated(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "$defs": definitions()}


if __name__ == "__main__":
    current = json.loads(VALUES_SCHEMA.read_text())
    text = json.dumps(updated(current), indent=2) + "\n"
    if "--write" in sys.argv[1:]:
        VALUES_SCHEMA.write_text(text)
    else:
        print(text, end="")
