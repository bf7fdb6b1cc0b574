"""What `fastapi.dependencies.models` has, under our name."""

from fastapi.dependencies.models import *
