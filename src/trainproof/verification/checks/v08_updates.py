"""V8: updates too small to say anything (docs/verification.md, V8).

Below the noise of a tolerance, any number of small updates carries the model anywhere; so in tolerance mode their sum
is bounded. Bitwise comparison has no noise: there an update of exactly zero is what must be reproduced, or nothing
was done.
"""

from __future__ import annotations

import math
from statistics import median

from trainproof.verification.check import Refuted, check
from trainproof.verification.context import Context

_TINY = 1e-3  # of the median update
_MARKED = 8  # tiny but not zero: so many are replayed beside the rest


@check("V8", "small updates, frozen parameters, logged sizes")
def v08_updates(context: Context) -> str:
    """Count zero and tiny updates and have them replayed; compare logged sizes with the stored states'."""
    frozen = context.survey.frozen_changed
    if frozen:
        raise Refuted(f"{frozen[0][1]} is declared frozen and changes", frozen[0][0])
    if not context.survey.displacement > 0.0:
        raise Refuted("the final model is the initial one")
    middle = median(unit.update_norm for unit in context.units)
    zero, tiny = [], []
    for unit in context.units:
        if unit.steps and unit.update_norm == 0.0:
            zero.append(unit)
            context.mark(unit.end, "zero update")
        elif unit.steps and not unit.update_norm > _TINY * middle:
            tiny.append(unit)
        if unit.end == unit.start + 1:
            logged = float.fromhex(context.segment(unit.end).update_norm)
            if logged != unit.update_norm:
                raise Refuted(f"logs an update of {logged:.6g}; its states are {unit.update_norm:.6g} apart", unit.end)
    for unit in tiny[:: max(1, math.ceil(len(tiny) / _MARKED))]:
        context.mark(unit.end, "tiny update")
    share = math.fsum(unit.update_norm for unit in tiny) / context.survey.displacement
    return f"{len(zero)} zero updates (replayed); {len(tiny)} tiny ones, together {share:.2g} of the displacement"


@check("V8", "update sizes, replayed")
def v08_replayed(context: Context) -> str:
    """The size that the log gives for each replayed segment, stored or not, is the replay's."""
    segments = 0
    for _, replayed, recorded in context.replayed():
        if replayed.update_norm != recorded.update_norm:
            ours, theirs = (float.fromhex(s.update_norm) for s in (replayed, recorded))
            raise Refuted(f"logs an update of {theirs:.6g}; the replay's is {ours:.6g}", recorded.index)
        segments += 1
    return f"{segments} segments"
