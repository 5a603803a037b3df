"""Targets that are told when a pool's state changes."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models

from pooling.keys.crypto import Opens, Seals
from pooling.models.accounts import BrokerAccount

__all__ = ["AlertTarget"]


class AlertTarget(models.Model):
    """One mailbox or webhook of one account. Of a webhook only the origin is kept in clear."""

    class Kind(models.TextChoices):
        """The ways in which somebody is told."""

        WEBHOOK = "webhook", "webhook"
        EMAIL = "email", "e-mail"

    account = models.ForeignKey(
        BrokerAccount, on_delete=models.CASCADE, related_name="alert_targets"
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    address = models.CharField(
        max_length=320, blank=True, help_text="The mailbox; of a webhook, scheme and host."
    )
    secrets = models.JSONField(
        default=dict, editable=False, help_text="Encrypted field by field; never shown."
    )
    tells_recovery = models.BooleanField(
        "tell recoveries", default=True, help_text="Also tell when the pool is live again."
    )
    enabled = models.BooleanField(default=True)
    last_tried = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.CharField(max_length=255, blank=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("account_id", "id")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.address}"

    def set_secrets(self, values: Mapping[str, str], sealer: Seals) -> None:
        """Encrypt and keep ``url`` and ``secret``; what is not named stays. Does not save."""
        self.secrets = {**self.secrets, **sealer.encrypt(values, self._bound_to())}

    def secrets_in_clear(self, opener: Opens) -> dict[str, str]:
        """Return URL and secret in clear.

        Raises:
            BrokerConfigError: they cannot be opened, or are another account's.
        """
        return opener.decrypt(self.secrets, self._bound_to()) if self.secrets else {}

    def _bound_to(self) -> str:
        return f"alerts of account {self.account_id}"

    def clean(self) -> None:
        """Refuse what is no mailbox."""
        super().clean()
        if self.kind == self.Kind.EMAIL:
            try:
                validate_email(self.address)
            except ValidationError:
                raise ValidationError({"address": "Enter the mailbox to write to."}) from None
