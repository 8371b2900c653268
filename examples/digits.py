"""Door 1: trainproof drives the loop. Trains a small CNN on scikit-learn's digits, and verifies the record.

trainproof keygen prover.key
python digits.py [--epochs 3]

Killed? Run it again: it continues where the record ends.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Digits(tp.Recipe):
    batch_size = 32
    optimizer = tp.SGD(lr=tp.Cosine(0.1, epochs=3), momentum=0.9)

    def build(self):
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 4 * 4, 10),
        )

    def dataset(self):
        images, labels = load_digits(return_X_y=True)
        x = torch.from_numpy((images / 16.0).astype(np.float32)).view(-1, 1, 8, 8)
        return TensorDataset(x, torch.from_numpy(labels.astype(np.int64)))

    def augment(self, sample, rng):  # rng: a numpy generator of this sample in this epoch
        x, y = sample
        down, right = rng.integers(-1, 2, size=2)
        return torch.roll(x, (int(down), int(right)), dims=(1, 2)), y

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    tp.train(Digits(), out="digits.tproof", epochs=args.epochs, every=20, key="prover.key", resume=True)
    report = tp.verify("digits.tproof", recipe=Digits(), policy=tp.Policy.bitwise())
    print(report.headline())
    report.write("digits.html")
