"""The sides of a timed comparison: the same training loop plain, recorded, and recorded the paper's way.

Run by ``trainproof.bench.turns`` in a process of its own; re-entered like any other script when its record is replayed.
The sides take turns in that one process, a block of ``every`` steps each: processes differ by more than what is to be
measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from trainproof.bench import data, nets
from trainproof.errors import UsageError

TURNS = "TRAINPROOF_BENCH_TURNS"  # "reading,writing": the file descriptors of the conductor; unset in a replay
SIDES = ("plain", "recorded", "reference")
AfterStep = Callable[[], None]


def reference_hash(images: Tensor) -> str:
    """Return the data hash of the paper's code: SHA-256 over ``str()`` of each image of (n, C, H, W), as (H, W, C).

    NumPy abbreviates arrays above 1,000 elements there, so most pixels are not hashed; it is timed, not used.
    """
    digest = hashlib.sha256()
    for image in images.permute(0, 2, 3, 1).numpy():
        digest.update(str(image).encode())
    return digest.hexdigest()


class Vision:
    """ResNet-20 on CIFAR-10 with SGD: a small state. ``quick`` takes the digits and a small CNN instead."""

    def __init__(self, batch: int, quick: bool) -> None:
        if quick:
            dataset, self.quick = data.digits(), True
            self.model: nn.Module = nets.DigitsNet()
        else:
            dataset, self.quick = data.cifar10("train"), False
            self.model = nets.ResNet20()
        # The batch is normalised before delivery, so that the recorder hashes float32.
        collate = default_collate if quick else self._collate
        self.loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=batch, shuffle=True, drop_last=True, collate_fn=collate
        )
        self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 200 * len(self.loader))

    @staticmethod
    def _collate(samples: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        x, y = default_collate(samples)
        return data.normalise(x), y

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch, with one random crop and flip a batch."""
        x, y = batch
        if not self.quick:
            top, left, flip = (int(v) for v in torch.randint(0, 9, (3,)))
            x = F.pad(x, (4, 4, 4, 4))[:, :, top : top + 32, left : left + 32]
            x = x.flip(3) if flip % 2 else x
        return F.cross_entropy(self.model(x), y)


class Language:
    """A transformer of 25 M parameters with AdamW on bytes of text: a large state. ``quick`` takes the tiny one."""

    def __init__(self, batch: int, quick: bool) -> None:
        model = nets.Transformer.tiny() if quick else nets.Transformer.large()
        self.model: nn.Module = model
        dataset = data.TextDataset(data.python_text(), model.context)
        self.loader: DataLoader[Any] = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-4)
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.1, 1.0, 100)

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        return nets.language_loss(self.model, batch)


Workload = Vision | Language
WORKLOADS: dict[str, type[Vision] | type[Language]] = {"vision": Vision, "language": Language}


@contextmanager
def reference_way(work: Workload, out: Path, every: int) -> Iterator[AfterStep]:
    """The paper's Algorithm 1 as its code does it: the whole state by ``torch.save``, on the training thread."""
    out.mkdir(parents=True)
    done = 0

    def save() -> None:
        state = {
            "net": work.model.state_dict(),
            "optimizer": work.optimizer.state_dict(),
            "scheduler": work.scheduler.state_dict(),
        }
        torch.save(state, out / f"model_step_{done}")
        # Only the newest is kept: disk space is not what is measured.
        (out / f"model_step_{done - every}").unlink(missing_ok=True)

    def after_step() -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            save()

    save()
    yield after_step


def recorded(work: Workload, out: Path, every: int, key: Path) -> AbstractContextManager[Any]:
    """Record through the public interface. The replay before sealing is off: it is timed by itself."""
    import trainproof

    recording: AbstractContextManager[Any] = trainproof.record(
        out,
        recipe=__file__,
        model=work.model,
        optimizer=work.optimizer,
        scheduler=work.scheduler,
        data_loader=work.loader,
        every=every,
        key=key,
        self_replay=False,
        quiet=True,
    )
    return recording


def settle(out: Path) -> Callable[[int], None]:
    """Return a function that waits until the recorder has written every state that block ``n`` queued.

    A state is cut at the first delivery after its segment, so block n queues segment n − 1.
    """

    def settled(block: int) -> None:
        written = out / "segments" / f"{block - 1:08d}.json"
        while not written.exists():
            time.sleep(0.001)

    return settled


def training(side: str, args: argparse.Namespace) -> Generator[None, bool, str]:
    """Train as ``side`` does: up to step 0, then, each time True is sent, a block of ``args.every`` steps.

    A block ends when the recorder has written what it gave it. Returns the SHA-256 of the parameters after False.
    """
    torch.manual_seed(0)
    work = WORKLOADS[args.workload](args.batch, args.quick)
    if len(work.loader) < 1:
        raise UsageError("larger than the dataset", name="batch", value=args.batch)
    settled: Callable[[int], None] = lambda _: None  # noqa: E731
    context: AbstractContextManager[Any] = nullcontext()
    if side == "recorded":
        context, settled = recorded(work, args.out, args.every, args.key), settle(args.out)
    elif side == "reference":
        context = reference_way(work, args.out.with_name("reference"), args.every)
    with context as extra:
        running, steps = (yield), 0
        while running:
            for batch in work.loader:
                work.optimizer.zero_grad()
                work.loss(batch).backward()  # type: ignore[no-untyped-call]
                work.optimizer.step()
                work.scheduler.step()
                if side == "reference":
                    extra()
                steps += 1
                if steps % args.every == 0:
                    settled(steps // args.every)
                    running = yield
                    if not running:
                        break
    return hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in work.model.parameters())).hexdigest()


class Turn:
    """A side's loop, and what it keeps in global places: torch's generator, and the recorder's hook on backward."""

    def __init__(self, loop: Generator[None, bool, str]) -> None:
        self.loop = loop
        self.generator = torch.get_rng_state()
        self.backward = torch.autograd.backward
        self.weights = ""

    def go(self, word: bool | None = True) -> float:
        """Let it run up to its next turn, everything else at rest; return the wall time in seconds."""
        others = torch.autograd.backward
        torch.set_rng_state(self.generator)
        torch.autograd.backward = self.backward
        began = time.perf_counter()
        try:
            self.loop.send(word)  # type: ignore[arg-type]
        except StopIteration as end:
            self.weights = end.value
        seconds = time.perf_counter() - began
        self.generator = torch.get_rng_state()
        self.backward = torch.autograd.backward
        torch.autograd.backward = others
        return seconds


def conduct(args: argparse.Namespace, reading: int, writing: int) -> None:
    """Run all sides in this process, in turns, so that placement in memory and threads are the same for all.

    Says it is ready; then for every line "go" that it reads, one block of each side, rotating who begins, and a line of
    their seconds; at any other line the parameters' digests.
    """
    with os.fdopen(reading) as words, os.fdopen(writing, "w", buffering=1) as answers:
        turns = {side: Turn(training(side, args)) for side in SIDES}
        for turn in turns.values():
            turn.go(None)
        answers.write(json.dumps({"ready": True}) + "\n")
        count = 0
        while words.readline() == "go\n":
            first = count % len(SIDES)
            count += 1
            answers.write(json.dumps({side: turns[side].go() for side in (*SIDES[first:], *SIDES[:first])}) + "\n")
        for turn in turns.values():
            turn.go(False)
        answers.write(json.dumps({side: turn.weights for side, turn in turns.items()}) + "\n")


def main() -> None:
    """Conduct the comparison; in a replay, be the recorded side until ended from outside."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()

    pipes = os.environ.get(TURNS)
    if pipes is not None:
        reading, writing = (int(fd) for fd in pipes.split(","))
        return conduct(args, reading, writing)
    loop = training("recorded", args)
    next(loop)
    while True:
        loop.send(True)


if __name__ == "__main__":
    main()
