"""Check for a proxy that is not trusted, so that all requests come from one address."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from openalgo_site.adapters.proxy_notes import proxy_notes
from openalgo_site.doctor.findings import Finding, fine, warned
from streaming.addresses import is_private
from streaming.models import ClientConnection

__all__ = ["forwarded"]

NAME = "forwarded"
LEAST_USERS = 2
EVERYBODY = (
    "so limits take all of its users for one, and a stranger's wrong logins count against all"
)


def forwarded() -> Iterator[Finding]:
    """Check whether clients' own addresses are known here."""
    seen = sorted(proxy_notes().seen())
    for address in seen:
        yield warned(
            NAME,
            f"a proxy at {address} sends requests on and is not trusted, {EVERYBODY}",
            f"set TRUSTED_PROXIES={address} if it is yours, and see that it sets X-Forwarded-For "
            "(docs/access.md, Behind a proxy)",
        )
    if seen:
        return
    clients = set(ClientConnection.objects.alive().values_list("address", "user"))
    addresses = {address for address, _ in clients}
    users = {user for _, user in clients}
    if len(addresses) == 1 and len(users) >= LEAST_USERS and is_private(only := addresses.pop()):
        yield warned(
            NAME,
            f"the clients of all {len(users)} users come from {only}: if a proxy is there it names "
            f"nobody, {EVERYBODY}",
            f"let it set X-Forwarded-For, and set TRUSTED_PROXIES={only} (docs/access.md, "
            "Behind a proxy)",
        )
        return
    named = ", ".join(str(each) for each in settings.TRUSTED_PROXIES)
    yield fine(NAME, f"clients of {named} are known" if named else "no proxy was seen")
