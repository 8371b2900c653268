"""How a replayed segment is compared with the recorded one. Bitwise is the only way in this version; tolerance is the
seam.

A comparison names the first difference; what a difference means is the checks' part (V6 parameters, V7 everything
else).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from trainproof.recording.format import Leaf, Mapping, Segment, Tree
from trainproof.replay.job import UnitResult


@dataclass(frozen=True)
class Difference:
    """The first thing in a segment that differs. ``rho`` is ‖replayed − recorded‖ / ‖recorded update‖ of the tensor,
    nan where the tensors of that state are not stored.
    """

    segment: int
    name: str
    rho: float = math.nan

    def __str__(self) -> str:
        """Return the difference in words."""
        rho = "" if math.isnan(self.rho) else f", relative error {self.rho:.3g} of the recorded update"
        return f"{self.name} is not what the replay gives{rho}"


class Comparison(Protocol):
    """Compares states. ``wanted`` says which tensors, by name, are in question."""

    name: str

    def tensors(
        self, result: UnitResult, replayed: Segment, recorded: Segment, wanted: Callable[[str], bool]
    ) -> Difference | None:
        """Return the first of the wanted tensors that does not agree, or None."""
        ...

    def rest(self, replayed: Segment, recorded: Segment) -> Difference | None:
        """Return the first part of the state that is not a tensor and does not agree, or None."""
        ...


class Bitwise:
    """Equal digests, equal trees, equal memory layouts."""

    name = "bitwise"

    def tensors(
        self, result: UnitResult, replayed: Segment, recorded: Segment, wanted: Callable[[str], bool]
    ) -> Difference | None:
        """Return the first wanted tensor, by name, whose dtype, shape, memory order or digest differs."""
        ours = {entry.name: entry for entry in replayed.state.tensors if wanted(entry.name)}
        theirs = {entry.name: entry for entry in recorded.state.tensors if wanted(entry.name)}
        for name in sorted(ours.keys() | theirs.keys(), key=str.encode):
            if ours.get(name) != theirs.get(name):
                return Difference(recorded.index, name, self._rho(result, name, recorded.index))
        return None

    def rest(self, replayed: Segment, recorded: Segment) -> Difference | None:
        """Return the first difference in aliases, anchors, or the tree of everything that is not a tensor."""
        for ours, theirs in zip_longest(replayed.anchors, recorded.anchors):
            if ours != theirs:
                steps = (theirs or ours).steps
                return Difference(recorded.index, f"the state hashed after {steps} steps of the segment")
        if replayed.state.aliases != recorded.state.aliases:
            return Difference(recorded.index, "aliases of tied tensors")
        path = first_difference(replayed.state.tree, recorded.state.tree)
        return None if path is None else Difference(recorded.index, f"state '{path}'")

    @staticmethod
    def _rho(result: UnitResult, name: str, segment: int) -> float:
        if segment != result.unit.end:
            return math.nan
        return next((float.fromhex(e.relative) for e in result.errors if e.name == name), math.nan)


def first_difference(a: Tree, b: Tree, path: str = "") -> str | None:
    """Return the path of the first difference of two trees, or None: 'groups/0/lr'."""
    if a == b:
        return None
    if isinstance(a, Mapping) and isinstance(b, Mapping) and [k for k, _ in a.v] == [k for k, _ in b.v]:
        pairs = [(key.v if isinstance(key, Leaf) else "?", x, y) for (key, x), (_, y) in zip(a.v, b.v, strict=True)]
    elif hasattr(a, "v") and hasattr(b, "v") and isinstance(a.v, list) and isinstance(b.v, list) and type(a) is type(b):
        if len(a.v) != len(b.v) or isinstance(a, Mapping):
            return path or "/"
        pairs = [(str(i), x, y) for i, (x, y) in enumerate(zip(a.v, b.v, strict=True))]
    else:
        return path or "/"
    for name, x, y in pairs:
        found = first_difference(x, y, f"{path}/{name}" if path else name)
        if found is not None:
            return found
    return path or "/"
