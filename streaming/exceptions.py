"""Errors on the bus and on the way to a worker.

StreamingError
├── TopicError                a part of a topic has a form that could collide with another topic
├── MalformedMessageError     bytes on the bus or the control link that are not ours
├── BusError
│   ├── BusAddressInUseError      somebody else listens on the bus port
│   └── BusConfigurationError     the bus settings cannot be used; a person must change them
│       ├── BusFolderError            the folder of its socket files is not ours alone
│       ├── CurveRequiredError        a non-loopback address without keys
│       └── CurveKeyFileError         the key file is missing, unsafe or unreadable
├── KeyEndedError             a key was valid until a moment that is over
├── DirectoryUnavailableError whose a key or a session is cannot be looked up now
├── PresenceUnavailableError  the store of gateways and clients cannot be used now
├── StatusUnavailableError    how pools are cannot be read now
└── ControlError              a worker did not do what was asked
    ├── WorkerTimeoutError        it did not answer in time, or is not there
    └── RequestRefusedError       it answered that it will not; ``code`` says why
"""

from __future__ import annotations

__all__ = [
    "BusAddressInUseError",
    "BusConfigurationError",
    "BusError",
    "BusFolderError",
    "ControlError",
    "CurveKeyFileError",
    "CurveRequiredError",
    "DirectoryUnavailableError",
    "KeyEndedError",
    "MalformedMessageError",
    "PresenceUnavailableError",
    "RequestRefusedError",
    "StatusUnavailableError",
    "StreamingError",
    "TopicError",
    "WorkerTimeoutError",
]


class StreamingError(Exception):
    """Base of everything that the bus, the control link and the client edge raise."""


class TopicError(StreamingError, ValueError):
    """A pool id, exchange or symbol that no topic can carry."""


class MalformedMessageError(StreamingError, ValueError):
    """Bytes that do not follow the format of bus or control link; they are dropped whole."""


class BusError(StreamingError):
    """The bus cannot be opened."""


class BusAddressInUseError(BusError):
    """Another process has the address; ``port`` and ``setting`` name what to change.

    ``where`` is the socket file of a worker that has it; empty for a port, which anybody may have.
    """

    def __init__(self, *, host: str, port: int, setting: str = "ZMQ_PORT", where: str = "") -> None:
        super().__init__(
            f"another worker of this installation has {where}; stop it or set {setting}"
            if where
            else f"port {port} on {host} is already taken; free it or set {setting}"
        )
        self.host = host
        self.port = port
        self.setting = setting


class BusConfigurationError(BusError):
    """The bus settings cannot be used; starting again without a change cannot help."""


class BusFolderError(BusConfigurationError):
    """The folder of the bus's socket files cannot be used, or others could get at them."""


class CurveRequiredError(BusConfigurationError):
    """A non-loopback bus address was configured without keys."""


class CurveKeyFileError(BusConfigurationError):
    """The CURVE key file is missing, readable by others, or not a key file."""


class KeyEndedError(StreamingError):
    """An API key that was valid until a moment that is over; the message is a sentence for it."""


class DirectoryUnavailableError(StreamingError):
    """Whose a key or a session is cannot be looked up now; nobody is refused for that."""


class PresenceUnavailableError(StreamingError):
    """The store of gateways and clients cannot be used now; it is asked again a second later."""


class StatusUnavailableError(StreamingError):
    """How pools and gateways are cannot be read now; it is tried again a second later."""


class ControlError(StreamingError):
    """A request to a worker did not succeed."""


class WorkerTimeoutError(ControlError):
    """No worker answered in time; the request may or may not be in force."""


class RequestRefusedError(ControlError):
    """The worker refused; ``code`` is one of ``control_messages.ErrorCode``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
