"""The owner of an API key: the directory's answer, guarded against clients that retry for ever."""

from __future__ import annotations

from collections.abc import Callable

from streaming.edge_limits import EdgeLimits
from streaming.exceptions import KeyEndedError
from streaming.ports.directory import Directory, Principal
from streaming.protocol.vocabulary import ErrorCode, ProtocolError
from streaming.wrong_keys import WrongKeys

__all__ = ["ApiKeyGate"]


class ApiKeyGate:
    """Checks API keys. A valid key always passes, however often its address failed before.

    ``refused`` and ``limited`` count the failures within and over the limit of their address,
    ``ended`` keys that were valid until their end; these are told so however often they come.

    Args:
        directory: knows the keys.
        limits: how many failures an address has a minute.
        clock: monotonic seconds.
    """

    def __init__(
        self, *, directory: Directory, limits: EdgeLimits, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._wrong = WrongKeys(per_minute=limits.auth_failures_per_minute, clock=clock)
        # All since the start; see above.
        self.refused = 0
        self.ended = 0
        self.limited = 0

    async def principal_of(self, api_key: str, address: str) -> Principal:
        """Return whose key it is.

        Raises:
            KeyEndedError: it has ended.
            ProtocolError: ``AUTHENTICATION_ERROR``, or ``RATE_LIMITED`` when the address failed too
                often within a minute.
        """
        if api_key and not self._wrong.was_refused(api_key):
            try:
                principal = await self._directory.authenticate_api_key(api_key)
            except KeyEndedError:
                self.ended += 1
                raise
            if principal is not None:
                return principal
        if seconds := self._wrong.refuse(api_key, address):
            self.limited += 1
            raise ProtocolError(
                ErrorCode.RATE_LIMITED,
                f"Too many wrong API keys from this address; wait {seconds} seconds.",
            )
        self.refused += 1
        raise ProtocolError(ErrorCode.AUTHENTICATION_ERROR, "Invalid API key")
