"""What `fastapi.security` has, under our name."""

from fastapi.security import *
