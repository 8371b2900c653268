"""The tables of the exponential function that cross-entropy uses (docs/exact.md section 3)."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from typing import Final

from trainproof.errors import UsageError
from trainproof.exact.spec import EXP_BITS

# exp is correctly rounded to this many digits. All entries but the first are irrational; the one nearest to a half
# differs from it by more than 10^-5 (a test says so), so that 60 digits leave no doubt about any.
_DIGITS: Final = 60


def tables(a: int) -> tuple[list[int], list[int]]:
    """Return the tables (TH, TL) for logits of exponent ``a``, 2^g integers each, g = (a + 4) / 2.

    No function of the C library takes part, so that every machine makes the same tables.

    Args:
        a: exponent of the last block's activation; even, 2 ≤ a ≤ 16.

    Raises:
        UsageError: another exponent.

    Source: docs/exact.md section 3.
    """
    if a % 2 or not 2 <= a <= 16:
        raise UsageError(
            "cross-entropy has no table for this exponent", name="a", value=a, mend="use an even one, 2 to 16"
        )
    half = 1 << (a + 4) // 2
    with localcontext(Context(prec=_DIGITS)):
        return [_entry(i * half, a) for i in range(half)], [_entry(i, a) for i in range(half)]


def _entry(i: int, a: int) -> int:
    """⌊2^18 · exp(−i / 2^a) + ½⌋."""
    exact = (Decimal(-i) / (1 << a)).exp() * (1 << EXP_BITS)  # the quotient has at most 30 digits: exact
    return int((exact + Decimal("0.5")).to_integral_value(rounding=ROUND_FLOOR))
