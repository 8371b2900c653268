"""Strings that come from a record, made safe to look at: nothing in them moves the cursor, the text or the reader."""

from __future__ import annotations

import math
from typing import Any

LONGEST = 2000  # characters of one value that a report or a terminal shows


def printable(value: object, limit: int = LONGEST) -> str:
    """Return ``value`` on one line: control characters, direction overrides and lone surrogates as ``\\u{hex}``.

    At most ``limit`` characters of it are shown, and then how many more there are.
    """
    text = value if isinstance(value, str) else str(value)
    shown = "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text[:limit])
    return shown if len(text) <= limit else f"{shown}… ({len(text) - limit} more characters)"


def number(value: float | None, digits: int = 3) -> str:
    """Return ``value`` for reading, with ``digits`` significant digits; an em dash for None."""
    if value is None:
        return "—"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value == 0:
        return "0"
    return f"{value:.{digits}g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.{digits - 1}e}"


def duration(seconds: float) -> str:
    """Return a time for reading: milliseconds to days."""
    if not math.isfinite(seconds) or seconds < 0:
        return number(seconds)
    if 0 < seconds < 1e-3:
        return "<1 ms"
    for below, unit, name in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < below:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86400:.3g} days"


def size(count: int) -> str:
    """Return a number of bytes for reading."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def plain(value: Any) -> Any:
    """Return ``value`` as JSON types that every JSON parser takes: numbers that are not finite become strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value
