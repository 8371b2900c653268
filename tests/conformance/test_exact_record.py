"""Records of exact training: verified under other settings than they were made, and forged in one place at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from conformance import test_mutations
from conformance.forge import Bench, Document, Honest, as_a_process, door_1, write
from forked import Forks
from trainproof.attest.keys import Signer
from trainproof.errors import RecipeError
from trainproof.exact.spec import Format, Spec
from trainproof.exact.trainer import Trainer
from trainproof.recording.format import Anchor, Leaf, Parameter, Segment
from trainproof.recording.reader import Record
from trainproof.recording.recipe import load_recipe
from trainproof.recording.train import train
from trainproof.recording.tree import to_tree
from trainproof.verification.checks.v14_exact import _problem, v14_exact, v14_replayed, v14_states
from trainproof.verification.compare import Bitwise
from trainproof.verification.verdict import Check, Outcome, Report, Verdict

RECIPE = '''
import os
import signal
import time

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Digits(tp.exact.Recipe):
    """8 x 8 digits as bytes."""

    batch_size = 16
    lr = ((0, 2**-5), (5, 3 * 2**-7))
    momentum = 0.875

    def build(self):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
        )

    def dataset(self):
        x, y = load_digits(return_X_y=True)
        images = torch.tensor(x[:104] * 15, dtype=torch.uint8).reshape(-1, 1, 8, 8)
        return TensorDataset(images, torch.tensor(y[:104]))


class Float(tp.Recipe):
    """The same in floating point, for a parent that is not exact."""

    batch_size = 16
    optimizer = tp.SGD(lr=0.1)
    build, dataset = Digits.build, Digits.dataset

    def loss(self, model, batch):
        return torch.nn.functional.cross_entropy(model(batch[0].float()), batch[1])


def die_at(step, steps, loss):
    if os.environ.get("DIE_AT") == str(step):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)


def main(out, resume):
    tp.train(f"{__file__}:Digits", out, epochs=2, every=2, key="prover.key", keep="keyframes:2", resume=resume,
             nonce="0" * 64, self_replay=False, quiet=True, progress=die_at)
'''

# 104 samples and batches of 16: 6 batches an epoch, 12 steps, 3 units of 2 segments of 2 steps.
EVERY, KEYFRAMES, EPOCHS = 2, 2, 2

# What `trainproof check` and `trainproof train` do, in one process.
COMMANDS = """
import sys
from trainproof.cli import main

sys.exit(main(["check", sys.argv[1], "--json"]) or main(["train", *sys.argv[1:]]))
"""

VERIFY = """
import json, sys
import trainproof as tp
from trainproof.verification.verify import run

policy = tp.Policy.bitwise()
initial = {**{n: getattr(policy.initial, n) for n in policy.initial.__struct_fields__}, "builds": 2}
report = run(sys.argv[1], recipe=sys.argv[2], policy=policy.replace(coverage="all", initial=initial), jobs=1)
print(json.dumps([report.headline(), [[c.id, c.evidence] for c in report.checks]]))
"""


def python(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with other settings."""
    environment = {**os.environ, "MPLBACKEND": "agg", **variables}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and a key."""
    found = tmp_path_factory.mktemp("exact")
    (found / "digits.py").write_text(RECIPE)
    Signer.generate().save(found / "prover.key")
    return found


def test_recorded_in_one_process_verified_in_another_with_other_settings(folder: Path) -> None:
    recipe, out = f"{folder / 'digits.py'}:Digits", folder / "there"
    options = ["--epochs", "1", "--every", "3", "--key", "prover.key", "--keep", "keyframes:2", "--json"]
    trained = python("-c", COMMANDS, recipe, "--out", str(out), *options, cwd=folder, OMP_NUM_THREADS="2")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    recorded = Record.open(out)
    assert recorded.commitment.environment.threads == 2
    assert recorded.commitment.loader.order == "affine"
    assert recorded.commitment.anchors == 1
    settings = {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}
    verified = python("-c", VERIFY, str(out), recipe, cwd=folder, **settings)
    assert verified.returncode == 0, verified.stderr
    headline, checks = json.loads(verified.stdout)
    assert headline == "ACCEPT, level L3 (bitwise, all)"
    evidence = dict(map(tuple, checks))["ENV"]
    assert evidence.startswith("exact arithmetic, any settings: threads 2 there, 1 here")
    if recorded.commitment.environment.cpu_capability != "DEFAULT":
        assert f"cpu_capability {recorded.commitment.environment.cpu_capability} there, DEFAULT here" in evidence


# -- one honest record, and what forgers make of it ------------------------------------------------------------------


@pytest.fixture(scope="module")
def honest(folder: Path) -> Honest:
    """An honest record of exact training."""
    signer = Signer.generate()
    recipe = f"{folder / 'digits.py'}:Digits"
    with as_a_process():
        train(
            recipe, folder / "honest", epochs=EPOCHS, every=EVERY, key=signer, keep=f"keyframes:{KEYFRAMES}",
            self_replay=False, quiet=True,
        )  # fmt: skip
    return Honest(folder / "honest", recipe, [], signer)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """What verifies in this process."""
    with Bench(tmp_path_factory.mktemp("bench")) as found:
        yield found


Forge = Callable[[Document], tuple[Any, ...]]


def forged(honest: Honest, bench: Bench, out: Path, change: Forge) -> Report:
    """Verify a copy that ``change`` has changed (it returns the place), its digests, chain and seal made to fit."""
    document = honest.document.copy()
    write(document, out, honest.signer, consistent=True, path=change(document))
    return bench.verify(honest, out)


def refused(report: Report, check: str, segment: int | None, *evidence: str) -> None:
    """Assert that ``check`` decided, and why."""
    assert report.verdict is Verdict.REJECT, report.headline()
    assert report.failed is not None
    assert (report.failed.id, report.failed.segment) == (check, segment), report.headline()
    for words in evidence:
        assert words in report.failed.evidence


def test_an_honest_record_is_accepted(honest: Honest, bench: Bench) -> None:
    report = bench.verify(honest, honest.path)
    assert report.headline() == "ACCEPT, level L3 (bitwise, all)"
    said = [c.evidence for c in report.checks if c.id == "V14"]
    assert len(said) == 3
    assert "2 blocks; no sum reaches 2^53" in said[0]
    assert said[1].startswith("12 steps with the specification's rate and momentum")
    assert said[2] == "12 states equal in every bit, one every 1 steps"
    assert report.facts["exact specification"] == load_recipe(honest.recipe).spec().digest()  # type: ignore[attr-defined]


def test_the_record_is_the_trainers_run(honest: Honest) -> None:
    record = Record.open(honest.path)
    recipe: Any = load_recipe(honest.recipe)
    images, labels = recipe.dataset().tensors
    trainer = Trainer(recipe.spec(), images, labels, bytes.fromhex(record.commitment.seed.seed))
    for index in range(1, len(record)):
        trainer.run(EVERY)
        if record.segment(index).stored:
            stored = record.tensors(index, "model/")
            for name, values in trainer.weights().items():
                assert np.array_equal(stored[f"model/{name}"].numpy(), values), (index, name)


def add(index: int, name: str, value: float, place: int = 0) -> Forge:
    """Add ``value`` to one element of a stored tensor."""

    def change(document: Document) -> tuple[Any, ...]:
        tensors = document.tensors[index]
        assert tensors is not None
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[place] += value
        return ("tensors", index, name)

    return change


def test_a_weight_that_is_off_by_one_is_named_with_its_segment_and_step(
    honest: Honest, bench: Bench, tmp_path: Path
) -> None:
    report = forged(honest, bench, tmp_path / "f", add(4, "model/4.weight", 1.0, 17))
    refused(report, "V14", 4, "the record leaves the replay at step 7: model/4.weight is not what the replay gives")


def test_a_velocity_that_is_off_by_one_is_named_too(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    report = forged(honest, bench, tmp_path / "f", add(2, "optimizer/1/momentum_buffer", -1.0))
    refused(report, "V14", 2, "at step 3: optimizer/1/momentum_buffer is not what the replay gives")


def test_a_forged_trajectory_is_named_at_its_first_step(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    def change(document: Document) -> tuple[Any, ...]:
        document.segments[3]["anchors"][0]["root"] = "0" * 64  # after step 4, the first of the segment
        return add(4, "model/4.weight", 1.0)(document)

    report = forged(honest, bench, tmp_path / "f", change)
    refused(report, "V14", 3, "the record leaves the replay at step 4: the state hashed after 1 steps of the segment")


@pytest.mark.parametrize(
    ("name", "value", "evidence"),
    [
        ("model/0.weight", 0.5, "model/0.weight holds a number that is no integer"),
        ("model/0.weight", 2.0**18, "out of the range of 18 bits"),
        ("model/4.bias", -(2.0**18), "out of the range of 18 bits"),
        ("optimizer/0/momentum_buffer", 2.0**20, "out of the range of 20 bits"),
    ],
)
def test_a_stored_value_that_no_exact_training_holds(
    honest: Honest, bench: Bench, tmp_path: Path, name: str, value: float, evidence: str
) -> None:
    refused(forged(honest, bench, tmp_path / "f", add(4, name, value)), "V14", 4, evidence)


def test_a_zero_with_a_sign(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    def change(document: Document) -> tuple[Any, ...]:
        tensors = document.tensors[2]
        assert tensors is not None
        tensors["model/0.bias"] = tensors["model/0.bias"].clone()
        tensors["model/0.bias"][1] = -0.0
        return ("tensors", 2, "model/0.bias")

    refused(forged(honest, bench, tmp_path / "f", change), "V14", 2, "model/0.bias holds a zero with a sign")


def test_an_order_that_is_not_affine(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    def change(document: Document) -> tuple[Any, ...]:
        indices = document.segments[4]["steps"][1]["batches"][0]["indices"]  # step 7: the second batch of epoch 1
        indices[0], indices[1] = indices[1], indices[0]
        return ("segments", 4, "steps")

    report = forged(honest, bench, tmp_path / "f", change)
    refused(report, "V4", 4, "batch 1 of epoch 1 is not the one that the seed gives")


def test_an_exact_recipe_has_no_other_order(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    def change(document: Document) -> tuple[Any, ...]:
        document.commitment["loader"]["order"] = "seeded"
        return ("commitment", "loader", "order")

    report = forged(honest, bench, tmp_path / "f", change)
    refused(report, "V2", None, "the committed loader is not the one that the recipe declares")
    assert "V14" not in [check.id for check in report.checks]


def test_a_float_recipe_that_claims_to_be_exact(bench: Bench, tmp_path: Path) -> None:
    plain = door_1(tmp_path)
    assert "V14" not in [check.id for check in bench.verify(plain, plain.path).checks]

    def change(document: Document) -> tuple[Any, ...]:
        document.commitment["loader"]["order"] = "affine"
        document.commitment["environment"]["threads"] = 63
        return ("commitment", "loader", "order")

    report = forged(plain, bench, tmp_path / "f", change)
    refused(report, "V14", None, "the record's order is exact training's, and the recipe is no exact one")


def test_settings_and_versions_are_not_the_verifiers(honest: Honest, bench: Bench, tmp_path: Path) -> None:
    other = {
        "threads": 97, "cpu_capability": "AVX1024", "onednn_isa": "NONE_SUCH", "cpu_vendor": "Other", "cpu_model": "X",
        "torch": "99.0", "numpy": "99.0", "python": "4.0.0", "machine": "riscv64", "deterministic": True,
        "matmul_precision": "medium", "default_dtype": "float16",
    }  # fmt: skip

    def change(document: Document) -> tuple[Any, ...]:
        environment = document.commitment["environment"]
        environment |= other
        environment["packages"] = [
            [n, "99.0"] if n in ("torch", "numpy") else [n, v] for n, v in environment["packages"]
        ]
        return ("commitment", "environment")

    report = forged(honest, bench, tmp_path / "f", change)
    assert report.headline() == "ACCEPT, level L3 (bitwise, all)"
    evidence = next(check.evidence for check in report.checks if check.id == "ENV")
    for name in ("threads 97 there", "cpu_capability AVX1024 there", "torch 99.0 there", "machine riscv64 there"):
        assert name in evidence


@pytest.mark.parametrize("field", ["trainproof", "packages"])
def test_other_data_or_another_record_would_be_no_refusal(
    honest: Honest, bench: Bench, tmp_path: Path, field: str
) -> None:
    def change(document: Document) -> tuple[Any, ...]:
        document.commitment["environment"][field] = "99.0" if field == "trainproof" else [["scikit-learn", "99.0"]]
        return ("commitment", "environment", field)

    report = forged(honest, bench, tmp_path / "f", change)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.failed is not None
    assert report.failed.id == "ENV"
    assert f"{field}: recorded" in report.failed.evidence


# -- V14's parts by themselves ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec(honest: Honest) -> Spec:
    """The recipe's specification."""
    recipe: Any = load_recipe(honest.recipe)
    found: Spec = recipe.spec()
    return found


def commitment_check(honest: Honest, exact: str | None, **changes: Any) -> Check:
    """Run V14's first part as if the verifier's recipe had reported ``exact``."""
    commitment = msgspec.structs.replace(Record.open(honest.path).commitment, **changes)
    made = None if exact == "nothing" else SimpleNamespace(exact=exact)
    context: Any = SimpleNamespace(initial=SimpleNamespace(made=made), commitment=commitment, facts={}, exact=None)
    return v14_exact(context)


def test_the_specification_must_be_exact_and_the_committed_one(honest: Honest, spec: Spec) -> None:
    commitment = Record.open(honest.path).commitment
    assert commitment_check(honest, spec.encode().decode()).outcome is Outcome.PASS

    found = commitment_check(honest, "nothing")
    assert (found.outcome, "no exact one" in found.evidence) == (Outcome.FAIL, True)
    found = commitment_check(honest, None)
    assert (found.outcome, "no exact one" in found.evidence) == (Outcome.FAIL, True)
    found = commitment_check(honest, "{}")
    assert (found.outcome, "no specification" in found.evidence) == (Outcome.INCONCLUSIVE, True)

    wide = msgspec.structs.replace(spec.blocks[0].error, bits=40)
    blocks = [msgspec.structs.replace(spec.blocks[0], error=wide), *spec.blocks[1:]]
    loose = msgspec.structs.replace(spec, blocks=blocks)
    tree = commitment.optimizer.schedule
    pairs = [(k, Leaf(v=loose.digest()) if k == Leaf(v="spec") else v) for k, v in tree.v]  # type: ignore[union-attr]
    optimizer = msgspec.structs.replace(commitment.optimizer, schedule=msgspec.structs.replace(tree, v=pairs))
    found = commitment_check(honest, loose.encode().decode(), optimizer=optimizer)
    assert (found.outcome, "is not exact" in found.evidence) == (Outcome.FAIL, True)

    first = msgspec.structs.replace(commitment.model[0], dtype="float32")
    found = commitment_check(honest, spec.encode().decode(), model=[first, *commitment.model[1:]])
    assert (found.outcome, "committed model" in found.evidence) == (Outcome.FAIL, True)
    buffer = Parameter(name="z", dtype="float64", shape=[1], kind="buffer")
    found = commitment_check(honest, spec.encode().decode(), model=[*commitment.model, buffer])
    assert (found.outcome, "committed model" in found.evidence) == (Outcome.FAIL, True)

    other = msgspec.structs.replace(spec, rate=msgspec.structs.replace(spec.rate, pieces=[(0, 2)]))
    found = commitment_check(honest, other.encode().decode())
    assert (found.outcome, "commits to specification" in found.evidence) == (Outcome.FAIL, True)
    bare = msgspec.structs.replace(commitment.optimizer, schedule=to_tree({"lr": 1.0}, "schedule"))
    found = commitment_check(honest, spec.encode().decode(), optimizer=bare)
    assert (found.outcome, "commits to specification None" in found.evidence) == (Outcome.FAIL, True)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([-8.0, 7.0, 0.0], None),
        ([8.0], "holds 8, out of the range of 4 bits"),
        ([-9.0, 0.0], "holds -9, out of the range of 4 bits"),
        ([1.0, 6.999999999999999], "holds a number that is no integer"),
        ([1.0, -0.0], "holds a zero with a sign"),
    ],
)
def test_ranges_end_where_the_format_says(values: list[float], problem: str | None) -> None:
    assert _problem(torch.tensor(values, dtype=torch.float64), Format(exponent=3, bits=4)) == problem


def states_check(honest: Honest, spec: Spec, index: int, change: Callable[[Any], Any]) -> Check:
    """Run V14's second part on the honest record with segment ``index`` changed."""
    record = Record.open(honest.path)
    segments = [record.segment(i) for i in range(len(record))]
    segments[index] = change(segments[index])
    context: Any = SimpleNamespace(exact=spec, segments=lambda: segments, tensors=record.tensors)
    return v14_states(context)


def with_hyper(**changes: Any) -> Callable[[Segment], Segment]:
    """Change the options of every step of a segment."""

    def change(segment: Segment) -> Segment:
        options = {"lr": 2**-5, "momentum": 0.875, **changes}
        tree = to_tree([{k: v for k, v in options.items() if v is not None}], "hypers")
        return msgspec.structs.replace(segment, hypers=[tree] * len(segment.hypers))

    return change


def with_tensors(change: Callable[[list[Any]], list[Any]]) -> Callable[[Segment], Segment]:
    """Change a manifest's entries."""

    def changed(segment: Segment) -> Segment:
        tensors = change(list(segment.state.tensors))
        return msgspec.structs.replace(segment, state=msgspec.structs.replace(segment.state, tensors=tensors))

    return changed


def renamed(called: str, /, **fields: Any) -> Callable[[list[Any]], list[Any]]:
    """Change fields of the entry called ``called``."""
    return lambda entries: [msgspec.structs.replace(e, **fields) if e.name == called else e for e in entries]


def skip_one(segment: Segment) -> Segment:
    """Say that a step was skipped."""
    steps = [msgspec.structs.replace(segment.steps[0], skipped=True), *segment.steps[1:]]
    return msgspec.structs.replace(segment, steps=steps)


VELOCITY = "optimizer/2/momentum_buffer"


@pytest.mark.parametrize(
    ("index", "change", "evidence"),
    [
        (1, with_hyper(lr=3 * 2**-7), "step 0 does not have the specification's lr, 0.03125"),
        (3, with_hyper(), "step 5 does not have the specification's lr, 0.0234375"),
        (1, with_hyper(lr=1), "step 0 does not have the specification's lr"),
        (2, with_hyper(momentum=0.75), "step 2 does not have the specification's momentum, 0.875"),
        (2, with_hyper(momentum=None), "step 2 does not have the specification's"),
        (2, with_hyper(weight_decay=0.1), "step 2 does not have the specification's"),
        (2, skip_one, "step 2 was skipped"),
        (1, with_tensors(lambda e: [t for t in e if t.name != VELOCITY]), f"{VELOCITY} is not a tensor"),
        (3, with_tensors(lambda e: [t for t in e if t.name != "model/4.bias"]), "model/4.bias is not a tensor"),
        (3, with_tensors(renamed(VELOCITY, dtype="float32")), f"{VELOCITY} is not a tensor"),
        (3, with_tensors(renamed(VELOCITY, shape=[1])), f"{VELOCITY} is not a tensor"),
        (3, with_tensors(renamed(VELOCITY, order=[1, 0])), f"{VELOCITY} is not a tensor"),
        (3, with_tensors(renamed(VELOCITY, name="extra/x/y")), "extra/x/y is not a tensor"),
        (0, with_tensors(lambda e: [*e, msgspec.structs.replace(e[0], name=VELOCITY)]), f"{VELOCITY} is not a tensor"),
    ],
)
def test_steps_and_states_are_the_specifications(
    honest: Honest, spec: Spec, index: int, change: Any, evidence: str
) -> None:
    assert states_check(honest, spec, index, lambda segment: segment).outcome is Outcome.PASS
    found = states_check(honest, spec, index, change)
    assert (found.outcome, found.segment) == (Outcome.FAIL, index)
    assert evidence in found.evidence


@pytest.mark.parametrize(
    ("ours", "theirs", "end", "which"),
    [
        ([], [], False, "one of the steps 6 to 11"),
        ([(1, "a"), (2, "b")], [(1, "a"), (2, "c")], False, "step 7"),
        ([(2, "a"), (4, "b")], [(2, "a"), (4, "c")], True, "one of the steps 8 to 9"),
        ([(2, "a"), (4, "b")], [(2, "a"), (4, "b")], False, "one of the steps 10 to 11"),
        ([(5, "a")], [(5, "a")], False, "step 11"),
        ([(5, "a")], [], True, "one of the steps 6 to 10"),
    ],
)
def test_a_difference_lies_between_two_hashed_states(
    honest: Honest, ours: Any, theirs: Any, end: bool, which: str
) -> None:
    record = Record.open(honest.path)
    six = [record.segment(1).steps[0]] * 6

    def segment(anchors: Any, root: str) -> Segment:
        found = [Anchor(steps=steps, root=64 * letter) for steps, letter in anchors]
        kept = record.segment(1)
        state = msgspec.structs.replace(kept.state, root=root)
        return msgspec.structs.replace(kept, first_step=6, steps=six, anchors=found, state=state)

    replayed, recorded = segment(ours, 64 * "0"), segment(theirs, 64 * ("0" if end else "1"))
    result = SimpleNamespace(unit=SimpleNamespace(end=99), errors=[])
    context: Any = SimpleNamespace(
        replayed=lambda: iter([(result, replayed, recorded)]), comparison=Bitwise(), commitment=record.commitment
    )
    found = v14_replayed(context)
    assert (found.outcome, found.segment) == (Outcome.FAIL, 1)
    assert f"leaves the replay at {which}:" in found.evidence
    context.replayed = lambda: iter([(result, replayed, replayed)])
    assert v14_replayed(context).outcome is Outcome.PASS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_change_of_any_field_is_accepted(
    honest: Honest, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test what test_mutations.py does with other records; but of the environment nothing decides bits here."""
    monkeypatch.setitem(test_mutations.ENUMS, "affine", "seeded")
    bureau = test_mutations.Bureau(honest, bench, tmp_path)
    for at in test_mutations.selected(honest.document):
        for kind in list(test_mutations.choices(honest.document, at))[:2]:
            bureau.judge(at, kind, consistent=True)
    assert [w for w in bureau.wrong if not w.startswith("accepted: commitment/environment/")] == [], bureau.summary()
    assert bureau.deciding["V14"] > 20


# -- runs that end early, and runs that go on ------------------------------------------------------------------------


def test_a_killed_run_continues_bit_for_bit(forks: Forks, folder: Path, bench: Bench) -> None:
    call: dict[str, Any] = {"path": str(folder / "digits.py"), "function": "main", "cwd": folder}
    whole = forks("call", arguments=["whole", False], **call)
    assert whole.code == 0, whole.output
    assert forks("call", arguments=["killed", False], variables={"DIE_AT": "7"}, **call).code == -signal.SIGKILL
    assert not Record.open(folder / "killed").sealed()
    resumed = forks("call", arguments=["killed", True], **call)
    assert resumed.code == 0, resumed.output
    a, b = Record.open(folder / "whole"), Record.open(folder / "killed")
    assert len(a) == len(b)
    for index in range(len(a)):
        ours, theirs = a.segment(index), b.segment(index)
        assert (ours.state, ours.steps, ours.anchors) == (theirs.state, theirs.steps, theirs.anchors), index
    assert any(b.segment(i).resumed for i in range(len(b)))
    known = Honest(folder / "killed", f"{folder / 'digits.py'}:Digits", [], Signer.load(folder / "prover.key"))
    assert bench.verify(known, known.path).headline() == "ACCEPT, level L3 (bitwise, all)"


def test_a_run_goes_on_from_an_exact_parent_and_from_no_other(honest: Honest, bench: Bench, folder: Path) -> None:
    options: dict[str, Any] = {"epochs": 1, "every": 3, "self_replay": False, "quiet": True}
    with as_a_process():
        train(honest.recipe, folder / "child", key=honest.signer, parent=honest.path, **options)
    child = Honest(folder / "child", honest.recipe, [], honest.signer)
    report = bench.verify(child, child.path, parents=[honest.path])
    assert report.headline() == "ACCEPT, level L3 (bitwise, all)"
    with as_a_process():
        train(f"{folder / 'digits.py'}:Float", folder / "float", key=honest.signer, **options)
        with pytest.raises(RecipeError, match="not of exact training"):
            train(honest.recipe, folder / "no", key=honest.signer, parent=folder / "float", **options)
    assert not (folder / "no").exists()


# -- a real network --------------------------------------------------------------------------------------------------

LENET = """
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class LeNet(tp.exact.Recipe):
    batch_size = 64
    lr = 2**-6
    momentum = 0.875

    def build(self):
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )

    def dataset(self):
        with np.load(Path(os.environ["TRAINPROOF_DATA"]) / "mnist.npz") as data:
            images, labels = data["x_train"][:6400], data["y_train"][:6400]
        return TensorDataset(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())
"""


@pytest.mark.slow
@pytest.mark.data
def test_lenet_on_mnist_with_other_threads_and_instructions(tmp_path: Path) -> None:
    found = [Path(entry) for entry in os.environ.get("TRAINPROOF_DATA", "").split(os.pathsep) if entry]
    data = next((f for f in found if (f / "mnist.npz").is_file()), None)
    if data is None:
        pytest.skip("no mnist.npz in TRAINPROOF_DATA")
    (tmp_path / "lenet.py").write_text(LENET)
    Signer.generate().save(tmp_path / "prover.key")
    call = (
        "import trainproof as tp; tp.train('lenet.py:LeNet', 'out', epochs=1, every=25, key='prover.key', quiet=True, "
        "self_replay=False)"
    )
    trained = python("-c", call, cwd=tmp_path, OMP_NUM_THREADS="2", TRAINPROOF_DATA=str(data))
    assert trained.returncode == 0, trained.stderr
    settings = {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "TRAINPROOF_DATA": str(data)}
    verified = python("-c", VERIFY, "out", "lenet.py:LeNet", cwd=tmp_path, **settings)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)[0] == "ACCEPT, level L3 (bitwise, all)"
    record = Record.open(tmp_path / "out")
    losses = [float.fromhex(step.losses[0]) for i in range(1, 5) for step in record.segment(i).steps]
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
