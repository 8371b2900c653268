"""Exact training as PyTorch objects: they compute what the engine computes, and refuse what has no exact form."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp
from trainproof.attest.keys import Signer
from trainproof.errors import DatasetError, FormatError, RangeError, RecipeError, TrainproofError, UsageError
from trainproof.exact import engine
from trainproof.exact.initial import initial
from trainproof.exact.module import ExactNet, ExactSGD, momentum_of, rate_at
from trainproof.exact.order import AffineOrder
from trainproof.exact.recipe import AffineBatches, Exact, ExactRecipe, prepare, schedule_of
from trainproof.exact.spec import Format, Spec
from trainproof.exact.trainer import Trainer
from trainproof.recording.optimizers import Constant, Pieces
from trainproof.recording.plan import state_bytes
from trainproof.recording.record import record
from trainproof.recording.state import StateAccess
from trainproof.recording.train import Loop, train

SEED = bytes(range(32))


class Small(ExactRecipe):
    """A convolution and a linear layer on 44 made-up pictures."""

    batch_size = 8
    lr = 2**-6
    momentum = 0.875

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4))

    def dataset(self) -> Any:
        images = (torch.arange(44 * 36) * 37 % 256).to(torch.uint8).reshape(44, 1, 6, 6)
        return TensorDataset(images, torch.arange(44) % 4)


class Plain(Small):
    momentum = None
    lr = ((0, 2**-4), (2, 3 * 2**-7), (5, 2**-8))


def batches(recipe: ExactRecipe, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The first batches of a run with ``SEED``."""
    images, labels = recipe.dataset().tensors
    order = AffineOrder(SEED, len(images))
    rows = [order.indices(t * recipe.batch_size, recipe.batch_size) for t in range(steps)]
    return [(images[row], labels[row]) for row in rows]


def test_the_network_begins_with_the_specifications_integers() -> None:
    spec = Small().spec()
    net = ExactNet(spec, SEED)
    assert [name for name, _ in net.named_parameters()] == [p.name for p in spec.parameters()]
    for name, values in initial(spec, SEED).items():
        parameter = net.get_parameter(name)
        assert parameter.dtype == torch.float64
        assert parameter.requires_grad
        assert np.array_equal(parameter.detach().numpy(), values)


def test_the_loss_and_its_gradients_are_the_engines() -> None:
    spec = Small().spec()
    net = ExactNet(spec, SEED)
    ((x, y),) = batches(Small(), 1)
    loss = net.loss([x, y.to(torch.int32)])
    loss.backward()
    trace = engine.forward(spec, net.values(), x)
    errors, reported = engine.loss(spec, trace.logits, y)
    assert torch.equal(net(x), trace.logits)
    assert (loss.dtype, loss.item()) == (torch.float64, reported)
    for name, grad in engine.backward(spec, net.values(), trace, errors).items():
        assert torch.equal(net.get_parameter(name).grad, grad), name
        assert grad.abs().max() > 0, name


@pytest.mark.parametrize("recipe", [Small(), Plain()], ids=["momentum", "rates"])
def test_steps_are_the_trainers(recipe: ExactRecipe) -> None:
    spec = recipe.spec()
    images, labels = recipe.dataset().tensors
    trainer = Trainer(spec, images, labels, SEED)
    trainer.run(7)
    net = ExactNet(spec, SEED)
    optimizer = ExactSGD(net)
    for step, batch in enumerate(batches(recipe, 7)):
        optimizer.zero_grad()
        net.loss(batch).backward()
        optimizer.step()
        assert optimizer.param_groups[0]["lr"] == rate_at(spec, step)
    for name, values in trainer.weights().items():
        assert np.array_equal(net.get_parameter(name).detach().numpy(), values), name
    velocities = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert len(velocities) == (0 if recipe.momentum is None else 4)
    assert all(v.dtype == torch.float64 and torch.equal(v, v.floor()) and v.any() for v in velocities)


def test_rates_and_momentum_are_binary64_numbers_exactly() -> None:
    spec = Plain().spec()
    assert [rate_at(spec, t) for t in (0, 1, 2, 4, 5, 90)] == [2**-4, 2**-4, 3 * 2**-7, 3 * 2**-7, 2**-8, 2**-8]
    assert (momentum_of(spec), momentum_of(Small().spec())) == (0.0, 0.875)
    schedule = schedule_of(spec)
    assert [schedule.at(t, 5) for t in (0, 2, 5)] == [2**-4, 3 * 2**-7, 2**-8]
    assert schedule_of(Small().spec()) == Constant(2**-6)
    described = Exact.of(spec).describe()
    assert described["spec"] == spec.digest()
    fields = dict(described["lr"])
    assert (fields.pop("schedule"), Pieces(**fields)) == ("Pieces", schedule)


@pytest.mark.parametrize(
    ("lr", "pieces"),
    [(1.0, ()), (1.0, ((1, 1.0),)), (1.0, ((0, 1.0), (0, 0.5))), (1.0, ((0, 1.0), (3, 0.0))), (0.5, ((0, 1.0),))],
)
def test_a_schedule_in_pieces_begins_at_the_beginning_and_ascends(lr: float, pieces: Any) -> None:
    with pytest.raises(RecipeError):
        Pieces(lr, pieces)


def test_a_step_that_leaves_its_range_changes_nothing() -> None:
    fast = changed(lr=2.0, layers={"4": {"weight": Format(exponent=16, bits=17)}})
    spec = fast.spec()
    net = ExactNet(spec, SEED)
    optimizer = ExactSGD(net)
    before: dict[str, torch.Tensor] = {}
    moving: list[torch.Tensor] = []
    step = 0

    def run() -> None:
        nonlocal before, moving, step
        for step, batch in enumerate(batches(fast, 40)):
            optimizer.zero_grad()
            before = {name: p.clone() for name, p in net.values().items()}
            moving = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
            net.loss(batch, step).backward()
            optimizer.step()

    with pytest.raises(RangeError) as caught:
        run()
    assert caught.value.step == step > 0
    assert all(torch.equal(p, before[name]) for name, p in net.values().items())
    assert all(torch.equal(a, s["momentum_buffer"]) for a, s in zip(moving, optimizer.state.values(), strict=True))


def test_what_would_not_be_exact_is_refused() -> None:
    net = ExactNet(Small().spec(), SEED)
    optimizer = ExactSGD(net)
    (batch,) = batches(Small(), 1)
    with pytest.raises(UsageError, match="has no gradient"):
        optimizer.step()
    with pytest.raises(UsageError, match="takes no closure"):
        optimizer.step(lambda: 0.0)
    with pytest.raises(UsageError, match="cannot be scaled"):
        (net.loss(batch) / 2).backward()
    with pytest.raises(DatasetError, match="must be images and labels"):
        net.loss(batch[0])
    with pytest.raises(FormatError, match="a batch has 8 samples"):
        net.loss((batch[0][:4], batch[1][:4])).backward()


def test_nothing_draws_random_numbers() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    net = ExactNet(Small().spec(), SEED)
    net.loss(batches(Small(), 1)[0]).backward()
    ExactSGD(net).step()
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]
    assert states[2] == random.getstate()


def test_batches_are_positions_and_cross_the_end_of_a_pass() -> None:
    found = AffineBatches(SEED, 44, 8)
    assert (len(found), found.batch_size, found.drop_last) == (5, 8, True)
    every = []
    for epoch in range(12):
        found.epoch = epoch
        every += [index for batch in found for index in batch]
    assert every == AffineOrder(SEED, 44).indices(0, 12 * 5 * 8)
    assert all(sorted(every[44 * i : 44 * (i + 1)]) == list(range(44)) for i in range(10))


# -- the recipe ------------------------------------------------------------------------------------------------------


def changed(**attributes: Any) -> ExactRecipe:
    """``Small`` with other attributes."""
    return type("Changed", (Small,), attributes)()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"batch_size": 24}, "power of two"),
        ({"batch_size": 0}, "power of two"),
        ({"batch_size": True}, "power of two"),
        ({"workers": -1}, "workers"),
        ({"accumulate": 2}, "accumulate is not part of exact training"),
        ({"augment": lambda sample, rng: sample}, "augment is not part"),
        ({"clip_norm": 1.0}, "clip_norm is not part"),
        ({"drop_last": False}, "drop_last is not part"),
        ({"ema": 0.9}, "ema is not part"),
        ({"optimizer": tp.SGD(0.1)}, "optimizer is not part"),
        ({"precision": "bfloat16"}, "precision is not part"),
    ],
)
def test_a_recipe_is_refused_by_name(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        changed(**attributes).validate()


def test_a_recipe_needs_a_rate() -> None:
    class Rateless(ExactRecipe):
        pass

    with pytest.raises(RecipeError, match="lr is missing"):
        Rateless().validate()
    Small().validate()


IMAGES, LABELS = Small().dataset().tensors


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([(IMAGES[0], LABELS[0])], "must be a TensorDataset"),
        (TensorDataset(IMAGES), "must be a TensorDataset"),
        (TensorDataset(IMAGES.float(), LABELS), r"must be uint8 \(N, C, H, W\)"),
        (TensorDataset(IMAGES[:, 0], LABELS), r"must be uint8 \(N, C, H, W\)"),
        (TensorDataset(IMAGES, LABELS.float()), "must be integers"),
        (TensorDataset(IMAGES, LABELS[:, None]), "must be integers"),
        (TensorDataset(IMAGES, LABELS - 1), "must be 0 to 3"),
        (TensorDataset(IMAGES, LABELS + 1), "must be 0 to 3"),
        (TensorDataset(IMAGES[:7], LABELS[:7]), "a batch does not fit"),
    ],
)
def test_a_dataset_is_refused_before_training(dataset: Any, message: str) -> None:
    with pytest.raises(TrainproofError, match=message):
        prepare(Small(), dataset)


def test_a_dataset_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.py"
    recipe.write_text(
        "import torch\nfrom torch import nn\nfrom torch.utils.data import TensorDataset\nimport trainproof as tp\n\n\n"
        "class Bad(tp.exact.Recipe):\n    lr = 0.5\n\n"
        "    def build(self):\n        return nn.Sequential(nn.Linear(4, 2))\n\n"
        "    def dataset(self):\n        return TensorDataset(torch.zeros(64, 1, 2, 2), torch.zeros(64).long())\n"
    )
    with pytest.raises(DatasetError, match="must be uint8"):
        train(f"{recipe}:Bad", tmp_path / "out", epochs=1, every=1, key=Signer.generate(), private=True)
    assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == ["bad.py"]


def test_a_specification_of_another_batch_is_refused() -> None:
    class Other(Small):
        def spec(self, dataset: Any = None) -> Spec:
            return Small().spec()

        batch_size = 16

    with pytest.raises(RecipeError, match="not of this batch"):
        prepare(Other(), Other().dataset())


def test_formats_that_cannot_hold_the_sums_are_refused() -> None:
    with pytest.raises(FormatError):
        prepare(changed(weight=Format(exponent=30, bits=40), error=Format(exponent=20, bits=40)), Small().dataset())


def test_to_compile_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    assert Small().spec() == Small().spec(Small().dataset())
    assert torch.equal(before, torch.get_rng_state())


def test_the_plan_counts_the_velocities() -> None:
    for recipe, copies in ((Small(), 2), (Plain(), 1)):
        loop = Loop(recipe, recipe.dataset(), SEED, None)
        loop.run(range(1), 0, 0, None)
        held = [*loop.model.parameters(), *(s["momentum_buffer"] for s in loop.optimizer.state.values() if s)]
        size = sum(t.numel() * t.element_size() for t in held)
        assert state_bytes(loop.access) == size == copies * 8 * (3 * 9 + 3 + 12 * 4 + 4)


def test_only_trainproofs_own_loop_records_exact_training(tmp_path: Path) -> None:
    net = ExactNet(Small().spec(), SEED)
    loader = torch.utils.data.DataLoader(Small().dataset(), batch_size=8)
    optimizer = ExactSGD(net)
    make: Callable[[], Any] = lambda: record(  # noqa: E731
        tmp_path / "r",
        recipe=__file__,
        model=net,
        optimizer=optimizer,
        data_loader=loader,
        every=1,
        key=Signer.generate(),
    )
    with pytest.raises(UsageError, match="ExactSGD is not supported"), make():
        pass
    assert StateAccess(net, optimizer, [], None, {}).group_options() == [{"lr": 2**-6, "momentum": 0.875}]


def test_importing_it_is_light() -> None:
    code = "import sys, trainproof as tp; tp.exact.Recipe; tp.exact.Format; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
