"""Redaction of credentials in text that is on its way to people. Pure.

Two nets, because either alone has holes: what a credential looks like (``api_key=…``, an
``Authorization`` header, ``https://user:password@host``, our own keys of 64 hexadecimal digits),
and the very values that this process has decrypted or was started with, whatever they look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

__all__ = ["REDACTED", "REDACTOR", "Redactor"]

REDACTED = "[redacted]"
# A shorter one would be cut out of innocent words; the names around it still give it away.
SHORTEST_VALUE = 6
MAX_VALUES = 10_000

_NAMES = (
    r"(?:x[-_])?api[-_]?(?:key|secret)|apikey|auth(?:entication)?[-_]?(?:key|token)"
    r"|(?<!broker_)(?<!broker-)token|(?:client|app|consumer|webhook)[-_]?secret|secret(?:[-_]?key)?"
    r"|pass(?:word|wd|phrase)|m?pin|totp(?:[-_]?(?:key|secret))?|jwt|signature|session(?:id|[-_]key)"
    r"|enctoken|csrf\w{0,20}|private[-_]?key|credentials?"
)
# ``access_token``, ``feedToken``, ``my_api_key``: whatever ends in one of the names.
# Repetitions are bounded everywhere: a line may be long, and its author hostile.
_NAME = (
    r"(?P<name>(?<![a-z0-9])(?:[a-z0-9]{1,20}[-_]){0,3}?"
    rf"(?:access|refresh|feed|request|public|id)?(?:{_NAMES}))"
)
_QUOTED = r"\\?\"(?:[^\"\\]|\\[^\"])*\\?\"?|'(?:[^'\\]|\\.)*'?"
_BARE = r"[^\s&;,'\"<>)\]}]+"

Replacement = Callable[[re.Match[str]], str]


def _keep_before(match: re.Match[str]) -> str:
    return f"{match['before']}{REDACTED}"


def _keep_name(match: re.Match[str]) -> str:
    value = match["value"]
    if value in ("None", "null", "True", "true", "False", "false", REDACTED) or not value:
        return match[0]
    mark = value[0] if value[0] in "'\"" else ""
    return f"{match['name']}{match['sign']}{mark}{REDACTED}{mark}"


_SHAPES: tuple[tuple[re.Pattern[str], Replacement], ...] = (
    # A whole header, to the end of its line: the schemes differ from broker to broker.
    (
        re.compile(
            r"(?P<before>\b(?:proxy-)?authorization\b['\"]?\s*[:=,]\s*(?:b?['\"])?|"
            r"\b(?:set-)?cookie['\"]?\s*[:=,]\s*(?:b?['\"])?)(?P<value>[^\r\n'\"]+)",
            re.I,
        ),
        _keep_before,
    ),
    (
        re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@'\"<>]{1,1000}(?=@)", re.I),
        _keep_before,
    ),
    (
        re.compile(
            rf"{_NAME}(?P<sign>\\?['\"]?\s{{0,4}}(?:=|:|%3D|,(?=\s?b?['\"]))\s{{0,4}}(?:b(?=['\"]))?)"
            rf"(?P<value>{_QUOTED}|{_BARE})",
            re.I,
        ),
        _keep_name,
    ),
    (re.compile(r"(?P<before>\b(?:bearer|basic)\s+)[a-z0-9._~+/=:-]{8,}", re.I), _keep_before),
    (re.compile(r"(?P<before>(?<![0-9a-zA-Z]))[0-9a-f]{64}(?![0-9a-zA-Z])"), _keep_before),
    (re.compile(r"(?P<before>\b)gAAAAA[\w-]{40,}=*"), _keep_before),
    (re.compile(r"(?P<before>\bsealed1\.[0-9a-f]{16}\.)[\w-]{40,}=*"), _keep_before),
    (re.compile(r"(?P<before>\bsealed-box-private:)[\w-]{20,}=*"), _keep_before),
    (re.compile(r"(?P<before>\b)eyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"), _keep_before),
)


class Redactor:
    """Replaces credentials in text by ``[redacted]``. Safe from any thread.

    At most ``MAX_VALUES`` values are known by heart; beyond, the oldest are forgotten and only
    their looks give them away.
    """

    def __init__(self) -> None:
        # What was learnt, the oldest first. Never changed: ``learn`` puts another in its place.
        self._values: dict[str, None] = {}
        # All of it in one expression; None: nothing was learnt.
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    def learn(self, values: Iterable[str]) -> None:
        """Know these values from now on, in clear and as they stand in a URL."""
        known = dict(self._values)
        for value in values:
            if len(value) >= SHORTEST_VALUE:
                known |= dict.fromkeys((value, quote(value, safe=""), quote_plus(value)))
        if known.keys() == self._values.keys():
            return
        while len(known) > MAX_VALUES:
            del known[next(iter(known))]
        # The longest first: one value may be the beginning of another.
        parts = sorted(known, key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, parts)))
        self._values, self._pattern = known, pattern

    def redact(self, text: str) -> str:
        """Return ``text`` without what is, or looks like, a credential."""
        pattern = self._pattern
        if pattern is not None:
            text = pattern.sub(REDACTED, text)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text


# One of a process, as logging is: who decrypts a credential teaches it, every log handler asks it.
REDACTOR = Redactor()
