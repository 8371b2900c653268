"""One side of a timed comparison: the same training loop plain, recorded, or recorded the paper's way.

Run by ``trainproof.bench.turns`` in a process of its own; re-entered like any other script when its record is replayed.
A block is ``every`` steps; the process waits for its turn before each, so that only one side computes at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
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


class Turns:
    """Waits for the conductor's word before each block, and reports how long the block took."""

    def __init__(self, every: int, settled: Callable[[int], None]) -> None:
        self.every, self.settled = every, settled
        self.steps, self.blocks = 0, 0
        fds = os.environ.get(TURNS)
        self.reader = self.writer = None
        if fds is not None:
            read, write = (int(fd) for fd in fds.split(","))
            self.reader, self.writer = os.fdopen(read), os.fdopen(write, "w", buffering=1)
        self.began = 0.0

    def say(self, **values: Any) -> None:
        """Send one JSON line to the conductor."""
        if self.writer is not None:
            self.writer.write(json.dumps(values) + "\n")

    def wait(self) -> bool:
        """Return True when the next block may begin, False if there is none. A replay never waits."""
        if self.reader is None:
            return True
        go = self.reader.readline() == "go\n"
        self.began = time.perf_counter()
        return go

    def step_done(self) -> bool:
        """Count a step. At a block's end: wait until the recorder has written what the block gave it, report, and wait
        for the next turn. Returns False if the training shall end.
        """
        self.steps += 1
        if self.steps % self.every or self.writer is None:
            return True
        self.blocks += 1
        self.settled(self.blocks)
        self.say(seconds=time.perf_counter() - self.began)
        return self.wait()


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


def main() -> None:
    """Train until the conductor says stop (or, in a replay, until it is ended from outside)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(0)
    work = WORKLOADS[args.workload](args.batch, args.quick)
    if len(work.loader) < 1:
        raise UsageError("larger than the dataset", name="batch", value=args.batch)
    turns = Turns(args.every, settle(args.out) if args.side == "recorded" else lambda _: None)
    if args.side == "recorded":
        context: AbstractContextManager[Any] = recorded(work, args.out, args.every, args.key)
    elif args.side == "reference":
        context = reference_way(work, args.out, args.every)
    else:
        context = nullcontext()
    with context as extra:
        turns.say(ready=True)
        running = turns.wait()
        while running:
            for batch in work.loader:
                work.optimizer.zero_grad()
                work.loss(batch).backward()  # type: ignore[no-untyped-call]
                work.optimizer.step()
                work.scheduler.step()
                if args.side == "reference":
                    extra()
                running = turns.step_done()
                if not running:
                    break
    turns.say(
        weights=hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in work.model.parameters())).hexdigest()
    )


if __name__ == "__main__":
    main()
