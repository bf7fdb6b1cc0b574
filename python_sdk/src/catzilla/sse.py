"""What `fastapi.sse` has, under our name."""

from fastapi.sse import *
