"""What `fastapi.security.http` has, under our name."""

from fastapi.security.http import *
