"""Requests of people to a pool, and what became of them: the queue and the audit record in one."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from pooling.models.accounts import BrokerAccount

__all__ = ["PoolCommand"]


class PoolCommand(models.Model):
    """One request to a pool. Made by ``pooling.store.commands.submit``; workers take it from there.

    Rows are kept: they say who asked for what, when, and how it ended.
    """

    class Verb(models.TextChoices):
        """The verbs; ``pooling.store.commands`` says what each argument may be."""

        PAUSE = "pause", "pause"
        RESUME = "resume", "resume"
        RECONNECT = "reconnect", "reconnect"
        DRAIN = "drain", "drain"
        REBALANCE = "rebalance", "rebalance"
        UNSUBSCRIBE = "unsubscribe", "force-unsubscribe"
        PREVIEW = "preview", "preview limits"

    class State(models.TextChoices):
        """The states of a request."""

        WAITING = "waiting", "waiting"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        EXPIRED = "expired", "expired"

    class Source(models.TextChoices):
        """The places where it was asked."""

        ADMIN = "admin", "admin"
        COMMAND_LINE = "command line", "command line"
        API = "api", "api"
        PAGE = "page", "page"

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="commands")
    verb = models.CharField(max_length=16, choices=Verb.choices)
    argument = models.JSONField(default=dict, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="pool_commands",
    )
    source = models.CharField(max_length=16, choices=Source.choices)
    requested = models.DateTimeField(default=timezone.now)
    taken = models.DateTimeField(null=True, blank=True)
    taken_by = models.CharField(max_length=128, blank=True, help_text="The worker that took it.")
    finished = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    result = models.CharField(max_length=500, blank=True, help_text="How it ended, in a sentence.")

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=["account", "-id"], name="command_by_account"),
            # The workers' look once a second: nearly always empty.
            models.Index(
                fields=["account"], name="command_waiting", condition=models.Q(state="waiting")
            ),
        )

    def __str__(self) -> str:
        return f"{self.verb} {self.account}: {self.state}"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state != self.State.WAITING
