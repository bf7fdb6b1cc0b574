"""What `fastapi.responses` has, under our name."""

from fastapi.responses import *
