"""The Django project's ASGI application, and its database."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_site.settings")

from django.core.asgi import get_asgi_application


def prepare() -> None:
    """A database with one who may do everything."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    get_user_model().objects.create_superuser("anna", "anna@example.org", "right")
    Path("data.bin").write_bytes(bytes(range(256)) * 2000)


app = get_asgi_application()
