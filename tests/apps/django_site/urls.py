from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve as serve_static
from django.urls import path, re_path
from django.views.static import serve

from django_site import views

urlpatterns = [
    path("", views.home, name="home"),
    path("contact", views.contact, name="contact"),
    path("echo/", views.echo),
    path("body", views.body),
    path("lines", views.lines),
    path("lines-blocking", views.lines_blocking),
    path("download", views.download),
    path("missing", views.missing),
    path("forbidden", views.forbidden),
    path("broken", views.broken),
    path("items/<int:number>/<slug:slug>", views.item),
    path("admin/", admin.site.urls),
    re_path(r"^static/(?P<path>.*)$", serve_static, {"insecure": True}),
    re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
]
