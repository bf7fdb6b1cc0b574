"""What `fastapi.openapi.docs` has, under our name."""

from fastapi.openapi.docs import *
