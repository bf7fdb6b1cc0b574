"""What `fastapi.middleware.trustedhost` has, under our name."""

from fastapi.middleware.trustedhost import *
