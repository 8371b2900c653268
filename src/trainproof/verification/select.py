"""Which units are replayed, and how many: the rule of docs/verification.md, 'How many'.

Everything here is a function of the record, the policy and the verifier's nonce, so that a report can be checked by
running it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trainproof import _core
from trainproof.recording.chain import digest_of
from trainproof.verification.policy import Selection


@dataclass(frozen=True)
class UnitFacts:
    """What is known of a unit before anything is replayed; ``start`` and ``end`` are segments with stored states.

    Steps are ``first_step`` to ``last_step`` (inclusive; ``last_step`` = ``first_step`` − 1 if there is none). Norms
    are l2, in binary64, of the change between the stored states; nan where the end state is not stored. ``cosine`` is
    between this unit's update and the next one's (nan for the last).
    """

    index: int
    start: int
    end: int
    first_step: int
    last_step: int
    epoch: int
    update_norm: float
    optimizer_change: float
    mean_loss: float
    cosine: float = math.nan

    @property
    def steps(self) -> int:
        """Return the optimizer steps of the unit."""
        return self.last_step - self.first_step + 1


@dataclass(frozen=True)
class Plan:
    """The chosen units with their reasons, and the numbers behind the size of the random sample.

    ``sample`` units were drawn from ``rest``, the units that nothing else had chosen. ``largest`` is u_Q, the largest
    update among those; ``distance`` is D; ``forged`` = ⌈D/u_Q⌉ (at most ``rest``) units must be forged to move the
    model by D; ``miss`` is the probability that the sample holds none of them.
    """

    reasons: dict[int, list[str]]
    rest: int
    largest: float
    distance: float
    forged: int
    sample: int
    miss: float
    nonce: str
    units: tuple[UnitFacts, ...] = field(repr=False, default=())

    @property
    def chosen(self) -> list[UnitFacts]:
        """Return the chosen units in the order of the training."""
        return [self.units[i] for i in sorted(self.reasons)]

    @property
    def steps(self) -> int:
        """Return how many optimizer steps the chosen units have."""
        return sum(unit.steps for unit in self.chosen)

    def describe(self) -> str:
        """Return the rule's numbers in one sentence."""
        if len(self.reasons) == len(self.units):
            return f"all {len(self.units)} units"
        return (
            f"{len(self.reasons)} of {len(self.units)} units; the others move the model by at most {self.largest:.3g} "
            f"each, so a displacement of {self.distance:.3g} takes at least {self.forged} forged ones of {self.rest}; "
            f"{self.sample} random units miss all of them with probability {self.miss:.1e}"
        )


def miss_probability(units: int, forged: int, sample: int) -> float:
    """Return the probability that ``sample`` of ``units``, drawn without replacement, hold none of ``forged``."""
    if forged <= 0 or sample <= 0:
        return 1.0
    if forged + sample > units:
        return 0.0
    terms = (math.log1p(-forged / (units - i)) if forged < units - i else -math.inf for i in range(sample))
    return math.exp(math.fsum(terms))


def sample_size(units: int, forged: int, miss: float) -> int:
    """Return the smallest sample of ``units`` that misses all of ``forged`` with probability at most ``miss``."""
    if units == 0 or forged <= 0:
        return 0
    log_miss, total = math.log(miss), 0.0
    for taken in range(units):
        if not total > log_miss and miss_probability(units, forged, taken) <= miss:  # two ways to round
            return taken
        if forged >= units - taken:
            return taken + 1
        total += math.log1p(-forged / (units - taken))
    return units


def choose(
    units: Sequence[UnitFacts],
    rule: Selection,
    *,
    coverage: str,
    displacement: float,
    marked: Mapping[int, Sequence[str]],
    nonce: str,
    chain: str,
    memory: float = 1.0,
) -> Plan:
    """Return which ``units`` to replay.

    ``displacement`` is ‖W_T − W_0‖ of the record, ``marked`` are reasons that the cheap tests gave, by unit;
    ``memory`` is how many units' movement one forged unit can steer through the optimizer's state; ``nonce`` is the
    verifier's, 64 hexadecimal digits drawn after ``chain``, the record's final chain value, was fixed.
    """
    reasons: dict[int, list[str]] = {}

    def add(index: int, reason: str) -> None:
        found = reasons.setdefault(index, [])
        if reason not in found:
            found.append(reason)

    for index, why in marked.items():
        for reason in why:
            add(index, reason)
    if coverage == "all":
        for unit in units:
            add(unit.index, "all")
    edges = min(rule.edges, len(units))
    for unit in [*units[:edges], *units[len(units) - edges :]]:
        add(unit.index, "edge")
    for group in _by_epoch(units).values():
        _extremes(group, rule, add)
    for index in [i for i, why in reasons.items() if "largest update" in why and i > 0]:
        # What makes a replayable jump is the state before it: a momentum that nobody accumulated. So that is replayed.
        add(index - 1, "before a largest update")

    rest = [unit for unit in units if unit.index not in reasons]
    reference = min(rule.d_ref, displacement) if rule.d_ref > 0 else displacement
    # A jump among the chosen units may be honest; it must not shrink the sample of the others, whatever they move.
    reference = min(reference, math.fsum(unit.update_norm for unit in rest))
    distance = rule.displacement * reference
    largest = max((unit.update_norm for unit in rest), default=0.0)
    # A forged unit may leave a momentum behind that steers the units after it, each of which replays.
    forged = _forged(distance, largest * max(1.0, memory), len(rest))
    sample = sample_size(len(rest), forged, rule.miss_probability)
    drawn = _draw(rest, nonce, chain)
    for unit in drawn[:sample]:
        add(unit.index, "random")
    for group in _by_epoch(drawn).values():
        # Stratified: no epoch is left without a random unit. Taken on top, so that the bound above holds as it is.
        if not any("random" in reasons.get(unit.index, ()) for unit in group):
            add(group[0].index, "random, epoch")
    miss = miss_probability(len(rest), forged, sample) if rest else 0.0
    return Plan(dict(sorted(reasons.items())), len(rest), largest, distance, forged, sample, miss, nonce, tuple(units))


def _extremes(group: list[UnitFacts], rule: Selection, add: Callable[[int, str], None]) -> None:
    """Choose the units of one epoch with the largest and smallest changes; ties go to the earlier unit."""
    by_update = sorted(group, key=lambda u: (-_or_infinite(u.update_norm), u.index))
    for unit in by_update[: rule.top_q]:
        add(unit.index, "largest update")
    for unit in by_update[len(by_update) - min(rule.bottom_q, len(by_update)) :]:
        add(unit.index, "smallest update")
    by_optimizer = sorted(group, key=lambda u: (-_or_infinite(u.optimizer_change), u.index))
    for unit in by_optimizer[: rule.optimizer_top_q]:
        add(unit.index, "optimizer state")


def _or_infinite(norm: float) -> float:
    """Return ``norm``; an unknown one is taken for the largest."""
    return norm if not math.isnan(norm) else math.inf


def _forged(distance: float, largest: float, rest: int) -> int:
    """Return ⌈distance/largest⌉ within [1, rest]: at least one, or the sample would be empty where nothing moves."""
    if rest == 0:
        return 0
    if not largest > 0.0 or not math.isfinite(distance / largest):
        return rest
    return max(1, min(rest, math.ceil(distance / largest)))


def _by_epoch(units: Sequence[UnitFacts]) -> dict[int, list[UnitFacts]]:
    groups: dict[int, list[UnitFacts]] = {}
    for unit in units:
        groups.setdefault(unit.epoch, []).append(unit)
    return groups


def _draw(units: Sequence[UnitFacts], nonce: str, chain: str) -> list[UnitFacts]:
    """Return ``units`` in an order that nonce and chain determine: a random sample is a prefix of it."""
    seed = bytes.fromhex(digest_of("selection", bytes.fromhex(nonce) + bytes.fromhex(chain)))
    return [units[int(i)] for i in _core.permutation(seed, 0, len(units))]
