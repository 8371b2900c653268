"""Door 2 at a real size: your own ResNet-20 loop with crops and flips of the batch.

trainproof keygen prover.key
TRAINPROOF_DATA=folder/of/cifar10_jpeg.npz python cifar_resnet20_loop.py
trainproof verify cifar_loop.tproof --recipe cifar_resnet20_loop.py --policy bitwise

Killed? Run it again: it continues where the record ends.
"""

import argparse

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

import trainproof as tp
from trainproof.bench.data import cifar10, normalise
from trainproof.bench.nets import ResNet20

OUT = "cifar_loop.tproof"


def augment(x: torch.Tensor) -> torch.Tensor:
    """Crop and flip a batch (N, 3, 32, 32) uint8. torch's generator is part of every recorded state."""
    padded = F.pad(x, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2,)).tolist()
    x = padded[:, :, top : top + 32, left : left + 32]
    flip = torch.rand(len(x)) < 0.5
    return normalise(torch.where(flip[:, None, None, None], x.flip(3), x))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--every", type=int, default=100)
    args = parser.parse_args()

    torch.manual_seed(0)
    loader = DataLoader(cifar10("train"), batch_size=args.batch, shuffle=True, drop_last=True)
    model = tp.seeded(ResNet20, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))

    with tp.record(
        OUT,
        recipe=__file__,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data_loader=loader,
        every=args.every,
        key="prover.key",
        resume=True,
    ) as recording:
        for epoch in range(recording.completed_iterations, args.epochs):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(augment(x)), y)
                loss.backward()
                optimizer.step()
                scheduler.step()
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
