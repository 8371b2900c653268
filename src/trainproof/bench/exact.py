"""``trainproof bench exact``: what exact training reaches, and what it costs, against float training in one process.

How: the integers and their float twin (binary32, PyTorch's own layers, loss and optimizer) start from the same weights,
take the same batches in the same order, and take turns, iteration by iteration, so that both have the same machine. A
ratio is that of one round (a tenth of the run); the median over the rounds is reported with their range.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from trainproof.bench import data
from trainproof.bench.record import summary
from trainproof.exact.compile import compile_net
from trainproof.exact.order import AffineOrder
from trainproof.exact.spec import ZERO, Spec
from trainproof.exact.trainer import Trainer

SEED = hashlib.sha256(b"trainproof bench exact").digest()
ROUNDS = 10
LAST = 100  # iterations whose mean loss is reported


@dataclass(frozen=True)
class Setting:
    """One comparison: ``iterations`` of ``net`` on ``images``, tested on ``test`` if there is one."""

    net: Callable[[], nn.Sequential]
    train: Callable[[], TensorDataset]
    test: Callable[[], TensorDataset] | None
    batch: int
    iterations: int
    lr: float
    momentum: float | None = None
    input_exponent: int = 8


@dataclass
class Outcome:
    """What one comparison gave: reported losses and seconds of every iteration, of the integers and of the floats."""

    spec: Spec
    losses: tuple[list[float], list[float]]
    seconds: tuple[list[float], list[float]]
    accuracy: tuple[float, float] | None
    velocity_bits: int

    def loss(self, side: int) -> float:
        """Return the mean loss of the last 100 iterations."""
        return round(statistics.fmean(self.losses[side][-LAST:]), 4)

    def ratios(self) -> list[float]:
        """Return seconds of integers / seconds of floats, of each round."""
        size = max(1, len(self.seconds[0]) // ROUNDS)
        starts = range(0, len(self.seconds[0]), size)
        return [sum(self.seconds[0][i : i + size]) / sum(self.seconds[1][i : i + size]) for i in starts]


def lenet5() -> nn.Sequential:
    """LeNet-5 with ReLU and max pooling: (N, 1, 28, 28) to (N, 10) logits; 61,706 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def vgg11(widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512), size: int = 32) -> nn.Sequential:
    """VGG-11 without batch norm (Simonyan and Zisserman, column A) and with one linear layer, for CIFAR-10.

    (N, 3, 32, 32) to (N, 10) logits; 9,225,610 parameters. Other ``widths`` and input ``size`` are for trying it out.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for number, width in enumerate(widths):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
        if number in (0, 1, 3, 5, 7):
            layers.append(nn.MaxPool2d(2))
            size //= 2
        inputs = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * size * size, 10))


def digits_net() -> nn.Sequential:
    """Make a small CNN for the digits of scikit-learn: (N, 1, 8, 8) to (N, 10) logits."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def _first(images: TensorDataset, count: int) -> TensorDataset:
    return TensorDataset(*(tensor[:count] for tensor in images.tensors))


def _coloured() -> TensorDataset:
    """Digits in three equal channels: to try out nets for colour images."""
    x, y = data.digits_bytes().tensors
    return TensorDataset(x.expand(-1, 3, -1, -1).contiguous(), y)


FULL = {
    "lenet5": Setting(lenet5, data.mnist, lambda: data.mnist("test"), 64, 3 * 60_000 // 64, 2**-4),
    "vgg11": Setting(vgg11, lambda: _first(data.cifar10(), 12_800), None, 16, 300, 2**-6, input_exponent=7),
    "momentum": Setting(lenet5, data.mnist, lambda: data.mnist("test"), 64, 60_000 // 64, 2**-7, momentum=1 - 2**-3),
}
QUICK = {
    "lenet5": Setting(digits_net, data.digits_bytes, data.digits_bytes, 32, 50, 2**-4),
    "vgg11": Setting(lambda: vgg11((8, 8, 8), 8), _coloured, None, 16, 8, 2**-6, input_exponent=7),
    "momentum": Setting(digits_net, data.digits_bytes, data.digits_bytes, 32, 20, 2**-7, momentum=1 - 2**-3),
}


class FloatTwin:
    """The same training in binary32 by PyTorch: the float network of section 12 of docs/exact.md, trained."""

    def __init__(self, setting: Setting, spec: Spec, images: Tensor, labels: Tensor) -> None:
        self.spec, self.images, self.labels = spec, images, labels
        self.net = setting.net()
        self.order = AffineOrder(SEED, len(images))
        self.steps = 0
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=setting.lr, momentum=setting.momentum or 0.0)

    def start(self, trainer: Trainer) -> None:
        """Take the weights of ``trainer``."""
        weights, live = trainer.weights(), dict(self.net.named_parameters())
        with torch.no_grad():
            for parameter in self.spec.parameters():
                real = torch.from_numpy(weights[parameter.name]).double() * 2.0**-parameter.format.exponent
                live[parameter.name].copy_(real)

    def step(self) -> float:
        """Do one step; return its loss, before the update."""
        size = self.spec.batch_size
        chosen = torch.tensor(self.order.indices(self.steps * size, size))
        loss = F.cross_entropy(self.net(self._inputs(self.images[chosen])), self.labels[chosen])
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.steps += 1
        return loss.item()

    def predict(self, images: Tensor) -> Tensor:
        """Return the class (n,) int64 of each image."""
        with torch.no_grad():
            return torch.cat([self.net(self._inputs(part)).argmax(1) for part in torch.split(images, 500)])

    def _inputs(self, images: Tensor) -> Tensor:
        return (images.to(torch.float32) - ZERO) * 2.0**-self.spec.input.exponent


def measure(setting: Setting, note: Callable[[str], None]) -> Outcome:
    """Train both sides in turn. Raises RangeError if a value leaves its range."""
    images, labels = setting.train().tensors
    spec = compile_net(
        setting.net(),
        input_shape=(images.shape[1], images.shape[2], images.shape[3]),
        batch_size=setting.batch,
        lr=setting.lr,
        momentum=setting.momentum,
        input_exponent=setting.input_exponent,
    )
    trainer = Trainer(spec, images, labels, SEED)
    twin = FloatTwin(setting, spec, images, labels)
    twin.start(trainer)
    sides = (trainer.step, twin.step)
    losses: tuple[list[float], list[float]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    largest = 0
    for iteration in range(setting.iterations):
        for side in (0, 1) if iteration % 2 == 0 else (1, 0):
            began = time.perf_counter()
            losses[side].append(sides[side]())
            seconds[side].append(time.perf_counter() - began)
        largest = max([largest, *(int(abs(v).max()) for v in trainer.velocities().values())])
        if (iteration + 1) % max(1, setting.iterations // ROUNDS) == 0:
            recent = (statistics.fmean(mine[-LAST:]) for mine in losses)
            note(f"  iteration {iteration + 1}: mean loss {', '.join(f'{value:.4f}' for value in recent)}")
    accuracy = None
    if setting.test is not None:
        x, y = setting.test().tensors
        mine, theirs = (float((side.predict(x) == y).double().mean()) for side in (trainer, twin))
        accuracy = round(mine, 4), round(theirs, 4)
    return Outcome(spec, losses, seconds, accuracy, largest.bit_length() + 1)


def main(json_output: bool = False, quick: bool = False) -> dict[str, Any]:
    """Measure and print; return what ``--json`` prints.

    ``quick`` takes small nets and digits: it tests the measurement and measures nothing. Raises DatasetError if MNIST
    or CIFAR-10 is missing, RangeError if a value leaves its range in exact training.
    """
    settings = QUICK if quick else FULL

    def note(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    for name, setting in settings.items():
        rate = f"rate {setting.lr}" + (f", momentum {setting.momentum}" if setting.momentum else "")
        note(f"{name}: {setting.iterations} iterations of {setting.batch}, {rate}; integers and floats take turns")
    outcomes = {}
    for name, setting in settings.items():
        note(f"{name} (mean loss of integers, floats)")
        outcomes[name] = measure(setting, note)
    result = _result(outcomes, quick)
    if json_output:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return result


def _result(outcomes: dict[str, Outcome], quick: bool) -> dict[str, Any]:
    """Return everything that is printed; accuracies are shares of the test images, losses natural logarithms."""
    lenet, vgg, momentum = (outcomes[name] for name in ("lenet5", "vgg11", "momentum"))
    assert lenet.accuracy is not None  # both have test images
    assert momentum.accuracy is not None
    velocities = [p.velocity.bits for p in momentum.spec.parameters() if p.velocity is not None]
    return {
        "quick": quick,
        "accuracy_int": lenet.accuracy[0],
        "accuracy_float": lenet.accuracy[1],
        "loss_int": vgg.loss(0),
        "loss_float": vgg.loss(1),
        "seconds_per_iteration": round(statistics.median(vgg.seconds[0]), 4),
        "exact_ratio": {name: summary(outcomes[name].ratios()) for name in ("lenet5", "vgg11")},
        "momentum_accuracy_int": momentum.accuracy[0],
        "momentum_accuracy_float": momentum.accuracy[1],
        "momentum_largest_velocity_bits": momentum.velocity_bits,
        "momentum_velocity_bits": max(velocities),
        "median_seconds": {
            name: {side: round(statistics.median(o.seconds[i]), 5) for i, side in enumerate(("int", "float"))}
            for name, o in outcomes.items()
        },
        "iterations": {name: len(o.seconds[0]) for name, o in outcomes.items()},
        "parameters": {name: _count(o.spec) for name, o in outcomes.items()},
        "specification": {name: o.spec.digest() for name, o in outcomes.items()},
        "seed": SEED.hex(),
        "threads": torch.get_num_threads(),
    }


def _count(spec: Spec) -> int:
    return sum(torch.Size(p.shape).numel() for p in spec.parameters())


def _print(result: dict[str, Any]) -> None:
    """Print the figures, a line each."""
    rows = [
        ("LeNet-5, MNIST: accuracy", f"{result['accuracy_int']:.2%} integers, {result['accuracy_float']:.2%} floats"),
        (
            "the same with momentum",
            f"{result['momentum_accuracy_int']:.2%} integers, {result['momentum_accuracy_float']:.2%} floats; "
            f"velocities took {result['momentum_largest_velocity_bits']} of {result['momentum_velocity_bits']} bits",
        ),
        ("VGG-11, CIFAR-10: loss", f"{result['loss_int']:.4f} integers, {result['loss_float']:.4f} floats"),
        ("VGG-11: seconds an iteration", f"{result['seconds_per_iteration']:.3f}"),
    ]
    for name, ratio in result["exact_ratio"].items():
        text = f"{ratio['median']:.2f}  ({ratio['low']:.2f} to {ratio['high']:.2f})"
        rows.append((f"{name}: exact / binary32", text))
    for label, text in rows:
        print(f"{label:32} {text}")
