"""What `fastapi.websockets` has, under our name."""

from fastapi.websockets import *
