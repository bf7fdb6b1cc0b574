"""What `fastapi.openapi.models` has, under our name."""

from fastapi.openapi.models import *
