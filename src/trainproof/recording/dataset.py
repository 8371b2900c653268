"""Commit to a dataset: one salted leaf a sample, before augmentation (docs/hashing.md section 4).

``Augmented`` keeps randomness out of ``__getitem__``: it derives each sample's generator from (seed, iteration,
index), so that any process, with any number of workers, makes the same augmented sample again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from trainproof import _core
from trainproof.errors import DatasetError
from trainproof.recording.loader import SampleIndex
from trainproof.recording.values import dtype_name, payload, raw, tensor_header

NO_SECRET = bytes(32)
_PROBES = 8  # samples read twice before the start, to find randomness in __getitem__


class Augmented:
    """A map-style dataset whose samples go through ``augment(sample, rng)``.

    ``rng`` is a ``numpy.random.Generator`` keyed by (``seed``, loader iteration, index) inside a recording or a replay.
    Outside of one the iteration is unknown, and it is freshly seeded, as augmentation usually is.
    """

    def __init__(self, dataset: Any, augment: Callable[[Any, Any], Any], seed: int | bytes = 0) -> None:
        self.dataset, self.augment = dataset, augment
        self.seed = seed if isinstance(seed, bytes) else struct.pack("<q", seed).ljust(32, b"\0")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        import numpy as np

        if isinstance(index, SampleIndex):
            rng = sample_rng(self.seed, index.epoch, int(index))
        else:
            rng = np.random.default_rng()
        return self.augment(self.dataset[int(index)], rng)


def sample_rng(seed: bytes, iteration: int, index: int) -> Any:
    """Return the generator of one sample: Philox keyed from the integer stream 'augment'."""
    import numpy as np

    words = _core.stream_words("augment", seed, iteration, index, 2)
    return np.random.Generator(np.random.Philox(key=np.asarray(words, dtype=np.uint64)))


def base_of(dataset: Any) -> Any:
    """Return the dataset that the leaves commit to: what an ``Augmented`` wraps, else the dataset itself."""
    return dataset.dataset if isinstance(dataset, Augmented) else dataset


def sample_payload(dataset: Any, index: int) -> bytes:
    """Return the encoding of sample ``index`` of a base dataset. Raises DatasetError naming the sample."""
    try:
        sample = dataset[index]
    except (IndexError, KeyError) as error:
        raise DatasetError(f"cannot be read: {error!r}", name=f"sample {index}") from None
    return payload(sample, f"sample {index}")


def leaf(dataset: Any, index: int, secret: bytes) -> bytes:
    """Return the leaf of one sample."""
    return _core.leaf(secret, index, sample_payload(dataset, index))


def leaves(dataset: Any, secret: bytes = NO_SECRET, progress: Callable[[int, int], None] | None = None) -> bytes:
    """Return all leaves of a base dataset, 32 bytes a sample. Plain TensorDatasets go through the core, row by row.

    Raises DatasetError if it is empty, has no length, or returns something else when a sample is read again.
    """
    from torch.utils.data import TensorDataset

    try:
        size = len(dataset)
    except TypeError:
        raise DatasetError("has no length", name="dataset", mend="use a map-style dataset") from None
    if size < 1:
        raise DatasetError("is empty", name="dataset")
    _refuse_randomness(dataset, size)
    if type(dataset) is TensorDataset and all(t.device.type == "cpu" for t in dataset.tensors):
        return _tensor_rows(dataset, size, secret)
    found = bytearray()
    for index in range(size):
        found += leaf(dataset, index, secret)
        if progress and (index % 1024 == 0 or index == size - 1):
            progress(index + 1, size)
    return bytes(found)


def _refuse_randomness(dataset: Any, size: int) -> None:
    step = max(1, size // _PROBES)
    for index in list(range(0, size, step))[:_PROBES]:
        if sample_payload(dataset, index) != sample_payload(dataset, index):
            raise DatasetError(
                "differs when it is read again: randomness in __getitem__",
                name=f"sample {index}",
                mend="move it to augment(sample, rng), or wrap the dataset in trainproof.Augmented",
            )


def _tensor_rows(dataset: Any, size: int, secret: bytes) -> bytes:
    fields = []
    for tensor in dataset.tensors:
        rows = raw(tensor).reshape(size, -1)
        fields.append((tensor_header(dtype_name(tensor), tuple(tensor.shape[1:]), rows.shape[1]), rows))
    prefix = b"L" + struct.pack("<Q", len(fields))
    return bytes(_core.leaves_rows(secret, 0, prefix, fields))


def root(found: bytes) -> str:
    """Return the dataset root over all leaves, in hexadecimal."""
    return _core.merkle_root(found).hex()
