"""What `fastapi.concurrency` has, under our name."""

from fastapi.concurrency import *
