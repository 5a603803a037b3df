"""The demo's user in a database that is used for real, and whether others may reach it.

Its password is random, but it was shown on a screen, it stands in clear in ``demo.json`` beside
the demo's API key, and its user may do everything.
"""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error, connection
from django.db.models import Exists, OuterRef

from brokers.endpoints.addresses import is_loopback
from openalgo_site.config.demo_names import KEY_NAME, LABEL, USERNAME
from pooling.models import BrokerAccount
from streaming.models import ApiKey

__all__ = ["DEMO_USER_LEFT", "MENDS", "has_demo_user", "is_for_others", "log_demo_user"]

logger = logging.getLogger("openalgo_site")

DEMO_USER_LEFT = (
    f"the demo's user `{USERNAME}` is an active superuser here, whose password and API key were "
    "shown on a screen and are in demo.json"
)
MENDS = (
    "use another DATA_DIR and database than the demo's, or log in as another superuser and delete "
    f"`{USERNAME}` in the admin (Users)"
)


def has_demo_user() -> bool:
    """Whether the demo has made its user in this database, and nobody has ended it.

    Raises:
        django.db.Error: the database does not say.
    """
    account = BrokerAccount.objects.filter(user=OuterRef("pk"), label=LABEL)
    key = ApiKey.objects.filter(user=OuterRef("pk"), name=KEY_NAME)
    users = User.objects.filter(username=USERNAME, is_active=True, is_superuser=True)
    return users.filter(Exists(account) | Exists(key)).exists()


def is_for_others(host: str) -> bool:
    """Whether others than this machine are to reach a gateway that listens on ``host``.

    Behind a proxy on the same machine it listens on the loopback and has a host of the site.
    """
    names = (host, *settings.ALLOWED_HOSTS)
    return not all(is_loopback(name.strip("[]")) for name in names)


def log_demo_user(host: str) -> None:
    """Write to the log that the demo's user is there for others to use; returns at once.

    Args:
        host: where the gateway listens.
    """
    if is_for_others(host):
        threading.Thread(target=_log_demo_user, name="demo user", daemon=True).start()


def _log_demo_user() -> None:
    try:
        is_left = has_demo_user()
    except Error:
        return  # a database that does not answer is told of by whoever needs it
    finally:
        connection.close()
    if is_left:
        logger.warning("%s, and others than this machine may reach it: %s", DEMO_USER_LEFT, MENDS)
