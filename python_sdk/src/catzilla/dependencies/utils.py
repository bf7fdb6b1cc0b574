"""What `fastapi.dependencies.utils` has, under our name."""

from fastapi.dependencies.utils import *
