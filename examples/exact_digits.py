"""Exact training: integers, so that any machine gets the same bits. Trains digits, verifies, exports a float model.

trainproof keygen prover.key
python exact_digits.py [--epochs 3]

Killed? Run it again: it continues where the record ends.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class ExactDigits(tp.exact.Recipe):
    batch_size = 32  # a power of two
    lr = 2**-4  # m · 2^-e
    momentum = 0.875  # 1 − 2^-j

    def build(self):
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 4 * 4, 10)
        )

    def dataset(self):
        images, labels = load_digits(return_X_y=True)
        x = torch.from_numpy((images * 15.9375).astype(np.uint8)).view(-1, 1, 8, 8)  # bytes, 0 to 255
        return TensorDataset(x, torch.from_numpy(labels.astype(np.int64)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    record = tp.train(
        ExactDigits(),
        out="exact_digits.tproof",
        epochs=args.epochs,
        every=20,
        keep="keyframes:4",
        key="prover.key",
        resume=True,
    )
    report = tp.verify("exact_digits.tproof", recipe=ExactDigits(), policy=tp.Policy.bitwise())
    print(report.headline())
    report.write("exact_digits.html")

    final = record.tensors(len(record) - 1, "model/")
    weights = {name.removeprefix("model/"): tensor.long().numpy() for name, tensor in final.items()}
    model = tp.exact.to_float(ExactDigits().spec(), weights)  # an ordinary float32 model
    x, y = ExactDigits().dataset().tensors
    right = model((x.float() - 128) / 256).argmax(1) == y
    print(f"the float model is right on {right.float().mean():.1%} of the training images")
