"""What `fastapi.security.api_key` has, under our name."""

from fastapi.security.api_key import *
