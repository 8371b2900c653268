"""A worker who leaves out one update: a dispute names the step, a verification that replays it refuses the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainproof import demo
from trainproof.attacks.idle import CAUGHT_BY, spoof
from trainproof.attest.keys import Signer
from trainproof.errors import UsageError
from trainproof.exact import engine
from trainproof.recording.train import train
from trainproof.verification.dispute import dispute
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Verdict
from trainproof.verification.verify import run as verify

STEP = 17
TASK: dict[str, Any] = {
    "epochs": 1,
    "every": 7,
    "keep": "keyframes:2",
    "nonce": "5" * 64,
    "shared": True,
    "quiet": True,
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idle")
    path = folder / "exact_digits.py"
    path.write_text(demo.recipe_text("exact_recipe"))
    for name in ("honest", "idle"):
        Signer.generate().save(folder / f"{name}.key")
    train(str(path), folder / "honest.tproof", key=folder / "honest.key", self_replay=False, **TASK)
    update = engine.update
    spoof(path, folder / "idle.tproof", folder / "idle.key", step=STEP, **TASK)
    assert engine.update is update
    return path


def test_a_dispute_names_the_step_and_the_idle_worker(recipe: Path) -> None:
    found = dispute(recipe.with_name("honest.tproof"), recipe.with_name("idle.tproof"), recipe=str(recipe))

    assert (found.outcome, found.step) == ("B wrong", STEP)


def test_a_verification_refuses_it_and_names_the_step(recipe: Path) -> None:
    report = verify(recipe.with_name("idle.tproof"), recipe=str(recipe), policy=Policy.bitwise())

    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert report.failed.id == CAUGHT_BY
    assert f"step {STEP}" in report.failed.evidence


def test_only_an_exact_recipe_can_be_idled(tmp_path: Path) -> None:
    path = tmp_path / "digits.py"
    path.write_text(demo.recipe_text())
    with pytest.raises(UsageError, match="not a recipe of exact training"):
        spoof(path, tmp_path / "out.tproof", tmp_path / "key", step=1)
