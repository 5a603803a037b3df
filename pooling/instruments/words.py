"""Words by which an instrument is found besides its symbol. Pure."""

from __future__ import annotations

import re

__all__ = ["name_words", "underlying_of"]

MAX_WORDS = 12
MAX_WORD_LENGTH = 64
# In OpenAlgo's form a derivative is underlying, DDMMMYY, and FUT or strike and CE or PE.
_DERIVATIVE = re.compile(r"(.+?)\d{2}[A-Z]{3}\d{2}(?:FUT|[\d.]+(?:CE|PE))")
_WORD = re.compile(r"[^\s/,()]+")


def underlying_of(symbol: str) -> str:
    """Return the underlying of a future or an option in OpenAlgo's form; "" for anything else."""
    found = _DERIVATIVE.fullmatch(symbol)
    return found[1] if found else ""


def name_words(name: str) -> list[str]:
    """Return the words of a name that one may search for, in capitals, each once."""
    words = dict.fromkeys(word[:MAX_WORD_LENGTH] for word in _WORD.findall(name.upper()))
    return list(words)[:MAX_WORDS]
