"""V10: is the path of the weights a training's? (docs/verification.md, V10)

Honest training wanders: its path is several times as long as its displacement. An interpolation is a straight line,
copied segments repeat. A careful forger can bend a path, so nothing is decided here: what looks odd is replayed.
"""

from __future__ import annotations

import math

from trainproof.verification.check import check
from trainproof.verification.context import Context

_STRAIGHT = 0.999  # cosine of consecutive updates
_MARKED = 8


@check("V10", "shape of the path")
def v10_path(context: Context) -> str:
    """Measure the path; have straight stretches and duplicates replayed."""
    survey = context.survey
    length = math.fsum(unit.update_norm for unit in survey.units)
    straight = [unit for unit in survey.units if unit.cosine > _STRAIGHT]
    for unit in straight[:: max(1, math.ceil(len(straight) / _MARKED))]:
        context.mark(unit.end, "straight line")
    for _, later in survey.duplicates[:_MARKED]:
        context.mark(later, "duplicate state")
    sizes: dict[float, int] = {}
    repeated = []
    for unit in survey.units:
        if unit.update_norm > 0 and unit.update_norm in sizes:
            repeated.append(unit)
        sizes[unit.update_norm] = unit.index
    for unit in repeated[:_MARKED]:
        context.mark(unit.end, "duplicate update")
    cosines = [unit.cosine for unit in survey.units if not math.isnan(unit.cosine)]
    mean = math.fsum(cosines) / len(cosines) if cosines else math.nan
    ratio = length / survey.displacement if survey.displacement > 0 else math.inf
    odd = f"{len(straight)} straight, {len(repeated)} repeated updates, {len(survey.duplicates)} repeated states"
    return f"path/displacement {ratio:.3g}, mean cosine {mean:.3g}; {odd}"
