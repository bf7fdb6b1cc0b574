"""What `fastapi.middleware.gzip` has, under our name."""

from fastapi.middleware.gzip import *
