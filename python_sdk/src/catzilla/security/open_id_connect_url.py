"""What `fastapi.security.open_id_connect_url` has, under our name."""

from fastapi.security.open_id_connect_url import *
