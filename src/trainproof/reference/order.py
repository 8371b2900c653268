"""The order of an epoch: docs/hashing.md, section 6."""

from trainproof.reference.stream import Stream


def permutation(seed: bytes, epoch: int, n: int) -> list[int]:
    order = list(range(n))
    stream = Stream("order", seed, epoch, 0)
    for i in range(n - 1, 0, -1):
        j = stream.below(i + 1)
        order[i], order[j] = order[j], order[i]
    return order
