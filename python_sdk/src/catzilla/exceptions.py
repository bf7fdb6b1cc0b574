"""What `fastapi.exceptions` has, under our name."""

from fastapi.exceptions import *
