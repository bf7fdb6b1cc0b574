"""What `fastapi.telemetry` has, under our name."""

from fastapi.telemetry import *
