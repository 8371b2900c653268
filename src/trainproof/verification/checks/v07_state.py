"""V7: buffers, optimizer state, random generators and the loader's position are the recorded ones
(docs/verification.md, V7).

Stops smuggling: a displacement that is put into momentum, into Adam's moments or into a buffer makes the next segment's
replay agree, so the state itself must be what the segment before leaves behind.
"""

from __future__ import annotations

from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context


@check("V7", "buffers, optimizer, generators, loader, replayed")
def v07_state(context: Context) -> str:
    """Compare all of the state that V6 does not, at every segment boundary of the replayed units."""
    parameters = {f"model/{p.name}" for p in context.commitment.model if p.kind != "buffer"}
    boundaries = 0
    for result, replayed, recorded in context.replayed():
        difference = context.comparison.tensors(result, replayed, recorded, lambda name: name not in parameters)
        difference = difference or context.comparison.rest(replayed, recorded)
        if difference is not None:
            raise Refuted(str(difference), recorded.index)
        boundaries += 1
    return f"{boundaries} boundaries, {context.comparison.name}"
