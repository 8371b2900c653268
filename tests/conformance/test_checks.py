"""Each check, against records that are wrong in what it checks, re-chained and re-signed with the prover's own key.

A replay is played back: a real one of the honest record is made once, and a stand-in worker answers with it. So a
check that is taken out of a verification lets its forgery pass, and its test fails.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from trainproof.attest import canonical
from trainproof.attest.keys import Signer, key_id
from trainproof.attest.statement import seal_record
from trainproof.errors import PolicyError, RecordError, SignatureError, VerificationError
from trainproof.recording import chain
from trainproof.recording.format import Integer, Parent, Seal, Segment, SelfReplay, StateManifest
from trainproof.recording.reader import SEAL, Record
from trainproof.recording.recipe import derive_seed
from trainproof.recording.state import manifest_of
from trainproof.recording.train import train
from trainproof.recording.tree import hexfloat, to_tree
from trainproof.recording.writer import RecordWriter
from trainproof.replay.job import Job, Ready, Unit, UnitResult
from trainproof.replay.pool import replay_units
from trainproof.verification.checks.v03_initial import v03_initial
from trainproof.verification.context import Context
from trainproof.verification.ledger import Ledger
from trainproof.verification.policy import Policy
from trainproof.verification.source import resolve
from trainproof.verification.verdict import Check, Outcome, Report, Verdict
from trainproof.verification.verify import run, verify

RECIPE = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Tiny(tp.Recipe):
    batch_size = 8
    optimizer = tp.SGD(lr=tp.Cosine(0.1, epochs=5), momentum=0.9)

    def build(self):
        model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, 3), nn.Linear(3, 3))
        model[4].weight.requires_grad_(False)
        return model

    def dataset(self):
        x = torch.arange(384, dtype=torch.float32).sin().reshape(64, 6)
        return TensorDataset(x, x.argmax(1) % 3)

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)
"""

# Answers every unit with the result of a replay that was made before; a unit it does not know is a failure.
STAND_IN = """
import json, pathlib, shutil, sys

folder = pathlib.Path(sys.argv[1])
job = json.loads(sys.stdin.readline())
print((folder / "ready.json").read_text(), flush=True)
for line in sys.stdin:
    unit = json.loads(line)
    name = f"{unit['kind']}-{unit['start']}-{unit['end']}-{unit['perturb']}.json"
    if unit["kind"] == "initial":
        file = f"initial-{unit['perturb']}.safetensors"
        shutil.copy(folder / file, pathlib.Path(job["scratch"]) / file)
    print((folder / name).read_text(), flush=True)
"""

EVERY, STEPS = 2, 16


class Honest:
    """An honest record, its prover's key, the recipe, and all results of replaying it."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        self.recipe = folder / "tiny.py"
        self.recipe.write_text(RECIPE)
        self.signer = Signer.generate()
        self.path = folder / "honest"
        self.record = train(
            f"{self.recipe}:Tiny",
            out=self.path,
            epochs=2,
            every=EVERY,
            anchors=1,
            key=self.signer,
            self_replay=False,
            quiet=True,
        )
        self.answers = folder / "answers"
        self.answers.mkdir()
        self.script = folder / "stand_in.py"
        self.script.write_text(STAND_IN)
        self.results: list[UnitResult] = []
        self._replay()

    def _replay(self) -> None:
        source, _ = resolve(f"{self.recipe}:Tiny", self.record.commitment, ())
        job = Job(
            record=str(self.path),
            recipe=source,
            scratch=str(self.answers),
            readable=[str(self.folder)],
            sandbox="best-effort",
            memory_bytes=8 << 30,
            salts=None,
        )
        units = [Unit(kind="initial", start=0, end=0, perturb=p) for p in range(3)]
        units += [Unit(kind="replay", start=i, end=i + 1, perturb=0) for i in range(len(self.record) - 1)]
        ready: list[Ready] = []
        self.results = replay_units(
            job, units, self.record.commitment.environment, 1, 300.0, lambda result: None, on_ready=ready.append
        )
        assert [result.failure for result in self.results] == [None] * len(units)
        (self.answers / "ready.json").write_bytes(canonical.encode(ready[0]))
        for result in self.results:
            answer(self.answers, result)


def answer(folder: Path, result: UnitResult) -> None:
    """Have the stand-in worker give this result to the unit that it belongs to."""
    unit = result.unit
    (folder / f"{unit.kind}-{unit.start}-{unit.end}-{unit.perturb}.json").write_bytes(canonical.encode(result))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Honest]:
    threads = torch.get_num_threads()
    yield Honest(tmp_path_factory.mktemp("honest"))
    torch.set_num_threads(threads)


def policy(**tables: dict[str, Any]) -> Policy:
    """Return the bitwise policy with two builds, and with fields of its tables replaced."""
    ready = Policy.bitwise()
    tables.setdefault("initial", {}).setdefault("builds", 2)
    changed = {name: msgspec.structs.replace(getattr(ready, name), **fields) for name, fields in tables.items()}
    return ready.replace(coverage="all", **changed)


def check_record(honest: Honest, path: Path, rules: Policy | None = None, **options: Any) -> Report:
    """Verify ``path`` with the stand-in worker."""
    answers = options.pop("answers", honest.answers)
    return run(
        path,
        recipe=options.pop("recipe", f"{honest.recipe}:Tiny"),
        policy=rules or policy(),
        jobs=1,
        command=[sys.executable, "-S", str(honest.script), str(answers)],
        **options,
    )


Parts = dict[str, Any]


def forge(honest: Honest, out: Path, edit: Callable[[Parts], None]) -> Path:
    """Write a copy of the honest record that ``edit`` has changed, chained and signed by the prover.

    ``edit`` gets the parts: commitment, segments (list), tensors (list of dicts), seal (fields to override), signer,
    sha256.
    """
    record = honest.record
    segments = [record.segment(i) for i in range(len(record))]
    parts: Parts = {
        "commitment": record.commitment,
        "segments": segments,
        "tensors": [record.tensors(i) for i in range(len(record))],
        "leaves": record.leaves(),
        "seal": {},
        "signer": honest.signer,
        "sha256": None,
    }
    edit(parts)
    writer = RecordWriter.create(out, parts["commitment"], parts["leaves"])
    for segment, tensors in zip(parts["segments"], parts["tensors"], strict=True):
        writer.append(segment, tensors)
    writer.release_reserve()
    sign(out, parts)
    return out


def sign(path: Path, parts: Parts) -> None:
    """Write the seal of the record at ``path`` as it stands, with the overrides in ``parts``."""
    from trainproof.recording.recorder import final_sha256

    record = Record.open(path)
    last = record.segment(len(record) - 1)
    fields: dict[str, Any] = {
        "version": 1,
        "commitment": record.commitment_digest,
        "chain": last.chain,
        "segments": len(record),
        "steps": last.first_step + len(last.steps),
        "model": chain.model_root(last.state),
        "ended": "complete",
        "self_replays": [],
        "started": "",
        "finished": "",
    }
    sha256 = parts["sha256"] or (final_sha256(last, parts["tensors"][-1]) if last.stored else "0" * 64)
    seal = Seal(**(fields | parts["seal"]))
    (path / SEAL).write_bytes(seal_record(parts["signer"], seal, "model", sha256))


def edit_segment(place: int, /, **fields: Any) -> Callable[[Parts], None]:
    """Return an edit that replaces fields of a segment; a callable value gets the old one."""

    def edit(parts: Parts) -> None:
        old = parts["segments"][place]
        new = {name: value(getattr(old, name)) if callable(value) else value for name, value in fields.items()}
        parts["segments"][place] = msgspec.structs.replace(old, **new)

    return edit


def edit_steps(index: int, change: Callable[[list[Any]], list[Any]]) -> Callable[[Parts], None]:
    """Return an edit of the list of steps of a segment."""
    return edit_segment(index, steps=change)


def edit_tensor(index: int, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Parts], None]:
    """Return an edit of a stored tensor, its manifest following."""

    def edit(parts: Parts) -> None:
        tensors = dict(parts["tensors"][index])
        tensors[name] = change(tensors[name].clone())
        parts["tensors"][index] = tensors
        _remanifest(parts, index, tensors)

    return edit


def _remanifest(parts: Parts, index: int, tensors: dict[str, torch.Tensor]) -> None:
    old: Segment = parts["segments"][index]
    orders = {e.name: e.order for e in old.state.tensors if e.order is not None}
    manifest = manifest_of(tensors, orders, list(old.state.aliases), old.state.tree)
    parts["segments"][index] = msgspec.structs.replace(old, state=manifest)


def edit_commitment(**fields: Any) -> Callable[[Parts], None]:
    """Return an edit of the commitment; the seed follows, as a prover would have it."""

    def edit(parts: Parts) -> None:
        old = parts["commitment"]
        new = {name: value(getattr(old, name)) if callable(value) else value for name, value in fields.items()}
        made = msgspec.structs.replace(old, **new)
        if "seed" not in fields:
            seed = derive_seed(made.dataset.root, made.closure.digest, made.key, made.every, made.seed.nonce)
            made = msgspec.structs.replace(made, seed=msgspec.structs.replace(made.seed, seed=seed))
        parts["commitment"] = made

    return edit


def with_fields(**fields: Any) -> Callable[[Any], Any]:
    """Return a function that replaces fields of a part."""
    return lambda part: msgspec.structs.replace(part, **fields)


def first_step(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """Return a change of the first step of a list."""
    return lambda steps: [change(steps[0]), *steps[1:]]


def first_batch(**fields: Any) -> Callable[[list[Any]], list[Any]]:
    """Return a change of the first batch of the first step."""
    return first_step(
        lambda s: msgspec.structs.replace(s, batches=[msgspec.structs.replace(s.batches[0], **fields), *s.batches[1:]])
    )


def hypers(change: Callable[[dict[str, Any]], None]) -> Callable[[list[Any]], list[Any]]:
    """Return a change of the options of the first group in every set of hyperparameters."""
    from trainproof.recording.tree import from_tree

    def edit(trees: list[Any]) -> list[Any]:
        found = []
        for tree in trees:
            groups = from_tree(tree)
            change(groups[0])
            found.append(to_tree(groups, "hypers"))
        return found

    return edit


def refused(report: Report, identity: str, words: str, verdict: Verdict = Verdict.REJECT) -> None:
    """Assert that the verdict was decided by this check, for this reason."""
    assert report.verdict is verdict, report.headline()
    assert report.failed is not None
    assert (report.failed.id, words in report.failed.evidence) == (identity, True), report.headline()


# -- honest ----------------------------------------------------------------------------------------------------------


def test_an_honest_record_is_accepted_with_every_check_passed(honest: Honest, tmp_path: Path) -> None:
    report = check_record(honest, forge(honest, tmp_path / "r", lambda parts: None))
    assert (report.verdict, report.level, report.coverage) == (Verdict.ACCEPT, 3, "all"), report.headline()
    assert {check.outcome for check in report.checks} == {Outcome.PASS}
    ids = [check.id for check in report.checks]
    assert ids[:4] == ["V0", "V1", "V5", "V2"]
    assert ids[-1] == "V13"
    assert {f"V{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13)} <= set(ids)
    assert all(row.replay_error == 0.0 and row.outcome is Outcome.PASS for row in report.units)
    assert report.cost.steps == STEPS
    assert report.algorithm2["outcome"] == "Success"
    assert any("freely chosen" in caveat for caveat in report.caveats)


def test_an_honest_record_is_accepted_by_real_replays(honest: Honest) -> None:
    small: dict[str, Any] = {"top_q": 1, "optimizer_top_q": 0, "bottom_q": 0, "edges": 1, "displacement": 1.0}
    small["miss_probability"] = 0.9
    rules = policy(selection=small, sandbox={"mode": "required"}).replace(coverage="sampled")
    report = verify(honest.path, recipe=f"{honest.recipe}:Tiny", policy=rules, jobs=1)
    assert report.level == 1
    assert 2 <= report.cost.units < len(report.units)
    assert "landlock" in report.facts["sandbox"]


# -- forged, one thing each ------------------------------------------------------------------------------------------

NAN = float("nan")
CASES: dict[str, tuple[str, str, Callable[[Parts], None]]] = {
    "V0 another index": ("V0", "says it is segment", edit_segment(3, index=4)),
    "V0 a gap in the steps": ("V0", "begins at step", edit_segment(3, first_step=5)),
    "V0 a short segment": ("V0", "has 1 steps", edit_steps(3, lambda steps: steps[:1])),
    "V0 batches after the last step": (
        "V0",
        "not the last segment",
        lambda parts: edit_segment(3, trailing=parts["segments"][3].steps[0].batches)(parts),
    ),
    "V0 steps in the initial state": ("V0", "the initial state has", edit_segment(0, resumed=True)),
    "V0 keyframes": ("V0", "against the commitment's keyframes", edit_commitment(keyframes=2)),
    "V0 a weight that is not finite": (
        "V0",
        "is not finite",
        edit_tensor(4, "model/0.weight", lambda t: t.fill_(NAN)),
    ),
    "V0 a buffer that becomes infinite": (
        "V0",
        "is not finite",
        edit_tensor(4, "model/1.running_var", lambda t: t.fill_(float("inf"))),
    ),
    "V0 momentum that is not finite": (
        "V0",
        "is not finite",
        edit_tensor(4, "optimizer/0/momentum_buffer", lambda t: t.fill_(NAN)),
    ),
    "V0 another shape": ("V0", "another dtype, shape", edit_tensor(4, "model/0.bias", lambda t: t.reshape(4, 4))),
    "V0 a model that was not committed": (
        "V0",
        "not the committed ones",
        edit_commitment(model=lambda model: model[:-1]),
    ),
    "V0 a loss that is not finite": (
        "V0",
        "a loss is not finite",
        edit_steps(3, first_step(with_fields(losses=["nan"]))),
    ),
    "V0 options that no step uses": ("V0", "no step uses", edit_segment(3, hypers=lambda trees: [*trees, trees[0]])),
    "V0 a step without a batch": ("V0", "without a batch", edit_steps(3, first_step(with_fields(batches=[])))),
    "V0 an iteration that goes back": ("V0", "goes back", edit_steps(7, first_batch(iteration=0))),
    "V0 an update size that is not a number": ("V0", "not a finite number", edit_segment(3, update_norm="nan")),
    "V1 signed by another": (
        "V1",
        "signed by another key",
        lambda parts: parts.update(signer=Signer.generate()),
    ),
    "V1 a seal over fewer segments": ("V1", "number of segments", lambda parts: parts["seal"].update(segments=3)),
    "V1 a seal over another chain": ("V1", "final chain value", lambda parts: parts["seal"].update(chain="0" * 64)),
    "V1 a seal over another commitment": ("V1", "commitment", lambda parts: parts["seal"].update(commitment="0" * 64)),
    "V1 a seal over fewer steps": ("V1", "number of steps", lambda parts: parts["seal"].update(steps=3)),
    "V1 another model": ("V1", "signed model", lambda parts: parts["seal"].update(model="0" * 64)),
    "V1 another SHA-256": ("V1", "SHA-256", lambda parts: parts.update(sha256="0" * 64)),
    "V1 a seed that does not follow": (
        "V1",
        "seed does not follow",
        edit_commitment(seed=with_fields(seed="0" * 64)),
    ),
    "V1 another's record re-signed": (
        "V1",
        "seed does not follow",
        lambda parts: (
            parts.update(signer=(thief := Signer.generate())),
            edit_commitment(key=thief.public, seed=lambda seed: seed)(parts),
        )[0],
    ),
    "V1 a self-replay of nothing": (
        "V1",
        "self-replays",
        lambda parts: parts["seal"].update(self_replays=[SelfReplay(segment=99, outcome="bitwise", detail="")]),
    ),
    "V2 a vanishing learning rate": (
        "V2",
        "outside [1e-12",
        edit_segment(3, hypers=hypers(lambda group: group.update(lr=1e-13))),
    ),
    "V2 a rate beside the schedule": (
        "V2",
        "the schedule gives",
        edit_segment(3, hypers=hypers(lambda group: group.update(lr=group["lr"] * (1 + 1e-15)))),
    ),
    "V2 momentum near one": (
        "V2",
        "momentum",
        edit_segment(3, hypers=hypers(lambda group: group.update(momentum=0.99999))),
    ),
    "V2 weight decay in one segment": (
        "V2",
        "weight_decay",
        edit_segment(3, hypers=hypers(lambda group: group.update(weight_decay=0.01))),
    ),
    "V2 a rate that is not a number": (
        "V2",
        "not a finite number",
        edit_segment(3, hypers=hypers(lambda group: group.update(lr=NAN))),
    ),
    "V2 an option that was not committed": (
        "V2",
        "not committed",
        edit_segment(3, hypers=hypers(lambda group: group.update(extra=1.0))),
    ),
    "V2 too many skipped steps": ("V2", "were skipped", edit_steps(3, first_step(with_fields(skipped=True)))),
    "V2 more steps than planned": ("V2", "epochs have", edit_commitment(epochs=1)),
    "V2 another module": (
        "V2",
        "is not the verifier's copy",
        edit_commitment(
            closure=lambda c: msgspec.structs.replace(c, files=[*c.files, with_fields(module="x")(c.files[0])])
        ),
    ),
    "V2 another declared sampler": (
        "V2",
        "committed loader",
        edit_commitment(loader=with_fields(sampler="WeightedRandomSampler")),
    ),
    "V3 other initial weights": (
        "V3",
        "is not what the seed gives",
        edit_tensor(0, "model/0.weight", lambda t: t + 1e-7),
    ),
    "V3 an optimizer that is not fresh": (
        "V3",
        "before the first step",
        lambda parts: edit_tensor_new(0, "optimizer/0/momentum_buffer", torch.ones(16, 6))(parts),
    ),
    "V3 a parent that nobody verified": (
        "V3",
        "neither in the ledger",
        lambda parts: edit_commitment(
            parent=Parent(chain="1" * 64, model=chain.model_root(parts["segments"][0].state))
        )(parts),
    ),
    "V3 a parent with other weights": (
        "V3",
        "final model",
        edit_commitment(parent=Parent(chain="1" * 64, model="2" * 64)),
    ),
    "V4 leaves of other data": ("V4", "committed root", lambda parts: parts.update(leaves=bytes(len(parts["leaves"])))),
    "V4 a sample that does not exist": ("V4", "beyond the", edit_steps(3, first_batch(indices=[64] * 8))),
    "V4 another order": ("V4", "not the one that the seed gives", edit_steps(3, first_batch(indices=list(range(8))))),
    "V4 another batch of the same samples": ("V4", "another batch", edit_steps(3, first_batch(digest="0" * 64))),
    "V6 a weight moved": ("V6", "model/0.weight", edit_tensor(4, "model/0.weight", lambda t: t * (1 + 1e-6))),
    "V7 a buffer moved": ("V7", "model/1.running_mean", edit_tensor(4, "model/1.running_mean", lambda t: t + 1e-6)),
    "V7 momentum moved": (
        "V7",
        "optimizer/0/momentum_buffer",
        edit_tensor(4, "optimizer/0/momentum_buffer", lambda t: t + 1e-6),
    ),
    "V7 random generators moved": ("V7", "rng/", edit_tensor(4, "rng/torch", lambda t: t.roll(1))),
    "V7 an anchor that is another state": (
        "V7",
        "hashed after 1 steps",
        edit_segment(4, anchors=lambda anchors: [with_fields(root="0" * 64)(anchors[0])]),
    ),
    "V0 a missing anchor": ("V0", "anchors after steps", edit_segment(4, anchors=[])),
    "V0 a loader that stands elsewhere": ("V0", "the loader stood at", lambda parts: edit_tree(4, "position")(parts)),
    "V0 a loader behind the last batch": (
        "V0",
        "behind the last batch",
        lambda parts: edit_tree(-1, "position")(parts),
    ),
    "V7 another tree": ("V7", "state 'rng/python/0'", lambda parts: edit_tree(4, "python")(parts)),
    "V8 a logged size": ("V8", "logs an update of", edit_segment(4, update_norm=hexfloat(1.0))),
    "V8 a frozen parameter moved": (
        "V8",
        "declared frozen",
        lambda parts: thaw(parts),
    ),
    "V8 no update at all": ("V8", "the final model is the initial one", lambda parts: stand_still(parts)),
    "V11 a made-up loss": ("V11", "another loss", edit_steps(3, first_step(with_fields(losses=[hexfloat(0.5)])))),
}


def edit_tensor_new(index: int, name: str, tensor: torch.Tensor) -> Callable[[Parts], None]:
    def edit(parts: Parts) -> None:
        tensors = parts["tensors"][index] | {name: tensor}
        parts["tensors"][index] = tensors
        _remanifest(parts, index, tensors)

    return edit


def edit_tree(index: int, name: str) -> Callable[[Parts], None]:
    """Return an edit that changes the first integer under ``name`` in a state's tree."""
    from trainproof.recording.format import Leaf, Mapping, Sequence, Tree

    def change(tree: Tree, found: bool) -> Tree:
        if isinstance(tree, Mapping):
            return Mapping(v=[(k, change(v, found or (isinstance(k, Leaf) and k.v == name))) for k, v in tree.v])
        if isinstance(tree, Sequence) and tree.v:
            return msgspec.structs.replace(tree, v=[change(tree.v[0], found), *tree.v[1:]])
        return Integer(v="77") if found and isinstance(tree, Integer) else tree

    def edit(parts: Parts) -> None:
        old: StateManifest = parts["segments"][index].state
        state = msgspec.structs.replace(old, tree=change(old.tree, False))
        state = msgspec.structs.replace(state, root=chain.state_root(state))
        parts["segments"][index] = msgspec.structs.replace(parts["segments"][index], state=state)

    return edit


def thaw(parts: Parts) -> None:
    """Move a frozen parameter, from the middle of the record on."""
    for index in range(4, 9):
        edit_tensor(index, "model/4.weight", lambda t: t + 1)(parts)


def stand_still(parts: Parts) -> None:
    """Give every state the initial weights."""
    start = {n: t for n, t in parts["tensors"][0].items() if n.startswith("model/")}
    for index in range(1, len(parts["segments"])):
        tensors = parts["tensors"][index] | start
        parts["tensors"][index] = tensors
        _remanifest(parts, index, tensors)
        parts["segments"][index] = msgspec.structs.replace(parts["segments"][index], update_norm=hexfloat(0.0))


# Weights that move change the size of two updates; the log says what the states say, so that V8 does not see it first.
_RESIZED = ("V6 a weight moved", "V7 a buffer moved", "V8 a frozen parameter moved")


@pytest.mark.parametrize("case", CASES)
def test_rejects(case: str, honest: Honest, tmp_path: Path) -> None:
    identity, words, edit = CASES[case]

    def whole(parts: Parts) -> None:
        edit(parts)
        if case in _RESIZED:
            from trainproof.recording.norms import distance

            for i in range(1, len(parts["segments"])):
                norm = hexfloat(distance(parts["tensors"][i - 1], parts["tensors"][i]))
                parts["segments"][i] = msgspec.structs.replace(parts["segments"][i], update_norm=norm)

    refused(check_record(honest, forge(honest, tmp_path / "r", whole)), identity, words)


def test_rejects_a_broken_chain(honest: Honest, tmp_path: Path) -> None:
    for name, fields, words in (
        ("previous", {"previous": "0" * 64}, "does not follow the segment"),
        ("chain", {"update_norm": hexfloat(3.0)}, "chain value does not follow"),
        ("root", {"state": None}, "state root does not follow"),
    ):
        path = forge(honest, tmp_path / name, lambda parts: None)
        record = Record.open(path)
        segment = record.segment(8)
        if "state" in fields:
            fields = {"state": msgspec.structs.replace(segment.state, root="0" * 64)}
        changed = msgspec.structs.replace(segment, **fields)
        (path / "segments" / "00000008.json").write_bytes(canonical.encode(changed))
        refused(check_record(honest, path), "V5", words)


def test_rejects_stored_contents_that_are_not_the_digests(honest: Honest, tmp_path: Path) -> None:
    def edit(parts: Parts) -> None:
        parts["tensors"][4] = parts["tensors"][4] | {"model/0.bias": parts["tensors"][4]["model/0.bias"] + 1}

    # The logged sizes are those of the manifest's states; V5 is the one to see that the file holds another.
    refused(check_record(honest, forge(honest, tmp_path / "r", edit)), "V5", "other contents")


@pytest.mark.parametrize(
    ("identity", "words", "tables"),
    [
        ("V1", "which the policy does not name", {"identity": {"keys": ["ed25519:" + "0" * 64]}}),
        ("V1", "the one that the policy pins", {"pins": {"nonce": "0" * 64}}),
        ("V1", "refuses a seed", {"initial": {"free_seed": "refuse"}}),
        ("V2", "the one that the policy pins", {"pins": {"closure": "0" * 64}}),
        ("V2", "the policy allows 1", {"bounds": {"every_max": 1}}),
        ("V2", "the policy asks for 17", {"bounds": {"steps_min": STEPS + 1}}),
        ("V2", "gradient evaluations", {"bounds": {"gradients_min": 8 * STEPS + 1}}),
        ("V4", "the one that the policy pins", {"pins": {"dataset_root": "0" * 64}}),
        ("V13", "the policy pins", {"pins": {"model_root": "0" * 64}}),
    ],
)
def test_rejects_what_the_policy_does_not_allow(
    identity: str, words: str, tables: dict[str, Any], honest: Honest
) -> None:
    refused(check_record(honest, honest.path, policy(**tables)), identity, words)


def test_accepts_what_the_policy_pins(honest: Honest) -> None:
    commitment = honest.record.commitment
    pins = {
        "closure": commitment.closure.digest,
        "dataset_root": commitment.dataset.root,
        "model_root": chain.model_root(honest.record.segment(8).state),
    }
    rules = policy(pins=pins, identity={"keys": [key_id(commitment.key)]})
    report = check_record(honest, honest.path, rules)
    assert report.verdict is Verdict.ACCEPT
    assert not any("pinned" in caveat or "names no key" in caveat for caveat in report.caveats)


def test_rejects_too_many_resumes_and_replays_beside_one(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", edit_segment(4, resumed=True))
    refused(check_record(honest, path, policy(bounds={"resumes_max": 0})), "V2", "1 resumes")
    few = {"top_q": 1, "optimizer_top_q": 0, "bottom_q": 0, "edges": 1, "displacement": 1.0, "miss_probability": 0.9}
    rules = policy(selection=few).replace(coverage="sampled")
    report = check_record(honest, path, rules)
    assert all("resume" in report.units[index].chosen for index in (2, 3))


def straighten(parts: Parts) -> None:
    """Put every state on the line from the first weights to the last, and say so in the log."""
    from trainproof.recording.norms import distance

    first, last = parts["tensors"][0], parts["tensors"][-1]
    count = len(parts["segments"]) - 1
    for index in range(1, count):
        line = {
            name: torch.lerp(first[name], last[name], index / count)
            for name in first
            if name.startswith("model/") and first[name].dtype.is_floating_point
        }
        parts["tensors"][index] = parts["tensors"][index] | line
        _remanifest(parts, index, parts["tensors"][index])
    for index in range(1, count + 1):
        norm = hexfloat(distance(parts["tensors"][index - 1], parts["tensors"][index]))
        parts["segments"][index] = msgspec.structs.replace(parts["segments"][index], update_norm=norm)


def repeat(parts: Parts) -> None:
    """End the record in the weights of an earlier state."""
    from trainproof.recording.norms import distance

    old = {n: t for n, t in parts["tensors"][4].items() if n.startswith("model/")}
    parts["tensors"][8] = parts["tensors"][8] | old
    _remanifest(parts, 8, parts["tensors"][8])
    norm = hexfloat(distance(parts["tensors"][7], parts["tensors"][8]))
    parts["segments"][8] = msgspec.structs.replace(parts["segments"][8], update_norm=norm)


@pytest.mark.parametrize(
    ("reason", "unit", "edit"),
    [
        ("straight line", 3, straighten),
        ("duplicate state", 7, repeat),
        ("loss spike", 4, edit_steps(5, first_step(with_fields(losses=[hexfloat(1e6)])))),
    ],
)
def test_replays_what_looks_odd(
    reason: str, unit: int, edit: Callable[[Parts], None], honest: Honest, tmp_path: Path
) -> None:
    report = check_record(honest, forge(honest, tmp_path / "r", edit))
    assert reason in report.units[unit].chosen
    assert not any(reason in row.chosen for row in check_record(honest, honest.path).units)


@pytest.mark.parametrize(
    ("identity", "words", "change"),
    [
        ("V4", "is not the committed one", {"bad_samples": [3]}),
        ("V4", "not what the sampler draws", {"bad_order": (0, 2)}),
        ("RUN", "did not get to its end", {"failure": "ended after 1 of 2 batches", "refuted": True}),
    ],
)
def test_rejects_what_the_replay_finds(
    identity: str, words: str, change: dict[str, Any], honest: Honest, tmp_path: Path
) -> None:
    refused(_with_answer(honest, tmp_path, 5, **change), identity, words)


def _with_answer(honest: Honest, tmp_path: Path, index: int, **change: Any) -> Report:
    """Verify the honest record with one result of its replay changed; 0 to 2 are the initial states."""
    answers = tmp_path / "answers"
    shutil.copytree(honest.answers, answers)
    answer(answers, msgspec.structs.replace(honest.results[index], **change))
    return check_record(honest, honest.path, answers=answers)


def test_rejects_replayed_options_sizes_and_skips(honest: Honest, tmp_path: Path) -> None:
    (segment,) = honest.results[5].segments
    steps = [with_fields(skipped=True)(segment.steps[0]), *segment.steps[1:]]
    for number, (identity, words, fields) in enumerate(
        (
            ("V2", "other optimizer options", {"hypers": hypers(lambda g: g.update(nesterov=True))(segment.hypers)}),
            ("V2", "or skips another", {"steps": steps}),
            ("V8", "the replay's is", {"update_norm": hexfloat(2.0)}),
            ("V4", "another number of steps", {"steps": segment.steps[:1]}),
        )
    ):
        changed = msgspec.structs.replace(segment, **fields)
        refused(_with_answer(honest, tmp_path / str(number), 5, segments=[changed]), identity, words)


# -- undecided -------------------------------------------------------------------------------------------------------


def test_is_inconclusive_where_the_replay_crashes(honest: Honest, tmp_path: Path) -> None:
    report = _with_answer(honest, tmp_path, 5, failure="MemoryError", segments=[])
    refused(report, "RUN", "MemoryError", Verdict.INCONCLUSIVE)
    assert report.level == 0


def test_is_inconclusive_where_the_replay_reports_other_segments(honest: Honest, tmp_path: Path) -> None:
    refused(_with_answer(honest, tmp_path, 5, segments=[]), "RUN", "other segments", Verdict.INCONCLUSIVE)


def test_is_inconclusive_where_the_prover_could_not_replay_it(honest: Honest, tmp_path: Path) -> None:
    replays = [SelfReplay(segment=8, outcome="differs", detail="")]
    path = forge(honest, tmp_path / "r", lambda parts: parts["seal"].update(self_replays=replays))
    refused(check_record(honest, path), "V1", "prover's own replay", Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("torch", "1.0.0"),
        ("machine", "sparc"),
        ("cpu_vendor", "another"),
        ("cpu_capability", "AVX9"),
        ("onednn_isa", "AVX9"),
        ("packages", [("torch", "0.1")]),
    ],
)
def test_is_inconclusive_before_replay_in_another_environment(
    field: str, value: Any, honest: Honest, tmp_path: Path
) -> None:
    path = forge(honest, tmp_path / "r", edit_commitment(environment=with_fields(**{field: value})))
    report = check_record(honest, path)
    refused(report, "ENV", field, Verdict.INCONCLUSIVE)
    assert report.cost.seconds == 0.0


def test_is_inconclusive_where_a_process_runs_under_other_settings(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", edit_commitment(environment=with_fields(threads=2)))
    refused(check_record(honest, path), "V3", "cannot have threads 2", Verdict.INCONCLUSIVE)


def test_is_inconclusive_beyond_the_cost_cap(honest: Honest) -> None:
    refused(check_record(honest, honest.path, policy(cost={"steps": STEPS - 1})), "PLAN", "cap", Verdict.INCONCLUSIVE)
    slow = policy(cost={"seconds": 1e-9})
    refused(check_record(honest, honest.path, slow), "RUN", "estimated", Verdict.INCONCLUSIVE)


def test_is_inconclusive_about_a_private_dataset_without_its_salts(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", edit_commitment(dataset=with_fields(private=True)))
    refused(check_record(honest, path), "V4", "private", Verdict.INCONCLUSIVE)


# -- errors, ledger, chain of trust ----------------------------------------------------------------------------------


def test_refuses_to_verify_without_a_policy(honest: Honest) -> None:
    with pytest.raises(PolicyError, match="needs a policy"):
        run(honest.path, recipe=honest.recipe, policy=None)  # type: ignore[arg-type]


def test_an_unsealed_record_is_an_error(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", lambda parts: None)
    (path / SEAL).unlink()
    with pytest.raises(RecordError, match="not sealed"):
        check_record(honest, path)


def test_a_state_file_that_nobody_names_is_an_error(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", lambda parts: None)
    (path / "states" / "payload.bin").write_bytes(b"x")
    with pytest.raises(RecordError, match="not part of a record"):
        check_record(honest, path)


def test_verify_raises_with_the_report_unless_accepted(honest: Honest, tmp_path: Path) -> None:
    path = forge(honest, tmp_path / "r", edit_segment(3, first_step=5))
    with pytest.raises(VerificationError, match="V0") as caught:
        verify(path, recipe=honest.recipe, policy=policy())
    assert caught.value.report.failed is not None
    assert caught.value.report.failed.segment == 3
    assert caught.value.exit_code == 1


def test_a_refused_record_stays_refused_and_an_accepted_one_keeps_its_nonce(honest: Honest, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = check_record(honest, honest.path, ledger=ledger)
    second = check_record(honest, honest.path, ledger=ledger)
    assert first.verdict is second.verdict is Verdict.ACCEPT
    assert first.nonce == second.nonce
    assert any("challenged 1 times before" in caveat for caveat in second.caveats)
    path = forge(honest, tmp_path / "r", edit_steps(3, first_step(with_fields(losses=[hexfloat(0.5)]))))
    refused(check_record(honest, path, ledger=ledger), "V11", "another loss")
    refused(check_record(honest, path, ledger=ledger), "V1", "permanent")


def test_a_warm_start_needs_its_parent_verified(honest: Honest, tmp_path: Path) -> None:
    parent = Parent(chain=honest.record.root, model=chain.model_root(honest.record.segment(8).state))
    last = {n: t for n, t in honest.record.tensors(8).items() if n.startswith("model/")}

    def edit(parts: Parts) -> None:
        edit_commitment(parent=parent)(parts)
        parts["tensors"][0] = parts["tensors"][0] | last
        _remanifest(parts, 0, parts["tensors"][0])

    path = forge(honest, tmp_path / "child", edit)
    refused(check_record(honest, path), "V3", "neither in the ledger")
    ledger = Ledger(tmp_path / "ledger")
    assert check_record(honest, honest.path, ledger=ledger).verdict is Verdict.ACCEPT
    report = check_record(honest, path, ledger=ledger)
    # Its order follows another seed than the honest one's: V4 sees that, once V3 has accepted the start.
    assert next(check for check in report.checks if check.title == "initial state").outcome is Outcome.PASS
    assert report.facts["parent"].startswith(parent.chain)


# -- weak starts: a loop whose initial weights no seed explains -----------------------------------------------------


def weak_start(honest: Honest, folder: Path, weights: dict[str, torch.Tensor], rules: Policy) -> Check:
    """Check the initial state of the record as if its loop had made these weights by itself, without a seed."""

    def edit(parts: Parts) -> None:
        edit_commitment(closure=with_fields(door="loop"))(parts)
        parts["tensors"][0] = parts["tensors"][0] | {f"model/{name}": t for name, t in weights.items()}
        _remanifest(parts, 0, parts["tensors"][0])

    record = Record.open(forge(honest, folder, edit))
    source, closure = resolve(str(honest.recipe), record.commitment, ())
    context = Context(record, rules, source, closure, SignatureError("not looked at"), scratch=honest.answers)
    for index in range(len(record)):
        context.read(index)
    context.initial, *context.builds = honest.results[:3]
    context.ambient = context.builds[0]  # a loop without a seed: other generators, other weights
    found = v03_initial(context)
    assert found.outcome is not Outcome.PASS or (context.level_cap == 1 and "Weak start" in context.caveats[0])
    return found


def drawn(seed: int) -> dict[str, torch.Tensor]:
    """Return weights from the recipe's own initializers, by a seed of the prover's."""
    torch.manual_seed(seed)
    layers = torch.nn.Linear(6, 16), torch.nn.Linear(16, 3), torch.nn.Linear(3, 3)
    named = zip(("0", "3", "4"), layers, strict=True)
    return {f"{n}.{kind}": t.detach() for n, layer in named for kind, t in layer.named_parameters()}


def test_an_honest_weak_start_is_capped(honest: Honest, tmp_path: Path) -> None:
    found = [weak_start(honest, tmp_path / str(seed), drawn(seed), policy()).outcome for seed in range(5)]
    assert found == [Outcome.PASS] * 5


@pytest.mark.parametrize("case", ["trained", "sort-matched", "another distribution", "a constant changed", "refused"])
def test_rejects_a_weak_start(case: str, honest: Honest, tmp_path: Path) -> None:
    final = honest.record.tensors(8)["model/0.weight"]
    weights, rules, words = drawn(1), policy(), "rank correlation"
    if case == "trained":
        weights["0.weight"] = final
    elif case == "sort-matched":
        matched = torch.empty(96)
        matched[final.flatten().argsort()] = weights["0.weight"].flatten().sort().values
        weights["0.weight"] = matched.reshape(16, 6)
    elif case == "another distribution":
        weights["0.weight"], words = weights["0.weight"] * 3, "not distributed"
    elif case == "a constant changed":
        weights["1.weight"], words = torch.full((16,), 2.0), "the same under every seed"
    else:
        rules, words = policy(initial={"weak_start": "refuse"}), "refuses a weak start"
    found = weak_start(honest, tmp_path / "r", weights, rules)
    assert (found.outcome, words in found.evidence) == (Outcome.FAIL, True), found.evidence


# -- recipes that hide weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("model[0].weight.data = torch.arange(96.0).cos().reshape(16, 6)", "is the same under every seed"),
        (
            "model[0].weight.data = torch.arange(96.0).cos().reshape(16, 6) + 0.3 * torch.randn(16, 6)",
            "is a fixed pattern under noise",
        ),
        (
            "model[0].table = nn.Parameter(torch.arange(96), requires_grad=False)",
            "model/0.table is the same under every seed",
        ),
    ],
)
def test_rejects_a_recipe_that_holds_weights(line: str, words: str, tmp_path: Path) -> None:
    recipe = tmp_path / "hidden.py"
    recipe.write_text(RECIPE.replace("        return model\n", f"        {line}\n        return model\n"))
    train(
        f"{recipe}:Tiny",
        out=tmp_path / "r",
        epochs=2,
        every=EVERY,
        key=Signer.generate(),
        self_replay=False,
        quiet=True,
    )
    report = run(tmp_path / "r", recipe=f"{recipe}:Tiny", policy=policy(initial={"builds": 4}), jobs=1)
    refused(report, "V3", words)
    assert "model/0." in report.headline()
