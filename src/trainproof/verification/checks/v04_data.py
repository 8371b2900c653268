"""V4: the data are the committed ones, in the order that the sampler gives them (docs/verification.md, V4).

Stops synthetic batches, data reordering and forged batches: every opened sample hashes into the dataset's root, the
batch that the loop was given is the one that was hashed, and its indices are what the recipe's own sampler draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count

from trainproof import _core
from trainproof.errors import shorten
from trainproof.exact.order import AffineOrder
from trainproof.recording.format import BatchLog, Commitment
from trainproof.verification.check import Refuted, check
from trainproof.verification.checks.v02_recipe import batches_per_epoch
from trainproof.verification.context import Context


@check("V4", "dataset root, order of samples")
def v04_order(context: Context) -> str:
    """The whole record: leaves hash to the root, indices exist, and follow the declared order."""
    commitment, pins = context.commitment, context.policy.pins
    root = _core.merkle_root(context.leaves).hex()
    if root != commitment.dataset.root:
        raise Refuted("the dataset's leaves do not hash to the committed root")
    if pins.dataset_root and pins.dataset_root != root:
        raise Refuted(f"the dataset's root {root} is not the one that the policy pins")
    if not pins.dataset_root:
        context.caveats.append(
            "The dataset's root is not pinned: the data were the prover's choice, and may come from another model."
        )
    if (commitment.loader.order in ("seeded", "affine")) != (commitment.closure.door == "recipe"):
        raise Refuted("only trainproof's own loop has the seeded order or the affine one, and it has no other")
    samples = _free(context) if commitment.loader.order == "loader" else _seeded(context)
    return f"{commitment.dataset.size} leaves; {samples}"


_FILES = 5  # named in a caveat


def _delivered(context: Context) -> Iterator[tuple[int, BatchLog]]:
    """Yield (segment, batch) in the order of delivery, after checking that the indices exist."""
    size = context.commitment.dataset.size
    for segment in context.segments():
        for batch in [b for step in segment.steps for b in step.batches] + segment.trailing:
            if not all(0 <= index < size for index in batch.indices):
                raise Refuted(f"a batch names a sample beyond the {size} of the dataset", segment.index)
            yield segment.index, batch


def _seeded(context: Context) -> str:
    """Trainproof's orders: what was delivered is a prefix of the seed's order, batch by batch, epoch by epoch."""
    commitment = context.commitment
    loader = commitment.loader
    per_epoch = batches_per_epoch(commitment)
    delivered = 0
    for (segment, batch), expected in zip(_delivered(context), expected_batches(commitment, per_epoch), strict=False):
        epoch, place = divmod(delivered, per_epoch)
        if batch.iteration != epoch or batch.indices != expected:
            raise Refuted(f"batch {place} of epoch {epoch} is not the one that the seed gives", segment)
        delivered += 1
    for recorded in context.segments():
        if any(len(step.batches) != loader.accumulate for step in recorded.steps):
            raise Refuted(f"a step did not use {loader.accumulate} batches", recorded.index)
    return f"all {delivered} batches are the seed's"


def expected_batches(commitment: Commitment, per_epoch: int) -> Iterator[list[int]]:
    """Yield the batches that the seed gives, without end."""
    size, batch, seed = commitment.dataset.size, commitment.loader.batch_size, bytes.fromhex(commitment.seed.seed)
    if commitment.loader.order == "affine":
        affine = AffineOrder(seed, size)
        for start in count(0, batch):
            yield affine.indices(start, batch)
    for epoch in count():
        order = _core.permutation(seed, epoch, size)
        for place in range(per_epoch):
            yield order[place * batch : (place + 1) * batch].tolist()


def _free(context: Context) -> str:
    """The recipe's own sampler: replay shows what it draws. Where an index comes twice in an iteration is replayed.

    That decides nothing here: samplers with replacement are honest, and a loader does not say that it has one.
    """
    size, iteration, delivered, marked = context.commitment.dataset.size, -1, 0, False
    seen = bytearray(size)
    used: Counter[int] = Counter()
    for segment, batch in _delivered(context):
        if batch.iteration != iteration:
            seen, iteration = bytearray(size), batch.iteration
        for index in batch.indices:
            if seen[index] and not marked:
                context.mark(segment, "sample twice in an iteration")
                marked = True
            seen[index] = 1
        delivered += 1
        used[batch.iteration] += not batch.dropped
    _left_early(context, used, iteration)
    return f"{delivered} batches in the recipe's own order" + (", with repeated samples" if marked else "")


def _left_early(context: Context, used: Counter[int], last: int) -> None:
    """Say how many iterations ended before the loader was exhausted.

    A loop may ``break`` by a count of its own, which a replay that enters in its middle cannot follow: it is made to
    leave where the record says. So whoever records may leave out batches; this is where a reader learns of it.
    """
    made = context.initial.made if context.initial is not None else None
    whole = made.batches if made is not None and made.batches is not None else max(used.values(), default=0)
    early = [number for number in range(last + 1) if used[number] < whole]
    if early:
        # L3 says that nothing about the run was the prover's to choose but the seed.
        context.level_cap = min(context.level_cap, 1)
        missing = sum(whole - used[number] for number in early)
        context.caveats.append(
            f"{len(early)} of {last + 1} loader iterations (the first: {early[0]}) were left early, {missing} batches "
            "before their ends: which batches were left out may have been the prover's choice."
        )


def _files_read(context: Context) -> None:
    """Name the files beside its code that the recipe read: nothing in the record says what is in them."""
    results = [context.initial, context.ambient, *context.builds, *context.results.values()]
    files = sorted({name for result in results if result is not None for name in result.files})
    if files:
        some = ", ".join(map(shorten, files[:_FILES])) + (", …" if len(files) > _FILES else "")
        context.caveats.append(
            f"The recipe read {len(files)} files that its closure does not cover ({some}): unless they are the "
            "dataset, what is in them is accepted with the recipe."
        )


@check("V4", "samples and batches, replayed")
def v04_replayed(context: Context) -> str:
    """Opened samples hash to their leaves; indices are the sampler's; the batch delivered is the one recorded."""
    _files_read(context)
    opened = 0
    for index in sorted(context.results):
        result = context.results[index]
        opened += result.opened
        if result.bad_samples:
            raise Refuted(f"sample {result.bad_samples[0]} is not the committed one", result.unit.start + 1)
        if result.bad_order is not None:
            iteration, place = result.bad_order
            evidence = f"batch {place} of iteration {iteration} is not what the sampler draws"
            raise Refuted(evidence, result.unit.start + 1)
    batches = 0
    for _, replayed, recorded in context.replayed():
        for step, (ours, theirs) in enumerate(zip(replayed.steps, recorded.steps, strict=False)):
            if ours.batches != theirs.batches:
                raise Refuted(f"step {recorded.first_step + step} was given another batch", recorded.index)
            batches += len(theirs.batches)
        if len(replayed.steps) != len(recorded.steps) or replayed.trailing != recorded.trailing:
            raise Refuted("the replay takes another number of steps or batches", recorded.index)
    return f"{opened} samples opened, {batches} batches equal"
