from __future__ import annotations

from django.contrib import admin

from django_site.models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ("title", "paper")
    search_fields = ("title",)
    list_per_page = 2
