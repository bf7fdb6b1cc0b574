"""What `fastapi.types` has, under our name."""

from fastapi.types import *
