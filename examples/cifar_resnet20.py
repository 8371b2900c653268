"""Door 1 at a real size: ResNet-20 on CIFAR-10, with random crops and flips.

trainproof keygen prover.key
TRAINPROOF_DATA=folder/of/cifar10_jpeg.npz python cifar_resnet20.py [--epochs 2]

Killed? Run it again: it continues where the record ends.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

import trainproof as tp
from trainproof.bench.data import cifar10, normalise
from trainproof.bench.nets import ResNet20


class CifarResNet20(tp.Recipe):
    batch_size = 128
    optimizer = tp.SGD(lr=tp.Cosine(0.1, epochs=2), momentum=0.9, weight_decay=1e-4)

    def build(self):
        return ResNet20()

    def dataset(self):
        return cifar10("train")

    def augment(self, sample, rng):
        x, y = sample
        padded = np.pad(x.numpy(), ((0, 0), (4, 4), (4, 4)))
        top, left = rng.integers(0, 9, size=2)
        crop = padded[:, top : top + 32, left : left + 32]
        if rng.integers(0, 2):
            crop = crop[:, :, ::-1]
        return normalise(torch.from_numpy(crop.copy())), y

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--every", type=int, default=100)
    args = parser.parse_args()
    tp.train(CifarResNet20(), out="cifar.tproof", epochs=args.epochs, every=args.every, key="prover.key", resume=True)
    report = tp.verify("cifar.tproof", recipe=CifarResNet20(), policy=tp.Policy.bitwise())
    print(report.headline())
    report.write("cifar.html")
