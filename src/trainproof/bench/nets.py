"""The networks that examples and measurements train. Ordinary PyTorch: nothing here knows about recording."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DigitsNet(nn.Sequential):
    """A small CNN for 8×8 grey images: (N, 1, 8, 8) float32 to (N, 10) logits; 9,946 parameters, one batch norm."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut without parameters (option A of He et al., section 4.2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.padding = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride != 1 or self.padding:
            # Subsample, and fill the new channels with zeros on both sides.
            half = self.padding // 2
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.padding - half))
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + shortcut)


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10: (N, 3, 32, 32) float32 to (N, 10) logits; 269,722 parameters.

    He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, section 4.2, n = 3.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        blocks: list[nn.Module] = []
        width = 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            for block in range(3):
                blocks.append(_Block(width, outputs, stride if block == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.conv(x))))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class _Layer(nn.Module):
    """Pre-norm attention and feed-forward, each added to the stream."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        x = x + F.dropout(self.project(mixed.transpose(1, 2).reshape(n, length, width)), rate)
        return x + F.dropout(self.down(F.gelu(self.up(self.norm2(x)))), rate)


class Transformer(nn.Module):
    """A decoder-only language model over bytes: (N, L ≤ context) int64 to (N, L, vocabulary) logits.

    Input and output embeddings are tied, so the recorder meets an aliased parameter here.
    """

    def __init__(
        self, *, width: int, depth: int, heads: int, context: int, dropout: float = 0.0, vocabulary: int = 256
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.layers = nn.Sequential(*(_Layer(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        self.head.weight = self.tokens.weight

    @classmethod
    def tiny(cls) -> Transformer:
        """Return 0.12 M parameters with dropout: trains in seconds on one core."""
        return cls(width=64, depth=2, heads=4, context=64, dropout=0.1)

    @classmethod
    def large(cls) -> Transformer:
        """Return 25.4 M parameters: a training state of 305 MB under AdamW."""
        return cls(width=512, depth=8, heads=8, context=128)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        logits: Tensor = self.head(self.norm(self.layers(self.tokens(tokens) + self.positions(positions))))
        return logits


def language_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean cross-entropy, in nats a byte, of predicting ``y`` from ``x``; both (N, L) int64."""
    x, y = batch
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())
