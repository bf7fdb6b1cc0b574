"""What `fastapi.openapi.utils` has, under our name."""

from fastapi.openapi.utils import *
