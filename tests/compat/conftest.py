"""The harness is tested with what it is made of on the path."""

from __future__ import annotations

import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "python_sdk" / "tests"), str(TOP / "tests" / "integration")]
