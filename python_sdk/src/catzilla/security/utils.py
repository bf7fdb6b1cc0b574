"""What `fastapi.security.utils` has, under our name."""

from fastapi.security.utils import *
