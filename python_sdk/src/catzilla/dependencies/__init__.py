"""What `fastapi.dependencies` has, under our name."""

from fastapi.dependencies import *
