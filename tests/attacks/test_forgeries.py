"""Records of trainings that did not happen as they say, each named by why it is refused.

The prover holds the key, so every record here is chained and signed as it should be.
"""

from __future__ import annotations

import math
import py_compile
import shutil
import sys
from collections.abc import Callable
from importlib.util import cache_from_source
from pathlib import Path

import msgspec
import pytest

from trainproof.attest import canonical
from trainproof.attest.keys import Signer
from trainproof.errors import RecipeError
from trainproof.recording import chain
from trainproof.recording.closure import closure_of
from trainproof.recording.format import Segment
from trainproof.recording.reader import Record, segment_name
from trainproof.recording.train import train
from trainproof.replay.job import Job, RecipeSource
from trainproof.replay.worker import Worker
from trainproof.verification.policy import Policy
from trainproof.verification.select import UnitFacts, choose
from trainproof.verification.verdict import Report, Verdict
from trainproof.verification.verify import run

RECIPE = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Tiny(tp.Recipe):
    batch_size = 8
    optimizer = tp.SGD(lr=tp.Constant(0.1), momentum=0.9)

    def build(self):
        return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))

    def dataset(self):
        import helper{late}

        x = torch.arange(192, dtype=torch.float32).reshape(32, 6).sin()
        return TensorDataset(x, (x.sum(1) > 0).long())

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)
"""

# Code that runs inside a replay and makes it answer whatever the record says.
LIAR = """
from trainproof.replay import session as sessions

def iterate(self, tap, real, honest=sessions.Session.iterate):
    if self.unit.kind != "replay":
        return honest(self, tap, real)
    self.results = [self.record.segment(i) for i in range(self.unit.start + 1, self.unit.end + 1)]
    raise sessions.Finished

sessions.Session.iterate = iterate
"""

SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainproof as tp

torch.manual_seed(0)
x = torch.arange(384, dtype=torch.float32).reshape(64, 6).sin()
data = TensorDataset(x, (x.sum(1) > 0).long())
model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.2), nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(data, batch_size=8, shuffle=True)
#CHOSEN
with tp.record({out!r}, recipe=__file__, model=model, optimizer=optimizer, data_loader=loader, every=4, key={key!r},
               self_replay=False, quiet=True) as recording:
    for epoch in range(recording.completed_iterations, 2):
        for inputs, labels in loader:
            #LEAVE
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
"""

# Few builds: the test for weights hidden in a recipe is not what is tested here.
BITWISE, STRICT = (
    policy.replace(initial=msgspec.structs.replace(policy.initial, builds=2))
    for policy in (Policy.bitwise(), Policy.strict())
)


class Scene:
    """A recipe with a helper module, an honest record of it, and a copy that ends in other weights."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, folder / "prover.key"
        Signer.generate().save(self.key)
        self.recipe = self.checkout("recipe")
        self.honest = folder / "honest.tproof"
        train(str(self.recipe), out=self.honest, epochs=2, every=2, key=self.key, self_replay=False, quiet=True)
        self.forged = self.reseal("forged.tproof", self._moved)

    def checkout(self, name: str, late: str = "") -> Path:
        """Return the recipe file in a new folder."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "helper.py").write_text("")
        recipe = folder / "tiny.py"
        recipe.write_text(RECIPE.format(late=late))
        return recipe

    def reseal(self, name: str, change: Callable[[Record, int], Segment]) -> Path:
        """Write the honest record with changed segments, chained and signed again."""
        from trainproof.recording.recorder import final_sha256, now
        from trainproof.recording.writer import RecordWriter

        honest = Record.open(self.honest)
        writer = RecordWriter.create(self.folder / name, honest.commitment, honest.leaves())
        for index in range(len(honest)):
            segment = change(honest, index)
            writer.append(segment, honest.tensors(index))
        last = Record.open(writer.path).segment(len(honest) - 1)
        sha256 = final_sha256(last, honest.tensors(last.index, "model/"))
        time = now()
        writer.seal(
            Signer.load(self.key), name="model", sha256=sha256, ended="complete", self_replays=[], started=time,
            finished=time,
        )  # fmt: skip
        return writer.path

    @staticmethod
    def _moved(honest: Record, index: int) -> Segment:
        """Log a loss that the last step did not have: any replay that runs finds it."""
        segment = honest.segment(index)
        if index < len(honest) - 1:
            return segment
        step = msgspec.structs.replace(segment.steps[-1], losses=[(1e-3).hex()])
        return msgspec.structs.replace(segment, steps=[*segment.steps[:-1], step])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("forgeries"))


def refused(report: Report, words: str) -> None:
    assert report.verdict is not Verdict.ACCEPT
    assert words in report.headline()


def test_rejected_by_a_replay_of_the_closure(scene: Scene) -> None:
    """The forgery that the tests below try to get past a replay, which it does not by itself."""
    assert run(scene.honest, recipe=scene.recipe, policy=BITWISE).verdict is Verdict.ACCEPT
    refused(run(scene.forged, recipe=scene.recipe, policy=BITWISE), "another loss")


def test_refused_a_file_that_hides_a_module_of_a_package(scene: Scene) -> None:
    recipe = scene.checkout("shadow")
    # Nothing in the recipe imports it, torch does.
    (recipe.parent / "torchgen.py").write_text(LIAR)
    (recipe.parent / "safetensors.py").write_text(LIAR)
    refused(run(scene.forged, recipe=recipe, policy=STRICT), "not in the recipe's closure")


@pytest.mark.parametrize("module", ["tiny", "helper"])
def test_refused_bytecode_that_says_something_else_than_its_source(module: str, scene: Scene) -> None:
    recipe = scene.checkout(f"bytecode-{module}")
    source = recipe.parent / f"{module}.py"
    lying = scene.folder / f"lying-{module}.py"
    lying.write_text(source.read_text() + LIAR)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(lying), cfile=cache_from_source(str(source)), invalidation_mode=unchecked)
    refused(run(scene.forged, recipe=recipe, policy=STRICT), "another loss")


def test_refused_a_module_without_source(scene: Scene) -> None:
    recipe = scene.checkout("sourceless")
    helper = recipe.parent / "helper.py"
    py_compile.compile(str(helper), cfile=str(recipe.parent / "helper.pyc"))
    helper.unlink()
    with pytest.raises(RecipeError, match="not source that can be committed"):
        closure_of(recipe, "recipe", "Tiny")


def test_reported_files_that_the_closure_does_not_cover(scene: Scene) -> None:
    """Weights beside the recipe, loaded in the middle of a training, look like any other file."""
    recipe = scene.checkout("files", "; open(__file__[:-7] + 'weights.so').close()")
    (recipe.parent / "weights.so").write_bytes(b"stolen")
    out = scene.folder / "files.tproof"
    train(str(recipe), out=out, epochs=1, every=2, key=scene.key, self_replay=False, quiet=True)
    report = run(out, recipe=recipe, policy=BITWISE)
    assert [c for c in report.caveats if "weights.so" in c and "closure does not cover" in c]
    assert not [c for c in report.caveats if "helper.py" in c]


def test_refused_a_segment_that_changes_after_it_was_checked(scene: Scene, tmp_path: Path) -> None:
    record = tmp_path / "changing.tproof"
    shutil.copytree(scene.honest, record)
    index = 2
    path = record / "segments" / f"{segment_name(index)}.json"
    segment = Record.open(record).segment(index)
    other = chain.link(msgspec.structs.replace(segment, resumed=not segment.resumed))

    def swap(what: str, done: int, total: int) -> None:
        if what == "replay" and done == 0:
            path.write_bytes(canonical.encode(other))

    report = run(record, recipe=scene.recipe, policy=STRICT, on_progress=swap, jobs=1)
    refused(report, "changed while it was being verified")


def test_refused_a_commitment_that_changes_after_it_was_checked(scene: Scene, tmp_path: Path) -> None:
    record, recipe = Record.open(scene.honest), scene.recipe
    source = RecipeSource(path=str(recipe), qualname="Tiny", arguments=[])
    job = Job(record=str(record.path), recipe=source, scratch=str(tmp_path), readable=[], sandbox="off",
              memory_bytes=1 << 34, salts=None, commitment="0" * 64)  # fmt: skip
    path = list(sys.meta_path)
    try:
        with pytest.raises(Exception, match="changed while it was being verified"):
            Worker(job, [])
    finally:
        sys.meta_path[:] = path


class Loop:
    """A script that seeds its generators and never breaks, and records of it that were made by another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        Signer.generate().save(folder / "k.key")
        (folder / "claimed").mkdir()
        self.out = folder / "loop.tproof"
        self.claimed = folder / "claimed" / "train.py"
        self.claimed.write_text(self._text())

    def _text(self) -> str:
        return SCRIPT.format(out=str(self.out), key=str(self.folder / "k.key"))

    def record(self, monkeypatch: pytest.MonkeyPatch, mark: str = "", line: str = "") -> None:
        """Run the script with ``line`` in place of ``mark``, and commit to the one without."""
        import runpy

        from trainproof.recording import record as door

        run_ = self.folder / "train.py"
        run_.write_text(self._text().replace(mark, line) if mark else self._text())
        monkeypatch.setattr(door, "closure_of", lambda _entry, *rest: closure_of(self.claimed, *rest))
        monkeypatch.setattr(sys, "argv", [str(run_)])
        runpy.run_path(str(run_), run_name="__main__")

    def verify(self, policy: Policy) -> Report:
        return run(self.out, recipe=self.claimed, policy=policy)


def test_rejected_a_generator_that_the_recipe_seeds_and_the_prover_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(tmp_path)
    loop.record(monkeypatch, "#CHOSEN", "torch.manual_seed(4242)")
    refused(loop.verify(STRICT), "is seeded by the recipe, and is another in the record")


def test_rejected_weights_that_the_recipe_seeds_as_a_weak_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(tmp_path)
    loop.record(monkeypatch, "torch.manual_seed(0)", "torch.manual_seed(1)")
    refused(loop.verify(BITWISE), "the recipe seeds its initial weights")


def test_capped_because_iterations_were_left_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A break that the recipe does not have cannot be told from one by a count of its own: told, and capped."""
    loop = Loop(tmp_path)
    loop.record(monkeypatch, "#LEAVE", "if (inputs == x[7]).all(1).any(): break")
    report = loop.verify(BITWISE)
    assert any("2 of 2 loader iterations (the first: 0) were left early" in caveat for caveat in report.caveats)
    assert report.level == 1


def units(count: int, norm: Callable[[int], float]) -> list[UnitFacts]:
    return [
        UnitFacts(
            index=i, start=i, end=i + 1, first_step=i, last_step=i, epoch=0, update_norm=norm(i), optimizer_change=1.0,
            mean_loss=math.nan,
        )
        for i in range(count)
    ]  # fmt: skip


def test_replays_the_state_that_a_jump_starts_from() -> None:
    """Momentum that one forged unit puts there makes the next unit a replayable jump to somebody's weights."""
    of = units(1000, lambda i: 9.0 if i == 500 else 1e-3)
    rule = Policy.bitwise().selection
    for nonce in range(20):
        plan = choose(of, rule, coverage="sampled", displacement=9.0, marked={}, nonce=f"{nonce:064x}", chain="c" * 64)
        assert "before a largest update" in plan.reasons[499]
        assert plan.sample >= 50  # the jump does not shrink the sample
