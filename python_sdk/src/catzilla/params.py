"""What `fastapi.params` has, under our name."""

from fastapi.params import *
