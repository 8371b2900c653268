"""A record in words: what was claimed, by whom, and how large it is. Nothing here verifies more than the signature."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from trainproof.attest import keys, statement
from trainproof.cli.terminal import console, record_size, rows
from trainproof.errors import RecordError
from trainproof.recording.format import Boolean, Mapping, Null, Parameter, Seal, Segment, Sequence, Tree
from trainproof.recording.reader import Record
from trainproof.verification.printable import printable, size


def real(text: str) -> float:
    """Return a number of the record's format; one too large for a binary64 is infinite."""
    try:
        return float.fromhex(text)
    except OverflowError:
        return float("-inf") if text.startswith("-") else float("inf")


def value(tree: Tree) -> Any:
    """Return a tree as JSON types; tensors and unusual keys by their text."""
    if isinstance(tree, Mapping):
        return {str(value(k)): value(v) for k, v in tree.v}
    if isinstance(tree, Sequence):
        return [value(v) for v in tree.v]
    if isinstance(tree, Null):
        return None
    if isinstance(tree, Boolean):
        return tree.v
    kind = type(tree).__name__
    if kind == "Real":
        return real(tree.v)
    if kind == "Integer":
        return int(tree.v) if len(tree.v) < 16 else tree.v
    return tree.v


def describe(record: Record) -> dict[str, Any]:
    """Return what the commitment says, in JSON types."""
    c = record.commitment
    return {
        "record": str(record.path),
        "recipe": {
            "door": c.closure.door,
            "class": c.closure.qualname,
            "arguments": c.closure.arguments,
            "files": [{"module": f.module, "size": f.size, "digest": f.digest} for f in c.closure.files],
            "closure": c.closure.digest,
        },
        "dataset": {"samples": c.dataset.size, "root": c.dataset.root, "private": c.dataset.private},
        "loader": {
            "order": c.loader.order,
            "batch_size": c.loader.batch_size,
            "drop_last": c.loader.drop_last,
            "sampler": c.loader.sampler,
            "accumulate": c.loader.accumulate,
        },
        "model": {
            kind: {"tensors": len(found), "elements": sum(prod(p.shape) for p in found)}
            for kind in ("parameter", "frozen", "buffer")
            for found in [_of(c.model, kind)]
        },
        "optimizer": {
            "class": c.optimizer.kind,
            "groups": [value(g) for g in c.optimizer.groups],
            "schedule": value(c.optimizer.schedule),
        },
        "environment": {name: getattr(c.environment, name) for name in c.environment.__struct_fields__},
        "seed": {"source": c.seed.source, "nonce": c.seed.nonce, "seed": c.seed.seed},
        "every": c.every,
        "keyframes": c.keyframes,
        "epochs": c.epochs,
        "parent": None if c.parent is None else {"chain": c.parent.chain, "model": c.parent.model},
        "key": keys.key_id(c.key),
        "note": c.note,
        "commitment": record.commitment_digest,
        "bytes": record_size(record.path),
    }


def sealed(record: Record) -> tuple[str, Seal | None]:
    """Return the state of the seal in words, and the seal if its signature is the committed key's."""
    if not record.sealed():
        return "not sealed: the run is unfinished", None
    try:
        seal = statement.open_seal(record.seal_bytes(), record.commitment.key).predicate
    except RecordError as error:
        return f"INVALID: {error}", None
    if seal.commitment != record.commitment_digest:
        return "INVALID: signed for another commitment", None
    return "signature valid", seal


def mean_loss(segment: Segment) -> float | None:
    """Return the mean of the logged losses, None if there are none."""
    losses = [real(loss) for step in segment.steps for loss in step.losses]
    return sum(losses) / len(losses) if losses else None


def rates(segment: Segment) -> list[float]:
    """Return the learning rates of the segment's steps: first and last, of the first group."""
    used = [segment.hypers[s.hyper] for s in segment.steps if s.hyper < len(segment.hypers)]
    found = []
    for tree in used[:1] + used[-1:]:
        groups = value(tree)
        group = groups[0] if isinstance(groups, list) and groups else groups
        rate = group.get("lr") if isinstance(group, dict) else None
        found += [rate] if isinstance(rate, (int, float)) else []
    return found


def show_record(path: Path, hint: str, quiet: bool) -> dict[str, Any]:
    """Print (unless ``quiet``) what was recorded and how to verify it; return it for ``--json``."""
    record = Record.open(path)
    state, seal = sealed(record)
    facts: dict[str, Any] = {
        "record": str(path),
        "segments": len(record) - 1,
        "bytes": record_size(path),
        "key": keys.key_id(record.commitment.key),
        "seal": state,
    }
    if seal is not None:
        facts |= {"steps": seal.steps, "ended": seal.ended, "chain": seal.chain, "model": seal.model}
        facts["self_replays"] = [
            {"segment": s.segment, "outcome": s.outcome, "detail": s.detail} for s in seal.self_replays
        ]
    if not quiet:
        replays = [f"segment {r['segment']}: {r['outcome']} {r['detail']}" for r in facts.get("self_replays", [])]
        shown = [
            ("record", f"{path} ({size(facts['bytes'])})"),
            ("steps", f"{facts.get('steps', '?')} in {facts['segments']} segments, {facts.get('ended', 'unfinished')}"),
            ("key", facts["key"]),
            ("final model", facts.get("model", "—")),
            ("self-replay", replays or "none"),
            ("seal", state),
        ]
        rows(shown)
        console().print(f"\nverify it: trainproof verify {path} {printable(hint)} --policy bitwise", soft_wrap=True)
    return facts


def _of(parameters: list[Parameter], kind: str) -> list[Parameter]:
    return [p for p in parameters if p.kind == kind]
