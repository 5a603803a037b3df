"""Alerts as e-mail, by way of Django's mail settings."""

from __future__ import annotations

import smtplib
from datetime import tzinfo

from django.core.mail import EmailMessage

from pooling.alerts.contracts import Target
from pooling.alerts.message import Alert, email_text
from pooling.alerts.threads import in_daemon_thread
from pooling.exceptions import AlertError, AlertRefusedError

__all__ = ["EmailSender"]

_FOR_GOOD = (
    smtplib.SMTPAuthenticationError,
    smtplib.SMTPNotSupportedError,
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
)


class EmailSender:
    """Sends alerts in a thread. A cancelled call may still arrive.

    Args:
        zone: in which times are written.
        is_configured: whether there is a mail server; without, every alert is refused.
        site: where people see the pages, "" where nobody knows.
    """

    def __init__(self, *, zone: tzinfo, is_configured: bool, site: str = "") -> None:
        self._zone = zone
        self._site = site
        self._is_configured = is_configured

    async def __call__(self, target: Target, alert: Alert) -> None:
        """Send one alert.

        Raises:
            AlertRefusedError: no mail server is set, or it refuses for good.
            AlertError: the server cannot be reached or does not take it now.
        """
        if not self._is_configured:
            raise AlertRefusedError("no mail server: set EMAIL_HOST")
        subject, body = email_text(alert, self._zone, self._site)
        message = EmailMessage(subject=subject, body=body, to=[target.address])
        try:
            await in_daemon_thread(message.send)
        except _FOR_GOOD as error:
            raise AlertRefusedError(f"the mail server refused ({type(error).__name__})") from None
        except (OSError, smtplib.SMTPException) as error:
            # Its text may quote what was said to the server.
            raise AlertError(f"the mail server failed ({type(error).__name__})") from None
