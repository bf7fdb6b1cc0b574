"""What `fastapi.middleware.cors` has, under our name."""

from fastapi.middleware.cors import *
