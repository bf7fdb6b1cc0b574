"""What `fastapi.applications` has, under our name; its `FastAPI` is our `Catzilla`."""

from fastapi.applications import *

from catzilla._app import Catzilla as Catzilla
from catzilla._app import Catzilla as FastAPI
