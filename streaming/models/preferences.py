"""Preferences of a user, wherever it is logged in."""

from __future__ import annotations

from django.conf import settings
from django.db import models

__all__ = ["UserPreferences"]


class UserPreferences(models.Model):
    """Choices of one user; a user without a row has made none."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences"
    )
    preferred_exchange = models.CharField(
        max_length=16,
        blank=True,
        default="",
        help_text="Its instruments and their derivatives come first in a search: NSE, BSE, MCX.",
    )

    class Meta:
        verbose_name_plural = "user preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"
