"""What `fastapi.logger` has, under our name."""

from fastapi.logger import *
