"""Two records of one task: whose is wrong, and at which step. Each rule of docs/dispute.md has a record that breaks it.

Forgers train as the recorder does and change a weight on the way, or change what is written, chain and sign it again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.forge import Bench, Document, Honest, _follow, _resize, as_a_process, door_2, write
from trainproof import _core
from trainproof.attest.keys import Signer, key_id
from trainproof.cli import main
from trainproof.errors import DisputedRecordError, UsageError
from trainproof.recording import environment
from trainproof.recording import train as training
from trainproof.recording.reader import COMMITMENT, LEAVES, SEAL, Record
from trainproof.recording.recipe import seed_of
from trainproof.recording.train import Loop, train
from trainproof.replay import pool
from trainproof.verification import replays
from trainproof.verification.dispute import Dispute, dispute
from trainproof.verification.policy import Policy
from trainproof.verification.timeline import Timeline, bisect
from trainproof.verification.verdict import Verdict

RECIPE = """
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Digits(tp.Recipe):
    batch_size = 8
    optimizer = tp.SGD(lr=tp.Cosine(0.1, epochs=2), momentum=0.9)

    def build(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(0.1), nn.Linear(12, 10))

    def dataset(self):
        with np.load(Path(__file__).with_name("digits.npz")) as data:
            return TensorDataset(torch.from_numpy(data["x"]), torch.from_numpy(data["y"]))

    def augment(self, sample, rng):
        x, y = sample
        return torch.roll(x, int(rng.integers(-1, 2)), dims=1), y

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)
"""
EXACT = """
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Whole(tp.exact.Recipe):
    batch_size = 16
    lr = 2**-5
    momentum = 0.875

    def build(self):
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10))

    def dataset(self):
        x, y = load_digits(return_X_y=True)
        images = torch.tensor(x[:104] * 15, dtype=torch.uint8).reshape(-1, 1, 8, 8)
        return TensorDataset(images, torch.tensor(y[:104]))
"""
TASK = "7" * 64
STEPS, KEYFRAMES = 20, (0, 3, 4)  # 80 samples, batches of 8, two epochs; segments of 5 steps

Change = Callable[[Loop], None]


@dataclass
class Court:
    """A folder with a recipe, its data, and records of the task by several provers."""

    folder: Path
    bench: Bench

    @property
    def recipe(self) -> str:
        return f"{self.folder / 'digits.py'}:Digits"

    def train(self, name: str, changes: dict[int, Change] | None = None, **options: Any) -> Honest:
        """Record a run into the folder ``name``, unless it is there; ``changes`` are made after these steps."""
        kept: dict[str, Honest] = self.__dict__.setdefault("kept", {})
        if name not in kept:
            signer = Signer.generate()
            options = {
                "epochs": 2,
                "every": 5,
                "keep": "keyframes:3",
                "anchors": 1,
                "nonce": TASK,
                "shared": True,
            } | options
            recipe = options.pop("recipe", self.recipe)
            with as_a_process(), lying(changes or {}):
                train(recipe, out=self.folder / name, key=signer, self_replay=False, quiet=True, **options)
            kept[name] = Honest(self.folder / name, recipe, [], signer)
        return kept[name]

    def forged(self, honest: Honest, out: Path, change: Callable[[Document], object]) -> Path:
        """Return a record in which what is written was changed, chained and signed again."""
        document = honest.document.copy()
        change(document)
        write(document, out, honest.signer, consistent=False)
        return out

    def decide(self, a: Honest | Path, b: Honest | Path, **options: Any) -> Dispute:
        x, y = (side.path if isinstance(side, Honest) else side for side in (a, b))
        return dispute(x, y, recipe=options.pop("recipe", self.recipe), **options)

    def sentence(self, wrong: Honest | Path, right: Honest | Path) -> Dispute:
        """Decide both ways round; the second answer must be the first one's mirror image. Returns that with B wrong."""
        first, second = self.decide(wrong, right), self.decide(right, wrong)
        assert (first.outcome, second.outcome) == ("A wrong", "B wrong"), (first.evidence, second.evidence)
        assert (first.step, first.since) == (second.step, second.since)
        assert sorted(line.replace("A:", "B:") for line in first.evidence) == sorted(
            line.replace("A:", "B:") for line in second.evidence
        )
        assert (first.exit_code, first.a, first.b) == (1, second.b, second.a)
        return second


@contextlib.contextmanager
def lying(changes: dict[int, Change]) -> Iterator[None]:
    """Train with a loop that changes its model after some steps, and goes on from there."""

    class Liar(Loop):
        def run(self, epochs: range, step: int, steps: int, progress: Any) -> None:
            def after(number: int, steps: int, loss: float) -> None:
                changes.get(number - 1, lambda loop: None)(self)

            super().run(epochs, step, steps, after)

    training.Loop = Liar  # type: ignore[misc]
    try:
        yield
    finally:
        training.Loop = Loop  # type: ignore[misc]


def nudge(by: float = 1e-3) -> Change:
    def change(loop: Loop) -> None:
        with torch.no_grad():
            next(loop.model.parameters()).view(-1)[:7] += by

    return change


def push(loop: Loop) -> None:
    """Change what the optimizer remembers, and no weight."""
    next(iter(loop.optimizer.state.values()))["momentum_buffer"] += 1e-3


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("court")
    _furnish(folder)
    with Bench(tmp_path_factory.mktemp("bench")) as bench:
        yield Court(folder, bench)


def _furnish(folder: Path, first: int = 0) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = (images[first : first + 80] / 16.0).astype(np.float32).reshape(-1, 8, 8)
    np.savez(folder / "digits.npz", x=x, y=labels[first : first + 80].astype(np.int64))
    (folder / "digits.py").write_text(RECIPE)
    (folder / "whole.py").write_text(EXACT)


# -- the shared seed -------------------------------------------------------------------------------------------------


def test_provers_of_a_task_share_its_seed_and_no_others_do(court: Court) -> None:
    a, b = (court.train(name).document.commitment for name in ("one", "two"))
    alone = court.train("alone", shared=False).document.commitment
    assert a["key"] != b["key"]
    assert a["seed"] == b["seed"] == {"source": "task", "nonce": TASK, "seed": a["seed"]["seed"]}
    assert alone["seed"]["source"] == "verifier"
    assert alone["seed"]["seed"] != a["seed"]["seed"]


def test_a_shared_seed_needs_the_tasks_nonce_and_a_public_dataset(court: Court, tmp_path: Path) -> None:
    for options, word in (({}, "task's nonce"), ({"nonce": TASK, "private": True}, "own root")):
        with pytest.raises(UsageError, match=word):
            train(court.recipe, tmp_path / "out", epochs=1, every=5, key=Signer.generate(), shared=True, **options)
    assert not (tmp_path / "out").exists()


def test_a_verification_says_that_a_shared_seed_does_not_tell_whose_the_record_is(court: Court) -> None:
    honest, alone = court.train("one"), court.train("alone", shared=False)
    pins = msgspec.structs.replace(court.bench.policy.pins, nonce=TASK)
    identity = msgspec.structs.replace(court.bench.policy.identity, keys=[key_id(honest.signer.public)])
    policy = court.bench.policy.replace(pins=pins, identity=identity)
    report = court.bench.verify(honest, honest.path, policy=policy)
    assert report.verdict is Verdict.ACCEPT
    assert any("without the prover's key" in caveat for caveat in report.caveats)
    assert not any("freely chosen" in caveat for caveat in report.caveats)
    own = court.bench.verify(alone, alone.path)
    assert own.verdict is Verdict.ACCEPT
    assert not any("without the prover's key" in caveat for caveat in own.caveats)


@pytest.mark.parametrize("derived", [False, True], ids=["plain", "derived again"])
@pytest.mark.parametrize(("name", "source"), [("one", "verifier"), ("one", "free"), ("alone", "task")])
def test_another_source_of_the_seed_is_rejected(
    court: Court, tmp_path: Path, name: str, source: str, derived: bool
) -> None:
    honest = court.train(name, shared=name != "alone")

    def change(document: Document) -> None:
        _another_source(document, source, derived)

    report = court.bench.verify(honest, court.forged(honest, tmp_path / "mutant", change))
    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert report.failed.id == ("V3" if derived else "V1"), report.headline()


def _another_source(document: Document, source: str, derived: bool) -> None:
    from trainproof.recording.format import Commitment

    seed = document.commitment["seed"]
    seed["source"] = source
    if derived:
        seed["seed"] = seed_of(msgspec.convert(document.commitment, Commitment))


def test_a_loop_has_no_shared_seed(court: Court, tmp_path: Path) -> None:
    honest = door_2(tmp_path)
    mutant = court.forged(honest, tmp_path / "mutant", lambda document: _another_source(document, "task", True))
    report = court.bench.verify(honest, mutant)
    assert report.verdict is Verdict.REJECT
    assert "only a recipe's record" in report.headline()


# -- decisions -------------------------------------------------------------------------------------------------------


def test_honest_records_of_two_provers_agree(court: Court) -> None:
    found = court.decide(court.train("one"), court.train("two"))
    assert (found.outcome, found.exit_code, found.longer, found.replayed) == ("agree", 0, "", None)
    assert found.a.key != found.b.key
    assert found.a.steps == found.b.steps == STEPS


@pytest.mark.parametrize(
    ("step", "keyframe"), [(0, 0), (7, 0), (9, 0), (14, 0), (15, 3), (19, 3)]
)  # 9 ends an epoch and a segment, 14 a segment that is stored, 19 the run
def test_a_changed_weight_is_found_at_its_step(court: Court, step: int, keyframe: int) -> None:
    liar = court.train(f"liar-{step}", {step: nudge()})
    found = court.sentence(liar, court.train("one"))
    assert (found.step, found.since) == (step, step)
    assert found.replayed is not None
    # From the last stored state before it, one batch opened: the samples before are vouched for by agreed states.
    assert (found.replayed.keyframe, found.replayed.first, found.replayed.last) == (keyframe, 5 * keyframe, step)
    assert found.replayed.opened == 8
    assert f"step {step}" in found.headline()


def test_the_record_that_stores_a_later_state_is_entered(court: Court) -> None:
    dense = court.train("dense", keep="all")
    found = court.sentence(court.train("liar-17", {17: nudge()}), dense)
    assert found.step == 17
    found = court.decide(court.train("liar-7", {7: nudge()}), dense)
    assert found.replayed is not None
    assert (found.outcome, found.step, found.replayed.record, found.replayed.keyframe) == ("A wrong", 7, "B", 1)


def test_both_are_wrong_if_neither_is_what_the_recipe_gives(court: Court) -> None:
    liar, other = court.train("liar-7", {7: nudge()}), court.train("other-7", {7: nudge(2e-3)})
    for a, b in ((liar, other), (other, liar)):
        found = court.decide(a, b)
        assert (found.outcome, found.step, found.exit_code) == ("both wrong", 7, 1)


def test_a_later_agreement_does_not_hide_a_difference(court: Court, tmp_path: Path) -> None:
    honest = court.train("two")

    def change(document: Document) -> None:
        document.segments[2]["anchors"][1]["root"] = "5" * 64  # after step 6; everything later is as it was

    forged = court.forged(honest, tmp_path / "forged", change)
    found = court.sentence(forged, court.train("one"))
    assert (found.step, found.since) == (6, 6)
    assert any("state of step 6" in line for line in found.evidence)


def test_a_changed_loss_alone_is_found(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        step = document.segments[3]["steps"][2]
        step["losses"] = [(float.fromhex(step["losses"][0]) + 0.5).hex()]

    found = court.sentence(court.forged(court.train("two"), tmp_path / "forged", change), court.train("one"))
    assert found.step == 12
    assert any("loss" in line for line in found.evidence)


def test_a_changed_option_alone_is_found(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        hypers = document.segments[3]["hypers"]
        rate = next(value for key, value in hypers[2]["v"][0]["v"] if key["v"] == "lr")
        rate["v"] = (0.5).hex()

    found = court.sentence(court.forged(court.train("two"), tmp_path / "forged", change), court.train("one"))
    assert found.step == 12


def test_a_changed_update_size_alone_is_found(court: Court, tmp_path: Path) -> None:
    for index, step in ((2, 9), (4, 19)):

        def change(document: Document, index: int = index) -> None:
            document.segments[index]["update_norm"] = (1.5).hex()

        found = court.sentence(court.forged(court.train("two"), tmp_path / str(index), change), court.train("one"))
        assert found.step == step
        assert any("update" in line for line in found.evidence)


def test_a_wrong_batch_needs_no_replay(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.segments[2]["steps"][2]["batches"][0]["indices"].reverse()

    forged = court.forged(court.train("two"), tmp_path / "forged", change)
    found = court.sentence(forged, court.train("one"))
    assert (found.step, found.replayed) == (7, None)
    assert any("seed's batches" in line for line in found.evidence)
    # Both have it: then they agree with one another, and not with the seed.
    again = court.forged(court.train("one"), tmp_path / "again", change)
    found = court.decide(forged, again)
    assert (found.outcome, found.step) == ("both wrong", 7)


def test_a_wrong_batch_after_the_first_difference_decides_nothing(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.segments[4]["steps"][2]["batches"][0]["indices"].reverse()

    forged = court.forged(court.train("two"), tmp_path / "forged", change)
    found = court.sentence(court.train("liar-7", {7: nudge()}), forged)
    assert found.step == 7


def _loader_stands(document: Document, index: int, **says: int) -> None:
    """Have a state say where the loader stood, as its batches do: else it is no record at all (V0)."""
    tree = {key["v"]: value for key, value in document.segments[index]["state"]["tree"]["v"]}
    for key, value in tree["loader"]["v"]:
        if key["v"] in says:
            value["v"] = str(says[key["v"]])
    _follow(document, index, ("segments", index, "state"))


@pytest.mark.parametrize("lie", ["dropped", "two in a step", "iteration"])
def test_a_batch_that_is_told_wrong_is_a_wrong_batch(court: Court, tmp_path: Path, lie: str) -> None:
    def change(document: Document) -> None:
        steps = document.segments[4]["steps"]
        if lie == "dropped":
            steps[2]["batches"][0]["dropped"] = True
        elif lie == "two in a step":
            # All batches in the seed's order, one of them a step too early, the last from a third epoch.
            seed = bytes.fromhex(document.commitment["seed"]["seed"])
            new = {**steps[4]["batches"][0], "iteration": 2, "indices": _core.permutation(seed, 2, 80)[:8].tolist()}
            batches = [*(step["batches"][0] for step in steps[2:]), new]
            for step, used in zip(steps[2:], (batches[:2], batches[2:3], batches[3:]), strict=True):
                step["batches"] = used
            _loader_stands(document, 4, iteration=2, position=1)
        else:
            for step in steps[2:]:
                step["batches"][0]["iteration"] = 2
            _loader_stands(document, 4, iteration=2, position=3)

    found = court.sentence(court.forged(court.train("two"), tmp_path / "forged", change), court.train("one"))
    assert (found.step, found.replayed) == (17, None)


def test_what_a_record_says_after_the_step_in_question_does_not_steer_the_replay(court: Court, tmp_path: Path) -> None:
    """Where the loader stands after step 17 depends on which batch is next, and the liar says: one of a new iteration.

    Its record is entered, since it alone stores the state before.
    """

    def change(document: Document) -> None:
        for step in document.segments[4]["steps"][3:]:
            step["batches"][0]["iteration"] = 2
        _loader_stands(document, 4, iteration=2, position=2)

    liar = court.train("dense-liar-17", {17: nudge()}, keep="all")
    forged = court.forged(liar, tmp_path / "forged", change)
    sparse = court.train("sparse", keep="keyframes:4")
    found = court.sentence(forged, sparse)
    assert found.replayed is not None
    assert (found.step, found.replayed.record, found.replayed.keyframe) == (17, "B", 3)


def test_without_hashed_states_the_step_is_given_as_a_range(court: Court) -> None:
    honest, liar = court.train("bare", anchors=0), court.train("bare-liar", {6: nudge()}, anchors=0)
    found = court.sentence(liar, honest)
    # The loss of step 7 is the first to show it; the states after 5 and 6 were not hashed.
    assert (found.since, found.step) == (5, 7)
    assert "within steps 5..7" in found.headline()
    assert found.replayed is not None
    assert found.replayed.opened == 24
    last = court.train("bare-last", {19: nudge()}, anchors=0)
    found = court.sentence(last, honest)
    assert (found.since, found.step) == (15, 19)


@pytest.mark.parametrize("every", [3, 4])
def test_accumulated_batches_and_those_left_over(court: Court, tmp_path: Path, every: int) -> None:
    """6 steps of 3 batches, and 2 batches behind them: in a segment of their own, or behind the last step."""
    _furnish(tmp_path)
    (tmp_path / "digits.py").write_text(RECIPE.replace("batch_size = 8", "batch_size = 8\n    accumulate = 3"))
    options: dict[str, Any] = {"recipe": f"{tmp_path / 'digits.py'}:Digits", "every": every}
    honest = court.train(f"three-{every}", **options)
    assert len(honest.document.segments[-1]["trailing"]) == 2
    other = court.train(f"three-other-{every}", **options)
    assert court.decide(honest, other, recipe=options["recipe"]).outcome == "agree"
    for step in (2, 5):
        liar = court.train(f"three-liar-{every}-{step}", {step: nudge()}, **options)
        found = court.decide(honest, liar, recipe=options["recipe"])
        assert (found.outcome, found.step) == ("B wrong", step), found.evidence

    def change(document: Document) -> None:
        document.segments[-1]["trailing"][1]["indices"].reverse()

    forged = court.forged(other, tmp_path / "forged", change)
    found = court.decide(forged, honest, recipe=options["recipe"])
    assert (found.outcome, found.replayed) == ("A wrong", None), found.evidence


def test_an_interrupted_record_agrees(court: Court) -> None:
    def stop(loop: Loop) -> None:
        raise KeyboardInterrupt

    signer = Signer.generate()
    options: dict[str, Any] = {
        "epochs": 2,
        "every": 5,
        "keep": "keyframes:3",
        "anchors": 1,
        "nonce": TASK,
        "shared": True,
    }
    options |= {"out": court.folder / "interrupted", "key": signer, "self_replay": False, "quiet": True}
    with as_a_process(), lying({16: stop}), pytest.raises(KeyboardInterrupt):
        train(court.recipe, **options)
    with as_a_process():
        train(court.recipe, resume=True, **options)
    assert Record.open(options["out"]).segment(4).resumed
    assert court.decide(options["out"], court.train("one")).outcome == "agree"


def test_what_its_own_prover_could_not_replay_is_decided_all_the_same(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.seal["predicate"]["self_replays"][0]["outcome"] = "differs"

    forged = court.forged(court.train("liar-7", {7: nudge()}), tmp_path / "forged", change)
    assert court.sentence(forged, court.train("one")).step == 7


def test_exact_training_is_decided_between_different_machines(court: Court, tmp_path: Path) -> None:
    recipe = f"{court.folder / 'whole.py'}:Whole"
    options: dict[str, Any] = {"recipe": recipe, "every": 4, "anchors": None}

    def elsewhere(document: Document) -> None:
        document.commitment["environment"] |= {"cpu_capability": "DEFAULT", "cpu_vendor": "Another", "threads": 7}

    honest = court.train("whole", **options)  # 12 steps, 6 an epoch; states after each are hashed
    other = court.forged(court.train("whole-other", **options), tmp_path / "other", elsewhere)
    assert court.decide(honest, other, recipe=recipe).outcome == "agree"
    for step in (5, 11):
        liar = court.train(f"whole-liar-{step}", {step: nudge(1.0)}, **options)
        forged = court.forged(liar, tmp_path / str(step), elsewhere)
        found, mirrored = court.decide(honest, forged, recipe=recipe), court.decide(forged, honest, recipe=recipe)
        assert (found.outcome, found.step, found.since) == ("B wrong", step, step), found.evidence
        assert (mirrored.outcome, mirrored.step) == ("A wrong", step), mirrored.evidence
        assert found.replayed is not None
        assert found.replayed.opened == 16


def test_a_record_that_does_not_say_that_it_ended_is_refused_at_its_end(court: Court, tmp_path: Path) -> None:
    """Its last state would have no counterpart, and its prover an excuse."""

    def change(document: Document) -> None:
        tree = {key["v"]: value for key, value in document.segments[4]["state"]["tree"]["v"]}
        next(value for key, value in tree["loader"]["v"] if key["v"] == "ended")["v"] = False
        _follow(document, 4, ("segments", 4, "state"))
        document.seal["predicate"]["ended"] = "disk full"

    forged = court.forged(court.train("liar-19", {19: nudge()}), tmp_path / "forged", change)
    with pytest.raises(DisputedRecordError, match=r"record B: .*does not say that it ended"):
        court.decide(court.train("one"), forged)


# -- one goes on where the other ends --------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [5, 4])
def test_a_shorter_record_agrees_with_one_that_goes_on(court: Court, every: int) -> None:
    """An epoch of 10 steps ends with a segment of 5, or within one of 4: then its end is trained again."""
    short, long = court.train(f"short-{every}", epochs=1, every=every), court.train(f"long-{every}", every=every)
    for a, b, longer in ((short, long, "B"), (long, short, "A")):
        found = court.decide(a, b)
        assert (found.outcome, found.longer, found.exit_code) == ("agree", longer, 0), found.evidence
        assert (found.replayed is not None) == (every == 4)


@pytest.mark.parametrize("every", [5, 4])
def test_the_end_of_a_shorter_record_is_compared(court: Court, every: int) -> None:
    liar = court.train(f"short-liar-{every}", {9: nudge()}, epochs=1, every=every)
    assert court.sentence(liar, court.train(f"long-{every}", every=every)).step == 9
    # Without a trace in the size of the update: the last states are compared, all but the loader's position.
    liar = court.train(f"short-push-{every}", {9: push}, epochs=1, every=every)
    found = court.sentence(liar, court.train(f"long-{every}", every=every))
    assert (found.step, any("update" in line for line in found.evidence)) == (9, False)
    late = court.train(f"long-liar-{every}", {9: nudge()}, every=every)
    assert court.sentence(late, court.train(f"short-{every}", epochs=1, every=every)).step == 9


def test_a_record_that_says_it_is_complete_too_early_is_refused(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.commitment["epochs"] = 2

    forged = court.forged(court.train("short-5", epochs=1, every=5), tmp_path / "forged", change)
    with pytest.raises(DisputedRecordError, match=r"record A: .*complete after 10 steps; its epochs have 20"):
        court.decide(forged, court.train("one"))


# -- incomparable, inconclusive --------------------------------------------------------------------------------------


def test_runs_of_different_things_are_incomparable(court: Court, tmp_path: Path) -> None:
    _furnish(tmp_path, first=80)
    recipe = f"{tmp_path / 'digits.py'}:Digits"
    one = court.train("one")
    others = {
        "seed.nonce": court.train("other-nonce", nonce="8" * 64),
        "seed.source": court.train("alone", shared=False),
        "dataset.root": court.train("other-data", recipe=recipe),
        "every": court.train("long-4", every=4),
        "anchors": court.train("bare", anchors=0),
    }
    for field, other in others.items():
        for a, b in ((one, other), (other, one)):
            found = court.decide(a, b)
            assert (found.outcome, found.field, found.exit_code) == ("incomparable", field, 3)
            assert found.replayed is None


def test_another_recipe_is_incomparable(court: Court, tmp_path: Path) -> None:
    _furnish(tmp_path)
    (tmp_path / "digits.py").write_text(RECIPE.replace("momentum=0.9", "momentum=0.8"))
    recipe = f"{tmp_path / 'digits.py'}:Digits"
    other = court.train("other-recipe", recipe=recipe)
    for a, b, name in ((court.train("one"), other, "B"), (other, court.train("one"), "A")):
        found = court.decide(a, b)
        assert (found.outcome, found.field) == ("incomparable", "closure")
        assert any(line.startswith(name) for line in found.evidence)
    # The verifier's own copy counts, even if both records agree on another.
    found = court.decide(court.train("one"), court.train("two"), recipe=recipe)
    assert (found.outcome, found.field) == ("incomparable", "closure")


def test_a_loops_records_are_incomparable(court: Court, tmp_path: Path) -> None:
    honest = door_2(tmp_path)
    found = court.decide(honest, honest, recipe=honest.recipe)
    assert (found.outcome, found.field) == ("incomparable", "closure.door")


def test_another_initial_state_is_named(court: Court, tmp_path: Path) -> None:
    """It has no step: the recipe says whose it is, and a verification rejects that record."""

    def change(document: Document) -> None:
        tensors = document.tensors[0]
        assert tensors is not None
        name = next(name for name in tensors if name.endswith("1.weight"))
        tensors[name] = tensors[name] + 0.25
        _follow(document, 0, ("tensors", 0, name))
        _resize(document)

    forged = court.forged(court.train("two"), tmp_path / "forged", change)
    found = court.decide(court.train("one"), forged)
    assert (found.outcome, found.field) == ("incomparable", "initial state")
    assert [line[0] for line in found.evidence] == ["B"]
    twice = court.forged(court.train("one"), tmp_path / "twice", change)
    found = court.decide(twice, forged)
    assert (found.outcome, found.field) == ("incomparable", "initial state")
    assert [line[0] for line in found.evidence] == ["A", "B"]


@pytest.mark.parametrize(("field", "value"), [("sampler", "Another"), ("order", "affine")])
def test_what_the_recipe_does_not_declare_is_incomparable(court: Court, tmp_path: Path, field: str, value: str) -> None:
    """The second says that it is exact, and its recipe is not."""

    def change(document: Document) -> None:
        document.commitment["loader"][field] = value

    a, b = (court.forged(court.train(name), tmp_path / name, change) for name in ("one", "two"))
    found = court.decide(a, b)
    assert (found.outcome, found.field) == ("incomparable", "loader")


def test_other_settings_may_both_be_right(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.commitment["environment"]["threads"] = 3

    found = court.decide(court.train("one"), court.forged(court.train("two"), tmp_path / "forged", change))
    assert (found.outcome, found.field) == ("incomparable", "environment.threads")

    def another_model(document: Document) -> None:
        document.commitment["environment"]["cpu_model"] = "another of this vendor"

    forged = court.forged(court.train("two"), tmp_path / "model", another_model)
    assert court.decide(court.train("one"), forged).outcome == "agree"


def test_settings_that_this_machine_lacks_are_inconclusive(court: Court, tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document.commitment["environment"]["numpy"] = "0.0.1"

    a, b = (court.forged(court.train(name), tmp_path / name, change) for name in ("one", "two"))
    found = court.decide(a, b)
    assert (found.outcome, found.exit_code) == ("inconclusive", 3)
    assert "numpy" in found.evidence[0]


@pytest.mark.parametrize("same", [3, 6], ids=["in an earlier segment", "in the segment in question"])
def test_an_agreed_state_that_the_replay_does_not_give_is_inconclusive(court: Court, same: int) -> None:
    a, b = (
        court.train(f"{name}-{same}", {same: nudge(), **more}) for name, more in (("same", {}), ("more", {8: nudge()}))
    )
    found = court.decide(a, b)
    assert (found.outcome, found.exit_code) == ("inconclusive", 3)
    assert f"agree on the state of step {same}" in found.evidence[0]


def test_only_samples_of_the_step_in_question_are_opened(court: Court) -> None:
    """Another sample of that step is not the committed one: inconclusive. One of a later step: no matter."""
    import numpy as np

    liar, honest = court.train("liar-7", {7: nudge()}), court.train("one")
    segments = honest.document.segments
    seen = [
        i
        for s in segments[1:3]
        for step in s["steps"][: 5 if s["index"] == 1 else 3]
        for i in step["batches"][0]["indices"]
    ]
    later = next(i for i in range(80) if i not in seen)
    path = court.folder / "digits.npz"
    good = path.read_bytes()
    with np.load(path) as data:
        x, y = data["x"], data["y"]
    try:
        for sample, outcome in ((later, "A wrong"), (seen[-1], "inconclusive")):
            court.bench.replayer.kept.clear()
            changed = x.copy()
            changed[sample] += 1.0
            np.savez(path, x=changed, y=y)
            found = court.decide(liar, honest)
            assert found.outcome == outcome
        assert f"sample {seen[-1]} of your dataset" in found.evidence[0]
    finally:
        path.write_bytes(good)
        court.bench.replayer.kept.clear()


# -- hostile records -------------------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _link(path: Path) -> None:
    target = path.parent.parent.parent / f"{path.name}.elsewhere"
    shutil.move(path, target)
    path.symlink_to(target)


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


SEGMENT, STATE = "segments/00000002.json", "states/00000003.safetensors"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "segment cut": lambda r: _cut(r / SEGMENT),
    "state cut": lambda r: _cut(r / STATE),
    "leaves cut": lambda r: _cut(r / LEAVES),
    "no seal": lambda r: (r / SEAL).unlink(),
    "no segment": lambda r: (r / SEGMENT).unlink(),
    "a folder less": lambda r: shutil.rmtree(r / "states"),
    "state a link": lambda r: _link(r / STATE),
    "segment a link": lambda r: _link(r / SEGMENT),
    "commitment a link": lambda r: _link(r / COMMITMENT),
    "huge size": lambda r: _edit(r / COMMITMENT, lambda c: c["dataset"].update(size=2**50)),
    "huge steps": lambda r: _edit(r / SEGMENT, lambda s: s.update(first_step=2**60)),
    "huge batch": lambda r: _edit(r / COMMITMENT, lambda c: c["loader"].update(batch_size=2**39)),
    "huge epochs": lambda r: _edit(r / COMMITMENT, lambda c: c.update(epochs=2**39)),
    "deep": lambda r: (r / SEGMENT).write_text("[" * 100_000),
    "other signer": lambda r: _edit(r / SEAL, lambda s: s["signatures"][0].update(sig="A" * 86 + "==")),
    "broken chain": lambda r: _edit(r / SEGMENT, lambda s: s.update(chain="1" * 64)),
    "another loss": lambda r: _edit(r / SEGMENT, lambda s: s["steps"][0].update(losses=["0x0.0p+0"])),
    "another tensor": lambda r: _flip(r / STATE),
    "another leaf": lambda r: _flip(r / LEAVES),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_that_is_not_what_was_signed_is_an_error_that_names_it(
    court: Court, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a verdict on its prover: whoever had the copy may have damaged it."""
    honest, path = court.train("one"), tmp_path / "copy" / "record"
    shutil.copytree(court.train("two").path, path)
    DAMAGES[damage](path)
    for a, b, which in ((honest.path, path, "B"), (path, honest.path, "A")):
        with pytest.raises(DisputedRecordError) as caught:
            court.decide(a, b)
        assert (caught.value.which, caught.value.exit_code) == (which, 4)
        assert str(caught.value).startswith(f"record {which}: ")
    assert main(["dispute", str(honest.path), str(path), "--recipe", court.recipe]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("trainproof: error: record B: ")
    assert len(said.err.splitlines()) == 1


def test_a_record_that_its_prover_did_not_seal_like_this_is_an_error(court: Court, tmp_path: Path) -> None:
    """A forged copy of somebody's record, chained anew, under the seal of the original: it counts against nobody."""
    honest = court.train("two")
    forged = court.forged(honest, tmp_path / "forged", lambda d: d.segments[2]["steps"][0].update(losses=["0x0.0p+0"]))
    shutil.copy(honest.path / SEAL, forged / SEAL)
    with pytest.raises(DisputedRecordError, match=r"record B: V1: the seal has another final chain value"):
        court.decide(court.train("one"), forged)


def test_a_seed_that_does_not_follow_from_the_task_is_an_error(court: Court, tmp_path: Path) -> None:
    forged = court.forged(court.train("two"), tmp_path / "forged", lambda d: d.commitment["seed"].update(seed="1" * 64))
    with pytest.raises(DisputedRecordError, match=r"record A: V1: the seed does not follow"):
        court.decide(forged, court.train("one"))


@pytest.mark.parametrize("field", ["batch_size", "epochs", "accumulate"])
def test_signed_nonsense_is_an_error_too(court: Court, tmp_path: Path, field: str) -> None:
    def change(document: Document) -> None:
        part = document.commitment if field == "epochs" else document.commitment["loader"]
        part[field] = 65536 if field == "accumulate" else 2**39

    forged = court.forged(court.train("two"), tmp_path / "forged", change)
    with pytest.raises(DisputedRecordError, match="record B"):
        court.decide(court.train("one"), forged)


# -- bisection -------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_bisection_finds_the_first_difference(common: int, a: int, b: int) -> None:
    first, second = (
        [str(i) for i in range(common)] + [f"{name}{i}" for i in range(n)] for name, n in (("a", a), ("b", b))
    )
    assert bisect(first, second) == common


def test_bisection_asks_for_few_digests() -> None:
    class Counting(list[str]):
        asked = 0

        def __getitem__(self, index: Any) -> Any:
            Counting.asked += 1
            return super().__getitem__(index)

    a = Counting(["same"] * 70_001 + ["a"] * 30_000)
    assert bisect(a, ["same"] * 70_001 + ["b"] * 30_000) == 70_001
    assert Counting.asked <= 17


def test_prefix_digests_stay_different_after_a_difference(court: Court, tmp_path: Path) -> None:
    from trainproof.verification.context import Context

    def change(document: Document) -> None:
        document.segments[2]["anchors"][1]["root"] = "5" * 64

    honest = court.train("two")
    lines = []
    for path in (honest.path, court.forged(honest, tmp_path / "forged", change)):
        context: Any = Context(Record.open(path), Policy.bitwise(), None, None, None)  # type: ignore[arg-type]
        for index in range(len(context.record)):
            context.read(index)
        lines.append(Timeline(context).prefixes)
    assert [x == y for x, y in zip(*lines, strict=True)] == [True, True, False, False, False]


# -- the command line, in a real replay process ----------------------------------------------------------------------


def test_the_command_line_says_what_was_found(court: Court, capsys: pytest.CaptureFixture[str]) -> None:
    honest, liar = court.train("one"), court.train("liar-7", {7: nudge()})
    for other, code, words in (
        (court.train("two"), 0, ["agree\n", "trained again  nothing"]),
        (liar, 1, ["B wrong at step 7\n", "steps 0..7, from the state that A stores in segment 0; 8 samples opened"]),
        (court.train("bare", anchors=0), 3, ["incomparable (anchors)\n"]),
    ):
        assert main(["dispute", str(honest.path), str(other.path), "--recipe", court.recipe]) == code
        out = capsys.readouterr().out
        assert out.startswith(words[0])
        for word in [*words, key_id(honest.signer.public), key_id(other.signer.public)]:
            assert word in out


def test_the_command_line_trains_by_a_tasks_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def stand_in(recipe: str, out: Path, **options: Any) -> None:
        given.update(options)
        raise UsageError("enough")

    monkeypatch.setattr(training, "train", stand_in)
    arguments = ["train", "digits.py", "--out", "x", "--epochs", "1", "--every", "5", "--key", "k", "--nonce", TASK]
    assert main([*arguments, "--shared", "--anchors", "1"]) == 2
    assert (given["shared"], given["nonce"], given["anchors"]) == (True, TASK, 1)
    assert main(arguments) == 2
    assert (given["shared"], given["anchors"]) == (False, None)


def test_the_command_line_in_confined_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "replay_units", pool.replay_units)
    monkeypatch.setattr(replays, "capture", environment.capture)
    _furnish(tmp_path)
    court = Court(tmp_path, None)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        honest, liar = court.train("one"), court.train("liar", {17: nudge()})
    finally:
        torch.set_num_threads(threads)
    capsys.readouterr()
    arguments = ["dispute", str(honest.path), str(liar.path), "--recipe", court.recipe]
    assert main([*arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["step"], found["headline"]) == ("B wrong", 17, "B wrong at step 17")
    assert found["replayed"] == {"record": "A", "keyframe": 3, "first": 15, "last": 17, "opened": 8}
