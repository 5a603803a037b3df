"""The product's settings, for gateways whose clients are all of one user: thousands of them."""

from __future__ import annotations

from openalgo_site.settings import *  # noqa: F403

GATEWAY_LIMITS = {"max_clients_per_user": 10_000, "max_instruments_per_user": 1_000_000}
