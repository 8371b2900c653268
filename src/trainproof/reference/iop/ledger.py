"""The claims that are open: each is consumed by a later step or opened by the oracle (docs/identities.md, 3).

A claim on a committed column goes to the oracle at the end. A claim on a virtual polynomial must be taken by the step
that reduces it; when the protocol ends none may be left, and every column must have been opened.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from trainproof.reference.iop.field import Element
from trainproof.reference.iop.multilinear import Point
from trainproof.reference.iop.weights import Weight


class Claim(NamedTuple):
    """A polynomial has a value at a point."""

    point: Point
    value: Element


class Ledger:
    """``opened``: claims on columns. ``errors``: claims Σ_i share_i·Σ_x weight(x)·dz_i(x) = value, by block."""

    def __init__(self) -> None:
        self.opened: dict[tuple[str, Point], Element] = {}
        self.errors: dict[int, list[tuple[Weight, list[Element], Element]]] = {}
        self._owed: dict[Hashable, Claim] = {}

    def open(self, column: str, point: Point, value: Element) -> None:
        """A claim on a committed column."""
        self.opened[column, point] = value

    def owe(self, key: Hashable, claim: Claim) -> None:
        """A claim on the virtual polynomial ``key``; each has one."""
        if key in self._owed:
            raise AssertionError(f"two claims on {key}")
        self._owed[key] = claim

    def owes(self, key: Hashable) -> bool:
        return key in self._owed

    def take(self, key: Hashable) -> Claim:
        return self._owed.pop(key)

    def virtual(self) -> list[str]:
        """The claims on virtual polynomials that nobody has taken."""
        return [str(key) for key in (*self._owed, *self.errors)]

    def unopened(self, columns: Iterable[str]) -> list[str]:
        """The columns that no claim has reached."""
        seen = {column for column, _ in self.opened}
        return [column for column in columns if column not in seen]
