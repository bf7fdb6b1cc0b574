"""What `fastapi.middleware` has, under our name."""

from fastapi.middleware import *
