"""What `fastapi.exception_handlers` has, under our name."""

from fastapi.exception_handlers import *
