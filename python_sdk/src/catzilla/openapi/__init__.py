"""What `fastapi.openapi` has, under our name."""

from fastapi.openapi import *
