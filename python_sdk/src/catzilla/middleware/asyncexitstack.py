"""What `fastapi.middleware.asyncexitstack` has, under our name."""

from fastapi.middleware.asyncexitstack import *
