"""A Django project as `startproject` and `startapp` make it, in one package."""
