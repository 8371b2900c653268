"""V5: the end of a segment is the beginning of the next, by hash (docs/verification.md, V5).

Stops swapped states: every manifest is bound by the chain, and every stored tensor is what its manifest says.
"""

from __future__ import annotations

from trainproof.recording import chain
from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context


@check("V5", "hash chain, contents of states")
def v05_continuity(context: Context) -> str:
    """Recompute every state root and chain value, and hash every stored tensor."""
    previous = context.record.commitment_digest
    for segment in context.segments():
        if chain.state_root(segment.state) != segment.state.root:
            raise Refuted("its state root does not follow from its manifest", segment.index)
        if segment.previous != previous:
            raise Refuted("does not follow the segment before it", segment.index)
        if chain.chain_value(segment) != segment.chain:
            raise Refuted("its chain value does not follow from its contents", segment.index)
        previous = segment.chain
    wrong = context.survey.wrong_digests
    if wrong:
        raise Refuted(f"{wrong[0][1]} is stored with other contents than its digest says", wrong[0][0])
    return f"{len(context.rows)} links, {sum(row.stored for row in context.rows)} stored states"
