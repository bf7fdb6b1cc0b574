"""What `fastapi.testclient` has, under our name."""

from fastapi.testclient import *
