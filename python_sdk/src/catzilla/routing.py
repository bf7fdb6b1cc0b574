"""What `fastapi.routing` has, under our name."""

from fastapi.routing import *
