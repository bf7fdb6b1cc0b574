"""What `fastapi.param_functions` has, under our name."""

from fastapi.param_functions import *
