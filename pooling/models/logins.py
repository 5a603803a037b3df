"""Logins at brokers: what an account keeps for them, and every attempt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from brokers.endpoints.hosts import check_host, destination
from brokers.exceptions import BrokerConfigError
from brokers.login.contract import BrokerLogin, LoginKind, Refusal
from pooling import conf
from pooling.keys.crypto import Opens, Seals
from pooling.login.schedule import DEFAULT_AT
from pooling.login.states import OPEN_STATES, AttemptKind, AttemptState
from pooling.models.accounts import BrokerAccount

__all__ = [
    "ATTEMPTS_KEPT",
    "LATE",
    "WORKER_TIME",
    "LoginAttempt",
    "LoginAttemptQuerySet",
    "LoginSetup",
]

ATTEMPTS_KEPT = 50  # of one account
# From the browser's return, or from the beginning without one, to the end; and from the deadline of
# a browser that stays away to the moment at which it is given up.
WORKER_TIME = timedelta(seconds=120)
# What an account's owner enters; the other columns are the worker's, or the admin's.
SETTINGS = ("kind", "public", "secrets", "unattended", "unattended_at", "stopped", "changed")
LATE = "It was not finished in time. Log in again."


def _choices(names: Iterable[StrEnum]) -> list[tuple[str, str]]:
    return [(each.value, each.value) for each in names]


class LoginSetup(models.Model):
    """What one account keeps for its login at the broker.

    ``public`` stands in the login page's address anyway; ``secrets`` are sealed one by one, for the
    broker's login and nothing else. ``owner`` is the broker's name of who has to come back ("":
    whoever comes first is learnt). ``stopped`` says why no unattended login is made any more,
    until somebody stores something here. ``endpoint`` is the URL in place of the broker's hosts.
    """

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="login")
    kind = models.CharField(
        max_length=16, choices=_choices(LoginKind), default=LoginKind.BROWSER.value
    )
    public = models.JSONField(default=dict, blank=True)
    secrets = models.JSONField(default=dict, blank=True, editable=False)
    endpoint = models.CharField(
        max_length=255,
        blank=True,
        help_text="URL in place of all of the broker's hosts, such as that of a local exchange.",
    )
    owner = models.CharField(max_length=64, blank=True)
    unattended = models.BooleanField(default=False)
    unattended_at = models.TimeField(default=DEFAULT_AT)
    stopped = models.CharField(max_length=500, blank=True, editable=False)
    totp_counter = models.BigIntegerField(default=0, editable=False)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "broker login"

    def __str__(self) -> str:
        return f"login of {self.account}"

    def login(self) -> BrokerLogin | None:
        """Return the broker's login, with this account's endpoint."""
        return conf.login_of(self.account.broker, self.endpoint)

    def bound_to(self) -> str:
        """Return what the secrets are sealed for: the broker's login, or a host in its place."""
        if not self.endpoint:
            return f"login of {self.account.broker}"
        return f"login of {destination(self.account.broker, self.endpoint, ())}"

    def keep(self, values: Mapping[str, str], sealer: Seals) -> None:
        """Keep ``values``, sealed where they are secret; fields not named stay. Does not save."""
        login = self.login()
        fields = [each for kind in login.fields.values() for each in kind] if login else []
        secret = {each.name for each in fields if each.is_secret}
        hidden = {name: text for name, text in values.items() if name in secret}
        self.public = {
            **self.public,
            **{name: text for name, text in values.items() if name not in secret},
        }
        self.secrets = {**self.secrets, **sealer.encrypt(hidden, self.bound_to())}
        self.stopped = ""

    def save_settings(self) -> None:
        """Save what its owner enters, and nothing of what a worker writes beside it."""
        if self._state.adding:
            self.save()
        else:
            self.save(update_fields=SETTINGS)

    def kept_in_clear(self, opener: Opens, names: Collection[str]) -> dict[str, str]:
        """Return those of the fields that are kept, public and secret ones.

        What another kind of login needs stays shut: it may be of a key that is lost.
        Raises BrokerConfigError: one of them cannot be opened.
        """
        public = {name: text for name, text in self.public.items() if name in names}
        sealed = {name: token for name, token in self.secrets.items() if name in names}
        return {**public, **(opener.decrypt(sealed, self.bound_to()) if sealed else {})}

    def clean(self) -> None:
        """Refuse an endpoint that leads to a host which nobody has allowed."""
        super().clean()
        if not self.endpoint:
            return
        try:
            check_host(
                self.endpoint,
                label=self.account.capabilities().label,
                own=(),
                further=conf.broker_hosts(),
            )
        except (BrokerConfigError, ValueError) as error:
            raise ValidationError({"endpoint": str(error)}) from None


class LoginAttemptQuerySet(models.QuerySet["LoginAttempt"]):
    """Attempts, as pages and workers ask for them."""

    def too_late(self, now: datetime) -> Self:
        """Return the open ones of which nothing becomes any more, whoever left them."""
        return self.filter(state__in=OPEN_STATES, deadline__lt=now - WORKER_TIME)

    def forget_old(self, account: BrokerAccount) -> None:
        """Delete all but the newest attempts of an account."""
        mine = self.filter(account=account).order_by("-id")
        ids = mine.values_list("pk", flat=True)
        oldest = ids[ATTEMPTS_KEPT : ATTEMPTS_KEPT + 1].first()
        if oldest is not None:
            self.filter(account=account, pk__lte=oldest).delete()


class LoginAttempt(models.Model):
    """One attempt to get a credential, from its beginning to its end. Ended ones keep no secret.

    ``state_hash`` and ``session_hash`` are SHA-256 of what only the browser has that began it.
    ``sealed`` holds the code, or a credential to be proved, until a worker has taken it.
    """

    account = models.ForeignKey(
        BrokerAccount, on_delete=models.CASCADE, related_name="login_attempts"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    kind = models.CharField(max_length=16, choices=_choices(AttemptKind))
    state = models.CharField(max_length=16, choices=_choices(AttemptState))
    state_hash = models.CharField(max_length=64, blank=True, editable=False)
    session_hash = models.CharField(max_length=64, blank=True, editable=False)
    redirect_uri = models.CharField(max_length=255, blank=True)
    prepared = models.CharField(max_length=255, blank=True, editable=False)
    sealed = models.JSONField(default=dict, blank=True, editable=False)
    told_owner = models.CharField(max_length=64, blank=True, editable=False)
    begun = models.DateTimeField(default=timezone.now)
    deadline = models.DateTimeField()
    taken = models.DateTimeField(null=True, blank=True)
    taken_by = models.CharField(max_length=128, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    why = models.CharField(max_length=16, blank=True, choices=_choices(Refusal))
    result = models.CharField(max_length=500, blank=True, help_text="How it ended, in a sentence.")

    objects = LoginAttemptQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            # Two logins at once would end one another's credential, and a code works once.
            models.UniqueConstraint(
                fields=["account"],
                condition=models.Q(state__in=[each.value for each in OPEN_STATES]),
                name="one_open_login_per_account",
            ),
        )
        indexes = (
            models.Index(fields=["account", "-id"], name="login_by_account"),
            # The worker's look once a second: nearly always empty.
            models.Index(
                fields=["account"],
                name="login_waiting",
                condition=models.Q(state__in=["preparing", "exchanging"]),
            ),
        )

    def __str__(self) -> str:
        return f"login of {self.account}: {self.state}"

    @property
    def is_open(self) -> bool:
        """Whether something may still become of it."""
        return self.state in {each.value for each in OPEN_STATES}

    def bound_to(self, setup: LoginSetup) -> str:
        """Return what its code is sealed for: this attempt, at the host of that login."""
        return f"{setup.bound_to()}, attempt {self.pk}"

    def end(self, state: AttemptState, result: str, why: str = "") -> dict[str, Any]:
        """Give it its end; return the fields that changed, for ``save``. Does not save."""
        self.state, self.result, self.why = state, result[:500], why
        self.finished = timezone.now()
        self.sealed, self.prepared = {}, ""
        self.state_hash = self.session_hash = ""
        names = "state result why finished sealed prepared state_hash session_hash"
        return {"update_fields": names.split()}
