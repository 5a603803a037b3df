"""Settings of one account at a broker: what its documents leave open, and what plans differ in.

A broker declares a frozen dataclass of them, each with the default that does least harm if it is
wrong. What an account stores is only what differs from the defaults.

>>> @dataclass(frozen=True, slots=True, kw_only=True)
... class ExampleSettings(BrokerSettings):
...     symbols: int = setting(
...         5000, label="Symbols", help_text="As the plan says.", minimum=1, maximum=9000
...     )
>>> changed(parse(ExampleSettings, {"symbols": "6000"}))
{'symbols': 6000}
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, TypeVar

from brokers.exceptions import BrokerConfigError

__all__ = [
    "BrokerSettings",
    "SettingField",
    "SettingValue",
    "changed",
    "fields_of",
    "parse",
    "setting",
]

SettingValue = bool | int | float | str
_Value = TypeVar("_Value", bool, int, float, str)
_Settings = TypeVar("_Settings", bound="BrokerSettings")

_METADATA: Final = "broker_setting"
_SWITCHES: Final = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_LONGEST_TEXT: Final = 100
# How much of a wrong value or name an error repeats.
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingField:
    """One setting, as forms and the command line show it.

    ``kind`` is ``bool``, ``int``, ``float`` or ``str``. ``choices`` are (value, label) pairs, empty
    where any value goes. ``minimum`` and ``maximum`` belong to the allowed values; None: no bound.
    Of a text, ``maximum`` is the length of the longest.
    """

    name: str
    kind: type[SettingValue]
    default: SettingValue
    label: str
    help_text: str
    choices: tuple[tuple[SettingValue, str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def longest(self) -> int:
        """The length of the longest text that it takes."""
        return _LONGEST_TEXT if self.maximum is None else int(self.maximum)

    def allowed(self) -> str:
        """Return in words what it takes, for an error message."""
        if self.choices:
            return "one of " + ", ".join(str(value) for value, _ in self.choices)
        if self.kind is bool:
            return "on or off"
        if self.kind is str:
            return f"a text of at most {self.longest} characters"
        noun = "a whole number" if self.kind is int else "a number"
        if self.minimum is not None and self.maximum is not None:
            return f"{noun} from {_plain(self.minimum)} to {_plain(self.maximum)}"
        if self.minimum is not None:
            return f"{noun} of at least {_plain(self.minimum)}"
        if self.maximum is not None:
            return f"{noun} of at most {_plain(self.maximum)}"
        return noun

    def read(self, value: object) -> SettingValue:
        """Return ``value``, of JSON or of a command line, as this setting's own kind.

        Raises:
            BrokerConfigError: it is not allowed; the message says what is.
        """
        read: SettingValue | None = _READERS[self.kind](value)
        if read is None or not self._takes(read):
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
            raise BrokerConfigError(f"setting {self.name}: {self.allowed()}, not {shown}")
        return read

    def _takes(self, value: SettingValue) -> bool:
        if self.choices:
            return any(value == choice for choice, _ in self.choices)
        if isinstance(value, str):
            return value.isprintable() and len(value) <= self.longest
        return (self.minimum is None or value >= self.minimum) and (
            self.maximum is None or value <= self.maximum
        )


def setting(
    default: _Value,
    *,
    label: str,
    help_text: str,
    choices: tuple[tuple[_Value, str], ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> _Value:
    """Declare one setting in a subclass of ``BrokerSettings``; its kind is that of ``default``.

    Args:
        default: the answer that does least harm if it is wrong.
        label: what a form calls it.
        help_text: what it changes, what is known, and when to change it.
        choices: (value, label) of everything that it may be; None: anything within the bounds.
        minimum: the least number that it may be.
        maximum: the greatest number, or the length of the longest text.
    """
    metadata = {
        "label": label,
        "help_text": help_text,
        "choices": choices or (),
        "minimum": minimum,
        "maximum": maximum,
    }
    declared: Any = field(default=default, metadata={_METADATA: metadata})
    return declared  # type: ignore[no-any-return]  # the dataclass makes a value of it


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Base of all brokers' settings, and the settings of a broker that has none.

    A subclass is a frozen dataclass with ``slots`` and ``kw_only`` whose fields are all made by
    ``setting``. Hashable; equal where every setting is. Raises ValueError for values that do not
    fit their fields, or one another (``_check``).
    """

    def __post_init__(self) -> None:
        for one in fields_of(type(self)):
            try:
                read = one.read(getattr(self, one.name))
            except BrokerConfigError as error:
                raise ValueError(str(error)) from None
            # A whole number where a number is meant: equal settings look the same everywhere.
            object.__setattr__(self, one.name, read)
        self._check()

    def _check(self) -> None:
        """Raise ValueError, saying what mends it, where two settings do not fit one another."""


def fields_of(cls: type[BrokerSettings]) -> tuple[SettingField, ...]:
    """Return the settings of a class, in the order in which it declares them.

    Raises:
        TypeError: a field was not made by ``setting``.
    """
    found = []
    for one in fields(cls):
        if _METADATA not in one.metadata or one.default is MISSING:
            raise TypeError(f"{cls.__name__}.{one.name} must be made by setting()")
        declared = one.metadata[_METADATA]
        found.append(
            SettingField(name=one.name, kind=type(one.default), default=one.default, **declared)
        )
    return tuple(found)


def parse(cls: type[_Settings], values: Mapping[str, object]) -> _Settings:
    """Return the settings that ``values`` say, JSON values or text; the others are the defaults.

    Raises:
        BrokerConfigError: an unknown setting, or a value that is not allowed; it says what is.
    """
    known = {one.name: one for one in fields_of(cls)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            names = f"known: {', '.join(known)}" if known else "there are none"
            raise BrokerConfigError(f"unknown setting {str(name)[:_SHOWN]!r}; {names}")
        given[name] = known[name].read(value)
    try:
        return cls(**given)
    except ValueError as error:
        raise BrokerConfigError(str(error)) from None


def changed(settings: BrokerSettings) -> dict[str, SettingValue]:
    """Return what differs from the defaults, by name: JSON values, and what ``parse`` takes."""
    values = ((one, getattr(settings, one.name)) for one in fields_of(type(settings)))
    return {one.name: value for one, value in values if value != one.default}


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _read_switch(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return _SWITCHES.get(value.strip().lower()) if isinstance(value, str) else None


def _read_whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _WHOLE.fullmatch(text) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None


def _read_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _read_text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) else None


_READERS: Final[Mapping[type, Any]] = {
    bool: _read_switch,
    int: _read_whole,
    float: _read_number,
    str: _read_text,
}
