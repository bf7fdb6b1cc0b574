"""What `fastapi.openapi.constants` has, under our name."""

from fastapi.openapi.constants import *
