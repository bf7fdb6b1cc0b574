"""What `fastapi.datastructures` has, under our name."""

from fastapi.datastructures import *
