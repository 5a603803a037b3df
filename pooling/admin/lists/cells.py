"""Parts of the cells of the admin's lists: badges, bars and ages, readable without colour.

The policy of the pages forbids inline styles, so a bar is an SVG whose width is an attribute.
"""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from brokers.times.moments import moment_text
from pooling.operations.pool_state import Tone

__all__ = ["NOTHING", "Tone", "age", "badge", "bar", "long_age", "moment"]

NOTHING = "-"  # what an empty cell shows
NEARLY_FULL = 0.9
SECONDS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def badge(tone: Tone, word: str, reason: str = "") -> SafeString:
    """Return a word with its shape and colour; ``reason`` is read when it is pointed at."""
    return format_html(
        '<span class="tp-badge tp-{}" title="{}">{}</span>', tone.value, reason or word, word
    )


def bar(used: float, capacity: float, unit: str = "") -> SafeString:
    """Return how much of a capacity is used, as numbers and as a bar."""
    share = min(max(used / capacity, 0.0), 1.0) if capacity > 0 else float(used > 0)
    tone = Tone.BAD if share >= 1 else Tone.WARN if share >= NEARLY_FULL else Tone.GOOD
    text = f"{used:,.0f} of {capacity:,.0f} {unit}".strip()
    return format_html(
        '<span class="tp-bar" role="img" aria-label="{text}" title="{text}, {percent} %">'
        '<span class="tp-bar-text">{used}<span class="tp-quiet"> / {capacity}</span></span>'
        '<svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="tp-bar-all" width="100" height="6" rx="1"></rect>'
        '<rect class="tp-bar-used tp-{tone}" width="{width}" height="6" rx="1"></rect>'
        "</svg></span>",
        text=text,
        percent=round(share * 100),
        used=f"{used:,.0f}",
        capacity=f"{capacity:,.0f}",
        tone=tone.value,
        width=f"{share * 100:.1f}",
    )


def long_age(seconds: float) -> str:
    """Return a duration in its largest whole unit: ``4 s``, ``12 min``, ``3 d``."""
    for size, unit in SECONDS:
        if seconds >= size:
            return f"{int(seconds // size):,} {unit}"
    return "0 s"


def age(at: datetime | None, now: datetime) -> SafeString | str:
    """Return how long ago something was; the exact time is read when it is pointed at."""
    if at is None:
        return NOTHING
    seconds = (now - at).total_seconds()
    words = "now" if seconds < 1 else f"{long_age(seconds)} ago"
    return _time(at, words)


def moment(at: datetime | None) -> SafeString | str:
    """Return a time in the site's zone, to the second."""
    return NOTHING if at is None else _time(at, moment_text(timezone.localtime(at)))


def _time(at: datetime, words: str) -> SafeString:
    local = timezone.localtime(at)
    return format_html(
        '<time class="tp-time" datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        moment_text(local),
        words,
    )
