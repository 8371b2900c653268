"""Door 1: a tiny transformer language model on the text that ships with Python. AdamW, dropout, warmup and cosine.

trainproof keygen prover.key
python text_transformer.py [--epochs 1]

Killed? Run it again: it continues where the record ends.
"""

import argparse

import trainproof as tp
from trainproof.bench.data import TextDataset, python_text
from trainproof.bench.nets import Transformer, language_loss


class TextTransformer(tp.Recipe):
    batch_size = 32
    clip_norm = 1.0
    optimizer = tp.AdamW(lr=tp.Cosine(1e-3, epochs=1, warmup=20), weight_decay=0.01)

    def build(self):
        return Transformer.tiny()

    def dataset(self):
        return TextDataset(python_text(), context=64)

    def loss(self, model, batch):
        return language_loss(model, batch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    tp.train(TextTransformer(), out="text.tproof", epochs=args.epochs, every=50, key="prover.key", resume=True)
    report = tp.verify("text.tproof", recipe=TextTransformer(), policy=tp.Policy.bitwise())
    print(report.headline())
    report.write("text.html")
