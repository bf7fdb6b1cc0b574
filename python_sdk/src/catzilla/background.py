"""What `fastapi.background` has, under our name."""

from fastapi.background import *
