"""V11: logged losses (docs/verification.md, V11).

Huge steps, as the blindfold attack makes them to fill the list of largest updates, leave spikes in the loss; made-up
losses do not survive a replay.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import median

from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context

_SPIKE = 10.0  # times the median absolute difference between neighbours
_MARKED = 8


@check("V11", "spikes of the loss")
def v11_spikes(context: Context) -> str:
    """Have units replayed in which the mean loss jumps up against the unit before."""
    units = [unit for unit in context.units if not math.isnan(unit.mean_loss)]
    jumps = [(after.mean_loss - before.mean_loss, after) for before, after in pairwise(units)]
    usual = median(abs(jump) for jump, _ in jumps) if jumps else 0.0
    spikes = sorted(((j, u) for j, u in jumps if j > _SPIKE * usual), key=lambda pair: (-pair[0], pair[1].index))
    for _, unit in spikes[:_MARKED]:
        context.mark(unit.end, "loss spike")
    if not units:
        return "no losses logged"
    return f"mean loss {units[0].mean_loss:.4g} to {units[-1].mean_loss:.4g}; {len(spikes)} spikes"


@check("V11", "losses, replayed")
def v11_replayed(context: Context) -> str:
    """Every loss that went backward in a replayed step is the logged one, to the bit."""
    losses = 0
    for _, replayed, recorded in context.replayed():
        for step, (ours, theirs) in enumerate(zip(replayed.steps, recorded.steps, strict=False)):
            if ours.losses != theirs.losses:
                raise Refuted(f"step {recorded.first_step + step} logs another loss than the replay's", recorded.index)
            losses += len(theirs.losses)
    return f"{losses} losses equal"
