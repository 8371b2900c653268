"""The interpolation spoof: everything about it is in order, except that nobody trained it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pytest

from trainproof import demo
from trainproof.attacks.interpolation import CAUGHT_BY, spoof
from trainproof.attest.keys import Signer
from trainproof.attest.statement import open_seal
from trainproof.errors import UsageError
from trainproof.recording import chain
from trainproof.recording.format import Seal
from trainproof.recording.reader import Record
from trainproof.recording.train import train
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Outcome, Report, Verdict
from trainproof.verification.verify import run as verify

ADAMW = ("tp.SGD(lr=tp.Cosine(0.1, epochs=3), momentum=0.9)", "tp.AdamW(lr=tp.Cosine(1e-2, epochs=1, warmup=5))")
PLAIN_SGD = (", momentum=0.9", "")


class Scene:
    """An honest record of one epoch, its recipe, and a thief with a key."""

    def __init__(self, folder: Path, change: tuple[str, str] = ("", "")) -> None:
        text = demo.recipe_text()
        assert change[0] in text
        self.folder, self.recipe = folder, folder / "digits.py"
        self.recipe.write_text(text.replace(*change))
        for name in ("prover", "thief"):
            Signer.generate().save(folder / f"{name}.key")
        self.honest = folder / "honest.tproof"
        key = folder / "prover.key"
        train(str(self.recipe), out=self.honest, epochs=1, every=14, key=key, self_replay=False, quiet=True)

    @cached_property
    def forged(self) -> Path:
        return spoof(self.honest, str(self.recipe), self.folder / "spoof.tproof", self.folder / "thief.key")

    def verify(self, record: Path) -> Report:
        return verify(record, recipe=str(self.recipe), policy=Policy.bitwise())


@pytest.fixture(scope="module")
def sgd(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("sgd"))


@pytest.fixture(scope="module")
def adamw(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("adamw"), ADAMW)


def rejected_by_replay_alone(scene: Scene) -> None:
    report = scene.verify(scene.forged)

    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert (report.failed.id, report.failed.segment) == (CAUGHT_BY, 1)
    assert f"{CAUGHT_BY} " in report.headline()
    assert "segment 1" in report.headline()
    before = report.checks[: report.checks.index(report.failed)]
    assert {check.outcome for check in before} == {Outcome.PASS}
    assert {check.id for check in before} >= {"V0", "V1", "V2", "V3", "V4", "V5", "V8", "V10"}


def test_sgd_rejected_by_replay_and_by_nothing_before_it(sgd: Scene) -> None:
    rejected_by_replay_alone(sgd)


def test_adamw_rejected_by_replay_and_by_nothing_before_it(adamw: Scene) -> None:
    rejected_by_replay_alone(adamw)


def test_the_honest_record_of_the_same_recipe_is_accepted(adamw: Scene) -> None:
    report = adamw.verify(adamw.honest)
    assert report.verdict is Verdict.ACCEPT, report.headline()


def test_the_spoof_ends_in_the_stolen_weights_under_the_thiefs_own_seed(sgd: Scene) -> None:
    honest, forged = Record.open(sgd.honest), Record.open(sgd.forged)
    stolen, claimed = (record.segment(len(record) - 1).state for record in (honest, forged))
    assert chain.model_root(stolen) == chain.model_root(claimed)  # buffers too: it is the published model
    assert forged.commitment.closure == honest.commitment.closure
    assert forged.commitment.dataset == honest.commitment.dataset
    assert forged.commitment.seed.seed != honest.commitment.seed.seed
    assert forged.segment(0).state.root != honest.segment(0).state.root
    assert {replay.outcome for replay in _seal(forged).self_replays} == {"bitwise"}  # it says so


def test_the_spoof_is_not_offered_where_it_could_not_look_honest(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PLAIN_SGD)
    with pytest.raises(UsageError, match="must be SGD with momentum, Adam or AdamW"):
        _ = scene.forged


def _seal(record: Record) -> Seal:
    return open_seal(record.seal_bytes(), record.commitment.key).predicate
