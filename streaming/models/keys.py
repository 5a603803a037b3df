"""API keys of programs. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.utils import timezone

from brokers.times.moments import moment_text
from streaming.exceptions import KeyEndedError
from streaming.scopes import READING, Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["ApiKey", "ApiKeyStore", "hash_api_key", "why_no_end"]

KEY_BYTES = 32  # 64 hexadecimal digits, the form that OpenAlgo's clients expect
PREFIX_LENGTH = 8
MAX_KEY_LENGTH = 256
LAST_USED_EVERY = timedelta(minutes=1)
LATEST_END = timedelta(days=36_525)


def hash_api_key(plaintext: str) -> str:
    """Return what is stored of a key.

    One SHA-256 is enough: a key is 256 random bits, not a password that could be guessed.
    """
    return hashlib.sha256(plaintext.encode("utf-8", "surrogatepass")).hexdigest()


def why_no_end(ends: datetime | None, now: datetime) -> str:
    """Return why a new key cannot end at ``ends``, in a sentence; "": it can, None for never."""
    if ends is None or now < ends < now + LATEST_END:
        return ""
    if ends <= now:
        return "This end is over already: the key would open nothing."
    return "This end is more than a hundred years away: leave it out for a key without one."


class ApiKeyStore(models.Manager["ApiKey"]):
    """Makes keys and finds their owners."""

    def issue(
        self,
        user: User,
        name: str,
        *,
        scope: Collection[Scope] = READING,
        ends: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key and return it with its plaintext, which exists nowhere else from then on."""
        plaintext = secrets.token_hex(KEY_BYTES)
        return self.create_from(user, name, plaintext, scope=scope, ends=ends), plaintext

    def create_from(
        self,
        user: User,
        name: str,
        plaintext: str,
        *,
        scope: Collection[Scope] = READING,
        ends: datetime | None = None,
    ) -> ApiKey:
        """Store a key whose plaintext the caller has already. ``ends`` None: it has no end."""
        return self.create(
            user=user,
            name=name,
            prefix=plaintext[:PREFIX_LENGTH],
            hash=hash_api_key(plaintext),
            ends=ends,
            **{f"may_{each}": each in scope for each in Scope},
        )

    def find(self, plaintext: str) -> ApiKey | None:
        """Return the valid key with this plaintext and its active user, or None.

        One hash and one indexed query whatever the input. Writes nothing: whoever waits for the
        answer must not wait for others' writes.

        Raises:
            KeyEndedError: it would be valid, had it not ended.
        """
        digest = hash_api_key(plaintext[:MAX_KEY_LENGTH])
        key = self._not_revoked().filter(hash=digest).select_related("user").first()
        if key is not None and key.ends is not None and key.has_ended(timezone.now()):
            at = moment_text(timezone.localtime(key.ends))
            raise KeyEndedError(f"This API key ended at {at}; have a new one made.")
        return key

    def note_uses(self, uses: Mapping[int, datetime]) -> None:
        """Remember when keys, by their ids, were used, without a write for every single use."""
        for key_id, at in uses.items():
            is_older = models.Q(last_used=None) | models.Q(last_used__lte=at - LAST_USED_EVERY)
            self.filter(is_older, pk=key_id).update(last_used=at)

    def valid(self) -> models.QuerySet[ApiKey]:
        """Return the keys that open the door: neither revoked nor ended, of an active user."""
        has_no_end = models.Q(ends=None) | models.Q(ends__gt=timezone.now())
        return self._not_revoked().filter(has_no_end)

    def _not_revoked(self) -> models.QuerySet[ApiKey]:
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
    ends = models.DateTimeField(
        null=True, blank=True, help_text="The key opens nothing from then on. Empty: it has no end."
    )
    may_read_ticks = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Subscribe, read prices and orders, and look instruments up.",
    )
    may_read_status = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Read how the pools are, their limits and their history.",
    )
    may_set_credentials = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Store a broker's credential, such as the access token of the day.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyStore()

    class Meta:
        verbose_name = "API key"
        ordering = ("user_id", "-created")
        permissions = (("revoke_apikey", "Can revoke API keys"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def scope(self) -> frozenset[Scope]:
        """What the key may be used for."""
        return frozenset(each for each in Scope if getattr(self, f"may_{each}"))

    def has_ended(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.ends is not None and now >= self.ends

    def revoke(self) -> None:
        """End the key; a key that has ended keeps its time."""
        if self.revoked_at is None:
            self.revoked_at = timezone.now()
            self.save(update_fields=["revoked_at"])
