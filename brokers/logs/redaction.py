"""Redaction of credentials in text that is on its way to people. Pure.

Two nets, because either alone has holes: what a credential looks like (``api_key=…``, an
``Authorization`` header, ``https://user:password@host``, our own keys of 64 hexadecimal digits),
and the very values that this process has decrypted or was started with, whatever they look like.

Two rules keep ordinary lines whole.

*Sentences.* A name such as ``token`` that is followed by a colon, a blank and a word that begins a
sentence ("token: the broker refused it") has no value; behind ``credential`` any word is one.

*Codes and states.* ``code`` and ``state`` name the secrets of one login, and much else: HTTP
statuses, errors, pools. A number below 100,000 is never a secret. In the query of a URL, in a form,
or within reach of another word of a login (``client_id``, ``grant_type``...), any other ``code`` is
one, and any ``state`` but plain words. Elsewhere, as in JSON or in a repr, both are unless they are
plain words ("live", "BROKER_ERROR") or look like the code of an error ("AB1050"). In a sentence
("code: AB1050x") only what is long and no word is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

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
# What a login is done with once, or what proves it.
_OF_ONE_LOGIN = (
    r"auth(?:ori[sz]ation)?[-_]?code|token[-_]?id|consent[-_]?app[-_]?id|checksum"
    r"|app[-_]?id[-_]?hash"
)
# Repetitions are bounded everywhere: a line may be long, and its author hostile.
_NAME = (
    r"(?P<name>(?<![a-z0-9])(?:[a-z0-9]{1,20}[-_]){0,3}?"
    rf"(?:access|refresh|feed|request|public|id)?(?:{_NAMES}))"
)
_QUOTED = r"\\?\"(?:[^\"\\]|\\[^\"])*\\?\"?|'(?:[^'\\]|\\.)*'?"
_BARE = r"[^\s&;,'\"<>)\]}\[]+"
_VALUE = rf"(?P<value>{_QUOTED}|{_BARE})"
# Between name and value; lists hold the values of a query where it was parsed.
_OPENING = r"\s{0,4}[\[(]?(?:b(?=['\"]))?"
_SIGN = rf"(?P<sign>\\?['\"]?\s{{0,4}}(?:=|:|%3D){_OPENING})"
_SIGN_OR_COMMA = rf"(?P<sign>\\?['\"]?\s{{0,4}}(?:=|:|%3D|,(?=\s?b?['\"])){_OPENING})"

# With these a sentence goes on.
_BEGINNINGS: Final = re.compile(
    r"an?|absent|all|and|any|are|as|at|be|by|each|empty|ended|enter|expired|for|from|has|have|if|in"
    r"|invalid|is|its?|log|malformed|may|missing|must|no|none|not|nothing|of|on|one|only|or|refused"
    r"|required|see|set|that|the|there|they|this|too?|unknown|use|was|were|what|when|which|wrong"
    r"|your?",
    re.I,
)
_CREDENTIAL: Final = re.compile(r"credentials?", re.I)
_WORD = r"(?:[A-Z]?[a-z]{1,19}|[A-Z]{1,20}|[A-Z][a-z]{2,19}[A-Z][a-z]{2,19})"
_WORDS: Final = re.compile(rf"{_WORD}(?:[ ._-]{_WORD}){{0,4}}")
_NUMBER: Final = re.compile(r"-?\d{1,5}")
_ERROR_CODE: Final = re.compile(r"[A-Z]{2,6}-?\d{1,6}")
SHORTEST_IN_SENTENCE = 16
# Where another word of a login stands, ``code`` is that login's.
_OF_LOGINS: Final = re.compile(
    r"client_id|client_secret|grant_type|redirect_(?:uri|params)|auth_?code|app_?id_?hash|callback",
    re.I,
)
_REACH = 300

Replacement = Callable[[re.Match[str]], str]


def _keep_before(match: re.Match[str]) -> str:
    return f"{match['before']}{REDACTED}"


def _keep_name(match: re.Match[str]) -> str:
    value = match["value"]
    if value in ("None", "null", "True", "true", "False", "false", REDACTED) or not value:
        return match[0]
    if _is_sentence(match["name"], match["sign"], value):
        return match[0]
    return _without_value(match)


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    mark = value[0] if value[0] in "'\"" else ""
    return f"{match['name']}{match['sign']}{mark}{REDACTED}{mark}"


def _is_sentence(name: str, sign: str, value: str) -> bool:
    if sign.strip() != ":" or not sign.endswith(" "):
        return False
    word = value.rstrip(".:!?")
    if _CREDENTIAL.fullmatch(name):
        return word.isalpha() and word[1:].islower()
    return _BEGINNINGS.fullmatch(word) is not None


def _keep_code(match: re.Match[str]) -> str:
    """Take out the ``code`` or ``state`` of a login, as the module says."""
    name, sign, value = match["name"].lower(), match["sign"], match["value"]
    if name not in ("code", "state"):
        return _without_value(match)
    bare = unquote_plus(value.strip("'\"\\"))
    if not bare or value == REDACTED or _NUMBER.fullmatch(bare):
        return match[0]
    is_plain = _WORDS.fullmatch(bare) is not None
    if _is_of_login(match):
        is_kept = is_plain and name == "state"
    elif sign == ": " and value[0] not in "'\"\\":
        is_kept = is_plain or len(bare) < SHORTEST_IN_SENTENCE
    else:
        is_kept = is_plain or _ERROR_CODE.fullmatch(bare) is not None
    return match[0] if is_kept else _without_value(match)


def _is_of_login(match: re.Match[str]) -> bool:
    text, start, end = match.string, match.start(), match.end()
    if text[max(0, start - 1) : start] in ("?", "&") or text[end : end + 1] == "&":
        return True
    if match["sign"].endswith("%3D"):
        return True
    near = text[max(0, start - _REACH) : start] + text[end : end + _REACH]
    return _OF_LOGINS.search(near) is not None


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
            rf"{_NAME}{_SIGN_OR_COMMA}{_VALUE}",
            re.I,
        ),
        _keep_name,
    ),
    (
        re.compile(
            rf"(?P<name>(?<![a-z0-9])(?:[a-z0-9]{{1,20}}[-_]){{0,3}}?(?:{_OF_ONE_LOGIN}))"
            rf"{_SIGN}{_VALUE}",
            re.I,
        ),
        _keep_name,
    ),
    (
        re.compile(
            rf"(?P<name>(?:(?<=%3F)|(?<=%26)|(?<![\w-]))(?:code|state)){_SIGN}{_VALUE}", re.I
        ),
        _keep_code,
    ),
    # A pair, as in a list of parameters.
    (
        re.compile(
            rf"(?<=\(['\"])(?P<name>code|state|{_OF_ONE_LOGIN})(?P<sign>['\"],\s?)(?P<value>{_QUOTED})",
            re.I,
        ),
        _keep_code,
    ),
    (
        re.compile(
            r"(?P<before>\b(?:bearer|basic)\s+(?!auth[a-z]{0,20}\b|information\b))[a-z0-9._~+/=:-]{8,}",
            re.I,
        ),
        _keep_before,
    ),
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
