"""One model, for the admin."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    title = models.CharField(max_length=40)
    text = models.TextField(blank=True)
    paper = models.FileField(blank=True, upload_to="papers")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return str(self.title)
