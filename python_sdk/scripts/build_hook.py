"""Hatch calls this before it builds a wheel: the protobuf messages are generated, never committed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateMessages(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        script = root / "scripts" / "generate"
        if (root.parent / "proto" / "catzilla").is_dir():
            subprocess.run([sys.executable, str(script)], check=True)
        elif subprocess.run([sys.executable, str(script), "--check"]).returncode:
            raise RuntimeError(f"{root}: neither ../proto nor generated messages; build from a checkout or an sdist")
