"""API keys of programs. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["ApiKey", "ApiKeyStore", "hash_api_key"]

KEY_BYTES = 32  # 64 hexadecimal digits, the form that OpenAlgo's clients expect
PREFIX_LENGTH = 8
MAX_KEY_LENGTH = 256
LAST_USED_EVERY = timedelta(minutes=1)


def hash_api_key(plaintext: str) -> str:
    """Return what is stored of a key.

    One SHA-256 is enough: a key is 256 random bits, not a password that could be guessed.
    """
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeyStore(models.Manager["ApiKey"]):
    """Makes keys and finds their owners."""

    def issue(self, user: User, name: str) -> tuple[ApiKey, str]:
        """Create a key and return it with its plaintext, which exists nowhere else from then on."""
        plaintext = secrets.token_hex(KEY_BYTES)
        return self.create_from(user, name, plaintext), plaintext

    def create_from(self, user: User, name: str, plaintext: str) -> ApiKey:
        """Store a key whose plaintext the caller has already."""
        return self.create(
            user=user,
            name=name,
            prefix=plaintext[:PREFIX_LENGTH],
            hash=hash_api_key(plaintext),
        )

    def find(self, plaintext: str) -> ApiKey | None:
        """Return the valid key with this plaintext and its active user, or None.

        One hash and one indexed query whatever the input. Writes nothing: whoever waits for the
        answer must not wait for others' writes.
        """
        digest = hash_api_key(plaintext[:MAX_KEY_LENGTH])
        return self.valid().filter(hash=digest).select_related("user").first()

    def note_uses(self, uses: Mapping[int, datetime]) -> None:
        """Remember when keys, by their ids, were used, without a write for every single use."""
        for key_id, at in uses.items():
            is_older = models.Q(last_used=None) | models.Q(last_used__lte=at - LAST_USED_EVERY)
            self.filter(is_older, pk=key_id).update(last_used=at)

    def valid(self) -> models.QuerySet[ApiKey]:
        """Return the keys that open the door: not revoked, of an active user."""
        return self.filter(revoked_at=None, user__is_active=True)


class ApiKey(models.Model):
    """A program's way in. Only the hash of the key is kept."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    name = models.CharField(max_length=64, help_text="What uses the key, for example: notebook.")
    prefix = models.CharField(max_length=PREFIX_LENGTH, editable=False)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyStore()

    class Meta:
        verbose_name = "API key"
        ordering = ("user_id", "-created")
        permissions = (("revoke_apikey", "Can revoke API keys"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def revoke(self) -> None:
        """End the key; a key that has ended keeps its time."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])
