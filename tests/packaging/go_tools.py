"""The pinned Go tools of dev.d/gotools, built on first use."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def go_tool(name: str) -> Path:
    made = subprocess.run(
        [ROOT / "dev.d" / "gotools", name], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(made.stdout.strip())
