"""V13: the record ends in the model that is published (docs/verification.md, V13).

V1 has compared the signed model with the last state; here the last state is compared with what the verifier holds.
"""

from __future__ import annotations

from trainproof.recording import chain
from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context


@check("V13", "final model")
def v13_final(context: Context) -> str:
    """The model root of the last state, from its stored tensors (V5), is the pinned one."""
    last = len(context.record) - 1
    root = chain.model_root(context.segment(last).state)
    pinned = context.policy.pins.model_root
    if pinned and pinned != root:
        raise Refuted(f"ends in {root}, not in the model that the policy pins", last)
    if not pinned:
        context.caveats.append(f"No final model is pinned: compare yours with {root}.")
    return f"{root}{', as pinned' if pinned else ''}"
