"""What cannot be replayed is refused by name before anything is trained, with what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import trainproof as tp
from trainproof.attest.keys import Signer
from trainproof.errors import DatasetError, RecipeError, TrainproofError, UnsupportedError, UsageError
from trainproof.recording import check, launch
from trainproof.recording.state import StateAccess

SCRIPTS = Path(__file__).parents[2] / "fixtures" / "scripts"


def samples(n: int = 64) -> TensorDataset:
    """Return n samples of 4 numbers."""
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 3)


def net() -> nn.Module:
    """Return a small model."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer of the whole model."""
    return torch.optim.SGD(model.parameters(), lr=0.1)


class StatefulDataLoader(DataLoader[Any]):
    """Named as torchdata's."""


class DistributedDataParallel(nn.Module):
    """Named as torch's, which wants a process group."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class FSDPModule:
    """Named as torch's mix-in."""


class FSDPLinear(FSDPModule, nn.Linear):
    """As fully_shard() makes of a layer."""


class Stateful(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


class DistributedSampler(torch.utils.data.SequentialSampler):
    """Named as torch's."""


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([])


def hooked(model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer that steps inside of backward."""
    optimizer = sgd(model)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda _: None)
    return optimizer


def started(data: Any) -> DataLoader[Any]:
    """Return a loader that has workers already."""
    loader = DataLoader(data, num_workers=1, persistent_workers=True)
    next(iter(loader))
    return loader


def of_another(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(1))], lr=0.1)


MODELS: list[tuple[Callable[[], nn.Module], str, str]] = [
    (lambda: DistributedDataParallel(net()), "model", "DistributedDataParallel is not supported"),
    (lambda: nn.Sequential(DistributedDataParallel(net())), "model", "DistributedDataParallel is not supported"),
    (lambda: nn.Sequential(FSDPLinear(4, 3)), "model", "FSDPModule is not supported"),
    (lambda: nn.Sequential(nn.Embedding(4, 3, sparse=True)), "0", "sparse gradients are not supported"),
    (lambda: nn.Sequential(Stateful(4, 3)), "0", "has extra state that is not a tensor"),
    (lambda: nn.Linear(4, 3, dtype=torch.complex64), "weight", "complex64"),
    (lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3, device="meta")), "model", "lies on several devices"),
]
OPTIMIZERS: list[tuple[Callable[[nn.Module], Any], str, str]] = [
    (lambda m: torch.optim.LBFGS(m.parameters()), "optimizer", "LBFGS is not supported"),
    (lambda m: torch.optim.RMSprop(m.parameters()), "optimizer", "RMSprop is not supported"),
    (lambda m: torch.optim.Adam(m.parameters(), differentiable=True), "optimizer", "differentiable=True"),
    (lambda m: torch.optim.Adam(m.parameters(), lr=torch.tensor(0.1), foreach=False), "optimizer", "a tensor as lear"),
    (lambda m: torch.optim.SGD(m[0].parameters(), lr=0.1), "2.bias", "several optimizers are not supported"),
    (of_another, "optimizer", "updates parameters that are not the model's"),
    (hooked, "optimizer", "a step inside backward is not supported"),
]
LOADERS: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: [1, 2], "data_loader", "a list is not supported"),
    (lambda: StatefulDataLoader(samples()), "data_loader", "StatefulDataLoader is not supported"),
    (lambda: DataLoader(Stream()), "dataset", "IterableDataset is not supported"),
    (lambda: DataLoader(samples(), num_workers=1, in_order=False), "data_loader", "in_order=False is not supported"),
    (lambda: started(samples()), "data_loader", "was already started"),
    (lambda: DataLoader(samples(), sampler=DistributedSampler(samples())), "sampler", "DistributedSampler is not supp"),
    (lambda: DataLoader(samples(), num_workers=1, worker_init_fn=print), "data_loader", "worker_init_fn is not re-en"),
]


def problem(model: nn.Module, optimizer: Any, loader: Any) -> UnsupportedError:
    """Return the refusal of these objects."""
    with pytest.raises(UnsupportedError) as error:
        check.require(StateAccess(model, optimizer, [], None, {}), loader)
    assert error.value.mend
    return error.value


@pytest.mark.parametrize(("make", "name", "words"), MODELS, ids=[m[2] + str(i) for i, m in enumerate(MODELS)])
def test_models_outside_the_matrix(make: Callable[[], nn.Module], name: str, words: str) -> None:
    model = make()
    error = problem(model, sgd(model), DataLoader(samples()))
    assert (error.name, words in str(error)) == (name, True)


@pytest.mark.parametrize(("make", "name", "words"), OPTIMIZERS, ids=[o[2] for o in OPTIMIZERS])
def test_optimizers_outside_the_matrix(make: Callable[[nn.Module], Any], name: str, words: str) -> None:
    model = net()
    error = problem(model, make(model), DataLoader(samples()))
    assert (error.name, words in str(error)) == (name, True)


@pytest.mark.parametrize(("make", "name", "words"), LOADERS, ids=[loader[2] for loader in LOADERS])
def test_loaders_outside_the_matrix(make: Callable[[], Any], name: str, words: str) -> None:
    model = net()
    error = problem(model, sgd(model), make())
    assert (error.name, words in str(error)) == (name, True)


def test_what_is_inside_the_matrix_has_no_findings() -> None:
    model = net()
    access = StateAccess(model, torch.optim.AdamW(model.parameters(), fused=True), [], None, {})
    assert check.findings(access, DataLoader(samples(), num_workers=2, persistent_workers=True)) == []


# -- what shows only while it runs -----------------------------------------------------------------------------------


class Training:
    """A model that is being recorded into ``out``."""

    def __init__(self, folder: Path, data: Any = None) -> None:
        self.model = net()
        self.optimizer = sgd(self.model)
        self.loader: DataLoader[Any] = DataLoader(data or samples(), batch_size=8)
        self.recording = tp.record(
            folder / "out",
            recipe=__file__,
            model=self.model,
            optimizer=self.optimizer,
            data_loader=self.loader,
            every=2,
            key=Signer.generate(),
            self_replay=False,
            quiet=True,
        )

    def run(self, loop: Callable[[Training], None]) -> None:
        """Record ``loop``."""
        with self.recording:
            loop(self)

    def step(self, batch: Any) -> None:
        """Take one step."""
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(batch[0]), batch[1]).backward()
        self.optimizer.step()


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setattr("trainproof.recording.record.undeclared", lambda _: [])  # pytest has loaded other tests


def test_two_steps_on_a_batch(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="more than one optimizer step for a delivered batch"):
        Training(tmp_path).run(two_steps)


def two_steps(training: Training) -> None:
    for batch in training.loader:
        training.step(batch)
        training.step(batch)


def nested(training: Training) -> None:
    for batch in training.loader:
        next(iter(training.loader))
        training.step(batch)


def test_nested_iterators(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="nested iterators cannot be re-entered"):
        Training(tmp_path).run(nested)


def test_randomness_in_getitem(tmp_path: Path) -> None:
    class Noisy(Dataset[Any]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            return torch.rand(4), 0

    with pytest.raises(DatasetError, match="randomness in __getitem__; move it to augment"):
        Training(tmp_path, Noisy())
    assert not (tmp_path / "out").exists()


def test_samples_that_cannot_be_hashed(tmp_path: Path) -> None:
    class Odd(Dataset[Any]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            return {1, 2}

    with pytest.raises(DatasetError, match="a set cannot be hashed"):
        Training(tmp_path, Odd())


def test_extra_state_that_is_no_plain_data(tmp_path: Path) -> None:
    class Holder:
        def state_dict(self) -> dict[str, Any]:
            return {"file": object()}

    model = net()
    loader = DataLoader(samples(), batch_size=8)
    recording = tp.record(
        tmp_path / "out",
        recipe=__file__,
        model=model,
        optimizer=sgd(model),
        data_loader=loader,
        every=2,
        key=Signer.generate(),
        extra={"holder": Holder()},
        self_replay=False,
        quiet=True,
    )
    with pytest.raises(UnsupportedError, match="extra/holder/file: a object cannot be recorded"), recording:
        next(iter(loader))


def test_a_refused_loop_gets_its_objects_back(tmp_path: Path) -> None:
    training = Training(tmp_path)
    backward = torch.autograd.backward

    def loop(training: Training) -> None:
        assert torch.autograd.backward is not backward
        assert type(training.loader) is not DataLoader
        two_steps(training)

    with pytest.raises(UnsupportedError):
        training.run(loop)
    assert torch.autograd.backward is backward
    assert type(training.loader) is DataLoader
    assert not training.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "every"),
        ({"keep": "keyframes:0"}, "keyframes"),
        ({"keep": "some"}, "keep"),
        ({"nonce": "AB"}, "nonce"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    model = net()
    common = {"every": 2, "key": Signer.generate(), "self_replay": False, "quiet": True}
    with pytest.raises(UsageError, match=words):
        tp.record(
            tmp_path / "out",
            recipe=__file__,
            model=model,
            optimizer=sgd(model),
            data_loader=DataLoader(samples()),
            **(common | options),
        )
    assert not (tmp_path / "out").exists()


# -- commands and recipes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["torchrun", "train.py"], "torchrun: is not supported; run the script itself"),
        (["python", "-m", "torch.distributed.run", "train.py"], "torch.distributed.run: is not supported"),
        (["accelerate", "launch", "train.py"], "accelerate: is not supported"),
        (["python", "-m", "accelerate", "launch"], "accelerate: is not supported"),
        (["jupyter", "run", "a.ipynb"], "jupyter: is not supported; export the notebook"),
        (["python", "a.ipynb"], "is not a Python script"),
        (["python", "-c", "print()"], "expected a script"),
        (["python"], "expected a script"),
        ([], "no command given"),
        (["python", "missing.py"], "no such script"),
    ],
)
def test_commands_that_are_no_scripts(command: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        launch.parse(command)


def test_check_lists_what_is_wrong_with_a_recipe() -> None:
    recipes = SCRIPTS / "recipe.py"
    assert check.check_recipe(f"{recipes}:Plain") == []
    assert "randomness in __getitem__" in check.check_recipe(f"{recipes}:Noisy")[0].problem
    assert "must be a scalar" in check.check_recipe(f"{recipes}:Vector")[0].problem
    assert "no recipe of this name" in check.check_recipe(f"{recipes}:Missing")[0].problem
    assert "holds 5 recipes" in check.check_recipe(recipes)[0].problem


def test_check_runs_a_script_to_its_first_batch(capsys: pytest.CaptureFixture[str]) -> None:
    plain = str(SCRIPTS / "plain.py")
    assert launch.check_command(["python", plain]) == []
    found = launch.check_command(["python", plain, "two_optimizers"])
    assert [(f.name, "several optimizers" in f.problem) for f in found] == [("optimizer", True)]


def test_a_script_that_never_trains(tmp_path: Path) -> None:
    script = tmp_path / "idle.py"
    script.write_text("import torch\n")
    found = launch.check_command(["python", str(script)])
    assert "never iterated a loader" in found[0].problem
    with pytest.raises(RecipeError, match="never iterated a loader"):
        launch.run(["python", str(script)], out=tmp_path / "out", every=2, key=saved(tmp_path), quiet=True)
    assert not (tmp_path / "out").exists()


def test_a_script_that_fails_leaves_no_hooks_behind(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import sys\nsys.exit(3)\n")
    before = (torch.optim.Optimizer.__init__, DataLoader.__iter__)
    with pytest.raises(RecipeError, match="exited with 3"):
        launch.run(["python", str(script)], out=tmp_path / "out", every=2, key=saved(tmp_path), quiet=True)
    assert (torch.optim.Optimizer.__init__, DataLoader.__iter__) == before


def saved(folder: Path) -> Path:
    """Return a new key file."""
    Signer.generate().save(folder / "prover.key")
    return folder / "prover.key"


def test_every_refusal_is_a_usage_error() -> None:
    assert issubclass(UnsupportedError, UsageError)
    assert UnsupportedError("x").exit_code == 2
    assert issubclass(UsageError, TrainproofError)
