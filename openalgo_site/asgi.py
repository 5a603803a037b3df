"""The ASGI application: Django's pages and the gateway's WebSockets in one process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from openalgo_site.web.handler import site_handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
# Loads the apps; what is imported below needs them.
django_application = site_handler()

from django.conf import settings  # noqa: E402

from openalgo_site.adapters.enabled_accounts import count_enabled_accounts  # noqa: E402
from openalgo_site.adapters.key_uses import KEY_USES  # noqa: E402
from openalgo_site.adapters.last_prices import PRICES  # noqa: E402
from openalgo_site.adapters.notices import SENDER  # noqa: E402
from openalgo_site.adapters.presence import DjangoPresence  # noqa: E402
from openalgo_site.adapters.proxy_notes import proxy_notes  # noqa: E402
from openalgo_site.adapters.users_and_accounts import DjangoDirectory  # noqa: E402
from openalgo_site.config.metrics_key import prepare_metrics_key  # noqa: E402
from openalgo_site.turns.logins import with_login_turns  # noqa: E402
from openalgo_site.turns.pages import PageLines, with_page_turns  # noqa: E402
from openalgo_site.turns.visitors import VISITORS  # noqa: E402
from openalgo_site.web.bodies import with_bounded_bodies  # noqa: E402
from openalgo_site.web.metrics import pool_word  # noqa: E402
from openalgo_site.web.status.source import DjangoStatusSource  # noqa: E402
from streaming.edge_limits import EdgeLimits, Refusal  # noqa: E402
from streaming.gateway.bare_answers import with_security_headers  # noqa: E402
from streaming.gateway.database_probe import DatabaseProbe  # noqa: E402
from streaming.gateway.gateway import Gateway  # noqa: E402
from streaming.gateway.proxies import behind_proxies  # noqa: E402
from streaming.gateway.routing import build_application  # noqa: E402
from streaming.link.zmq_feed_link import ZmqFeedLink  # noqa: E402
from streaming.ports.link import FeedLink  # noqa: E402
from streaming.wire.address import bus_address  # noqa: E402

__all__ = ["application", "gateway", "make_link"]

# Connections of the database that sockets, presence and health may need beside pages.
_LOOK_UPS = 4


def make_link() -> FeedLink:
    """Return the way to the workers, not yet open.

    Raises:
        BusConfigurationError: the bus settings cannot be used.
    """
    env = settings.ENV
    return ZmqFeedLink(
        buses=[bus_address(env, settings.BUS_DIR)],
        receive_hwm=env.zmq_receive_hwm,
    )


def _connections_of_pages() -> int | None:
    if "pool" not in settings.DATABASES["default"].get("OPTIONS", {}):
        return None
    return int(settings.ENV.db_max_connections) - _LOOK_UPS


gateway = Gateway(
    make_link=make_link,
    directory=DjangoDirectory(on_use=KEY_USES.note),
    limits=EdgeLimits(**getattr(settings, "GATEWAY_LIMITS", {})),
    presence=DjangoPresence(),
    status=DjangoStatusSource(),
    database=DatabaseProbe(count_enabled_accounts),
    proxies=settings.TRUSTED_PROXIES,
    pool_word=pool_word,
)
SENDER.send_through(gateway.announce)
PRICES.ask_of(gateway)
prepare_metrics_key()
# The loop waits for no file.
_WRITER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="proxy-notes")
application = behind_proxies(
    with_security_headers(
        build_application(
            http=with_bounded_bodies(
                with_login_turns(
                    with_page_turns(
                        django_application,
                        PageLines.of(gateway.limits, connections=_connections_of_pages()),
                        visitor_of=VISITORS.of,
                        on_refused=lambda: gateway.edge.refused.update([Refusal.PAGES]),
                    ),
                    limits=gateway.limits,
                    on_refused=lambda: gateway.edge.refused.update([Refusal.LOGINS]),
                ),
                limits=gateway.edge.limits,
                on_refused=lambda: gateway.edge.refused.update([Refusal.BODY_BYTES]),
            ),
            gateway=gateway,
        )
    ),
    trusted=settings.TRUSTED_PROXIES,
    on_untrusted=proxy_notes(run=_WRITER.submit).note,
)
