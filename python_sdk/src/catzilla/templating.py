"""What `fastapi.templating` has, under our name."""

from fastapi.templating import *
