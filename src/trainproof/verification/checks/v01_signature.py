"""V1: the seal is signed by the committed key, and says of the record what the record says (docs/verification.md, V1).

The key is in the training seed (V3), so nobody can sign another's record as their own (but for loops and a task's
shared seed); this check ties key, seed, seal and record together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trainproof import _core
from trainproof.attest import keys
from trainproof.errors import RecordError, SignatureError
from trainproof.recording import chain
from trainproof.recording.format import Boolean
from trainproof.recording.recipe import seed_of
from trainproof.recording.tree import lookup
from trainproof.recording.values import raw
from trainproof.verification.check import Refuted, Undecided, check
from trainproof.verification.context import Context


@check("V1", "signature, identity, seed")
def v01_signature(context: Context) -> str:
    """Compare the signed statement with the record, the key with the policy, and recompute the seed."""
    statement, commitment, policy = context.statement, context.commitment, context.policy
    if isinstance(statement, SignatureError):
        raise Refuted(str(statement))
    identity = keys.key_id(commitment.key)
    if policy.identity.keys and identity not in policy.identity.keys:
        raise Refuted(f"signed by {identity}, which the policy does not name")
    if not policy.identity.keys:
        context.caveats.append(f"The policy names no key: anybody may have signed; this was {identity}.")
        if commitment.closure.door == "loop":
            context.caveats.append(
                "A loop need not use the seed that holds the prover's key: without a key named by the policy, somebody "
                "else may have signed a copy of this record."
            )
    seal, last = statement.predicate, context.rows[-1]
    said = (seal.commitment, seal.chain, seal.segments, seal.steps)
    found = (context.record.commitment_digest, last.chain, len(context.rows), last.first_step + last.steps)
    names = ("commitment", "final chain value", "number of segments", "number of steps")
    for name, ours, theirs in zip(names, found, said, strict=True):
        if ours != theirs:
            raise Refuted(f"the seal has another {name}: {theirs}, not {ours}")
    _subject(context, statement.subject[0].digest)
    _seed(context)
    _self_replays(context)
    _ended(context, seal.ended == "complete")
    if seal.ended != "complete":
        context.caveats.append(f"The run did not end by itself ({seal.ended}): what came after is not recorded.")
    return f"signed by {identity}, {seal.steps} steps, ended: {seal.ended}"


def _subject(context: Context, digests: Mapping[Literal["sha256", "blake3"], str]) -> None:
    """The statement's subject is the model at the end of the record, by both of its digests."""
    last = len(context.record) - 1
    segment = context.segment(last)
    if digests["blake3"] != chain.model_root(segment.state):
        raise Refuted("the signed model is not the one at the end of the record", last)
    tensors = context.tensors(last, "model/")
    model = [entry for entry in segment.state.tensors if entry.name in tensors]
    hashed = _core.tensor_digests([(e.dtype, e.shape, raw(tensors[e.name])) for e in model], "sha256")
    root = _core.state_root([(e.name, digest) for e, digest in zip(model, hashed, strict=True)], "sha256").hex()
    if digests["sha256"] != root:
        raise Refuted("the signed SHA-256 is not that of the model at the end of the record", last)


def _seed(context: Context) -> None:
    """The seed follows from what it must depend on; the nonce is the verifier's only if the policy pins it."""
    commitment, policy = context.commitment, context.policy
    seed = commitment.seed
    if seed.seed != seed_of(commitment):
        raise Refuted("the seed does not follow from dataset, recipe, key, interval and nonce")
    if seed.source == "task":
        if commitment.closure.door != "recipe":
            raise Refuted("only a recipe's record can have a task's shared seed")
        context.caveats.append(
            "The seed is a task's, without the prover's key: whose record this is follows only from the key that the "
            "policy names, and others may have signed a copy of it."
        )
    if policy.pins.nonce:
        if seed.nonce != policy.pins.nonce or seed.source == "free":
            raise Refuted("the seed's nonce is not the one that the policy pins")
        return
    if policy.initial.free_seed == "refuse":
        raise Refuted("the policy refuses a seed that the prover chose, and pins no nonce")
    context.caveats.append("Seed freely chosen: the prover may have tried many seeds and shown the best run.")


def _ended(context: Context, complete: bool) -> None:
    """A run that ended by itself, and no other, says so in its last state; a record cut short does not."""
    last = len(context.record) - 1
    try:
        ended = lookup(context.segment(last).state.tree, "loader", "ended")
    except RecordError as error:
        raise Refuted(str(error), last) from None
    if ended != Boolean(v=complete):
        raise Refuted("the seal and the last state do not agree on whether the run was complete", last)


def _self_replays(context: Context) -> None:
    """A record whose own prover could not replay it is not decided by replaying it elsewhere."""
    assert not isinstance(context.statement, SignatureError)
    seal = context.statement.predicate
    stored = [row.index for row in context.rows if row.stored and row.index > 0]
    segments = [replay.segment for replay in seal.self_replays]
    if segments != sorted(set(segments)) or not set(segments) <= set(stored):
        raise Refuted("the seal's self-replays name segments that it cannot have replayed")
    for replay in seal.self_replays:
        if replay.outcome == "differs":
            raise Undecided("the prover's own replay of this segment did not reproduce it", replay.segment)
    if not any(replay.outcome == "bitwise" for replay in seal.self_replays):
        context.caveats.append("The prover did not replay any part of the record before signing it.")
