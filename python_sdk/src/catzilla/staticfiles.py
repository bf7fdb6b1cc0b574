"""What `fastapi.staticfiles` has, under our name."""

from fastapi.staticfiles import *
