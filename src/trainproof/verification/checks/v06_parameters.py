"""V6: replayed parameters are the recorded ones (docs/verification.md, V6; Algorithm 2, lines 27 to 33, with no slack).

Every published spoof fails here: what the recorded batches do to the recorded weights is not what the record says.
"""

from __future__ import annotations

from trainproof.replay.job import TensorError
from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context


@check("V6", "parameters, replayed")
def v06_parameters(context: Context) -> str:
    """Compare every parameter at every segment boundary of the replayed units."""
    names = {f"model/{p.name}" for p in context.commitment.model if p.kind != "buffer"}
    boundaries = 0
    for result, replayed, recorded in context.replayed():
        difference = context.comparison.tensors(result, replayed, recorded, names.__contains__)
        if difference is not None:
            raise Refuted(str(difference), recorded.index, _details(result.errors))
        boundaries += 1
    return f"{len(names)} tensors at {boundaries} boundaries, {context.comparison.name}"


def _details(errors: list[TensorError]) -> tuple[str, ...]:
    """Return a line for each tensor that differs at the unit's end, at most 20."""
    return tuple(
        f"{e.name}: l2 {float.fromhex(e.l2):.3g}, relative to the update {float.fromhex(e.relative):.3g}"
        for e in errors[:20]
    )
