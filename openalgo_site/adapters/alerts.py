"""The alerts of a worker, joined from the settings."""

from __future__ import annotations

import random

from django.conf import settings
from django.utils import timezone

from pooling import conf
from pooling.alerts.contracts import AlertKind, Send
from pooling.alerts.email import EmailSender
from pooling.alerts.service import AlertService
from pooling.alerts.store import DjangoAlertStore, announce
from pooling.alerts.webhook import WebhookSender
from pooling.clock import Clock

__all__ = ["make_alerts", "make_senders"]


def make_senders(clock: Clock) -> dict[AlertKind, Send]:
    """Return what carries each kind of alert."""
    zone = timezone.get_default_timezone()
    site = settings.PUBLIC_URL.origin if settings.PUBLIC_URL is not None else ""
    has_mail = bool(settings.ENV.email_host)
    return {
        AlertKind.WEBHOOK: WebhookSender(
            allowed_hosts=conf.alert_webhook_hosts(), clock=clock, site=site
        ),
        AlertKind.EMAIL: EmailSender(zone=zone, is_configured=has_mail, site=site),
    }


def make_alerts(clock: Clock) -> AlertService:
    """Return the alerts of a worker, not yet open."""
    return AlertService(
        store=DjangoAlertStore(key_file=conf.key_file()),
        senders=make_senders(clock),
        announce=announce,
        clock=clock,
        rng=random.SystemRandom(),
        hold_seconds=settings.ENV.alert_hold_seconds,
    )
