"""What `fastapi.security.oauth2` has, under our name."""

from fastapi.security.oauth2 import *
