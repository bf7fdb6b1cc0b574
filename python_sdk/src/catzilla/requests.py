"""What `fastapi.requests` has, under our name."""

from fastapi.requests import *
