"""The interpolation spoof: everything about it is in order, except that nobody trained it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainproof import demo
from trainproof.attacks.interpolation import CAUGHT_BY, spoof
from trainproof.attest.keys import Signer
from trainproof.errors import UsageError
from trainproof.recording import chain
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
        train(
            str(self.recipe),
            out=self.honest,
            epochs=1,
            every=8,
            key=folder / "prover.key",
            self_replay=False,
            quiet=True,
        )

    def spoof(self) -> Path:
        return spoof(self.honest, str(self.recipe), self.folder / "spoof.tproof", self.folder / "thief.key")

    def verify(self, record: Path) -> Report:
        return verify(record, recipe=str(self.recipe), policy=Policy.bitwise())


@pytest.fixture(params=["sgd", "adamw"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, ADAMW if request.param == "adamw" else ("", ""))


def test_rejected_by_replay_and_by_nothing_before_it(scene: Scene) -> None:
    forged = scene.spoof()

    report = scene.verify(forged)

    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert (report.failed.id, report.failed.segment) == (CAUGHT_BY, 1)
    outcomes = {check.id: check.outcome for check in report.checks}
    assert {outcomes[name] for name in ("V0", "V1", "V2", "V3", "V4", "V5")} == {Outcome.PASS}
    assert f"{CAUGHT_BY} " in report.headline()
    assert "segment 1" in report.headline()


def test_the_honest_record_of_the_same_recipe_is_accepted(scene: Scene) -> None:
    report = scene.verify(scene.honest)
    assert report.verdict is Verdict.ACCEPT, report.headline()


def test_the_spoof_ends_in_the_stolen_weights_under_the_thiefs_own_seed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    honest, forged = Record.open(scene.honest), Record.open(scene.spoof())
    stolen, claimed = (record.segment(len(record) - 1).state for record in (honest, forged))
    parameters = {p.name for p in honest.commitment.model if p.kind == "parameter"}
    digests = [
        {e.name: e.digest for e in state.tensors if e.name.removeprefix("model/") in parameters}
        for state in (stolen, claimed)
    ]
    assert digests[0] == digests[1]
    assert chain.model_root(stolen) == chain.model_root(claimed)  # buffers too: it is the published model
    assert forged.commitment.closure == honest.commitment.closure
    assert forged.commitment.dataset == honest.commitment.dataset
    assert forged.commitment.seed.seed != honest.commitment.seed.seed
    assert forged.segment(0).state.root != honest.segment(0).state.root


def test_the_spoof_is_not_offered_where_it_could_not_look_honest(tmp_path: Path) -> None:
    scene = Scene(tmp_path, PLAIN_SGD)
    with pytest.raises(UsageError, match="must be SGD with momentum, Adam or AdamW"):
        scene.spoof()
