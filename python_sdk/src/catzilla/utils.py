"""What `fastapi.utils` has, under our name."""

from fastapi.utils import *
