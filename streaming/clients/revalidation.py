"""Which connected clients are no longer who they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streaming.clients.client import Client
from streaming.ports.directory import Directory, Principal
from streaming.protocol.session import SessionState

__all__ = ["changed_principals"]


async def changed_principals(
    directory: Directory, clients: Iterable[Client]
) -> Sequence[tuple[Client, Principal | None]]:
    """Ask the directory once for all admitted clients; return those whose principal changed.

    It is asked without any, too: it may have somebody in mind who is not connected.

    None stands for a key, session or user that is no longer valid. Clients may have come and gone
    while the directory was asked.
    """
    by_identity: dict[tuple[int, int | None, str | None], list[Client]] = {}
    for client in clients:
        if client.session.state is SessionState.READY:
            user = client.session.user
            identity = (user.user_id, user.key_id, user.session_key)
            by_identity.setdefault(identity, []).append(client)
    groups = list(by_identity.values())
    current = await directory.refresh([group[0].session.user for group in groups])
    return [
        (client, principal)
        for group, principal in zip(groups, current, strict=True)
        for client in group
        if principal != client.session.principal
    ]
