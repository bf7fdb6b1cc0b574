"""What `fastapi.security.base` has, under our name."""

from fastapi.security.base import *
