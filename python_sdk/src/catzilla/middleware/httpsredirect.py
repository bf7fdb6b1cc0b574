"""What `fastapi.middleware.httpsredirect` has, under our name."""

from fastapi.middleware.httpsredirect import *
