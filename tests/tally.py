"""Counts honest replays over the support matrix, so that a run of the tests prints how many there were."""

from __future__ import annotations

from collections import Counter

SEGMENTS: Counter[str] = Counter()
"""Replayed segments by outcome: ``bitwise``, ``refused`` (another state, batch or loss), ``inconclusive`` (no end)."""


def summary() -> str:
    """Return the count in one line; empty if nothing was replayed."""
    if not SEGMENTS:
        return ""
    return (
        f"honest bitwise verifications over the support matrix: {sum(SEGMENTS.values())} segment replays, "
        f"{SEGMENTS['refused']} refused, {SEGMENTS['inconclusive']} inconclusive"
    )
