"""What `fastapi.middleware.wsgi` has, under our name."""

from fastapi.middleware.wsgi import *
