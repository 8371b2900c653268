"""Door 2: your own language-model loop with AdamW, dropout, clipping, warmup and cosine.

trainproof keygen prover.key
python text_transformer_loop.py
trainproof verify text_loop.tproof --recipe text_transformer_loop.py --policy bitwise

Killed? Run it again: it continues where the record ends.
"""

import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader

import trainproof as tp
from trainproof.bench.data import TextDataset, python_text
from trainproof.bench.nets import Transformer, language_loss

OUT, WARMUP = "text_loop.tproof", 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--windows", type=int, default=None, help="train on this many windows of text only")
    args = parser.parse_args()

    torch.manual_seed(0)
    text = python_text() if args.windows is None else python_text()[: 64 * args.windows + 1]
    loader = DataLoader(TextDataset(text, context=64), batch_size=32, shuffle=True, drop_last=True)
    steps = args.epochs * len(loader)
    model = tp.seeded(Transformer.tiny, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)

    def factor(step: int) -> float:
        """Return the learning rate of ``step`` as a fraction of its peak."""
        if step < WARMUP:
            return (step + 1) / WARMUP
        return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    with tp.record(
        OUT,
        recipe=__file__,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        data_loader=loader,
        every=50,
        key="prover.key",
        resume=True,
    ) as recording:
        for epoch in range(recording.completed_iterations, args.epochs):
            for batch in loader:
                optimizer.zero_grad()
                loss = language_loss(model, batch)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
