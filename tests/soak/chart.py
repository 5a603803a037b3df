"""A chart of a run as SVG, drawn by hand: bands over one axis of time, events as lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

__all__ = ["Band", "Mark", "svg"]

Points = Sequence[tuple[float, float]]

_WIDTH, _LEFT, _RIGHT = 1280, 90, 170
_BAND, _GAP, _TOP, _BOTTOM = 130, 34, 60, 190
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")


class Band(NamedTuple):
    """One diagram: its title with the unit, and its lines by name; points are (seconds, value)."""

    title: str
    lines: Mapping[str, Points]


class Mark(NamedTuple):
    """Something that happened from ``begin`` to ``end``, in seconds."""

    begin: float
    end: float
    text: str


def svg(title: str, seconds: float, bands: Sequence[Band], marks: Sequence[Mark]) -> str:
    """Return the chart; the axis runs from 0 to ``seconds``."""
    seconds = max(seconds, 1.0)
    height = _TOP + len(bands) * (_BAND + _GAP) + _BOTTOM
    scale = (_WIDTH - _LEFT - _RIGHT) / seconds
    bottom = _TOP + len(bands) * (_BAND + _GAP) - _GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_LEFT, 24, title, size=16),
    ]
    for mark in marks:
        x, width = _LEFT + mark.begin * scale, max((mark.end - mark.begin) * scale, 1.0)
        parts.append(
            f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{bottom - _TOP}" '
            'fill="#d0d7de" opacity="0.6"/>'
        )
        parts.append(
            f'<text transform="translate({x:.1f} {bottom + 34}) rotate(55)">'
            f"{escape(mark.text)}</text>"
        )
    for place, band in enumerate(bands):
        parts += _band(band, _TOP + place * (_BAND + _GAP), scale)
    parts += [
        _text(_LEFT + seconds * scale * share / 6, bottom + 16, f"{seconds * share / 360:.1f} min")
        for share in range(7)
    ]
    return "\n".join([*parts, "</svg>"])


def _band(band: Band, top: float, scale: float) -> list[str]:
    values = [value for points in band.lines.values() for _, value in points]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = min(low, 0.0) if low < high / 2 else low * 0.98
    high = high * 1.02 or 1.0
    span = (high - low) or 1.0
    right = _WIDTH - _RIGHT
    parts = [
        _text(_LEFT, top - 6, band.title),
        f'<path d="M{_LEFT} {top}V{top + _BAND}H{right}" fill="none" stroke="#57606a"/>',
        _text(_LEFT - 6, top + 10, f"{high:,.5g}", anchor="end"),
        _text(_LEFT - 6, top + _BAND, f"{low:,.5g}", anchor="end"),
    ]
    for number, (name, points) in enumerate(band.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(
            f"{_LEFT + at * scale:.1f},{top + _BAND - (value - low) / span * _BAND:.1f}"
            for at, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts.append(_text(right + 8, top + 12 + 16 * number, name, colour=colour))
    return parts


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = "#24292f"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
