"""What `fastapi.encoders` has, under our name."""

from fastapi.encoders import *
