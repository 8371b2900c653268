"""Values that cross the loader have the digests of docs/hashing.md section 3, the same as in the slow reference."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainproof.errors import DatasetError
from trainproof.recording import dataset
from trainproof.recording.values import digest, dtype_name, payload, raw
from trainproof.reference import hashing, merkle

DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float16]


def reference(value: Any) -> Any:
    """Return the value as the reference takes it: tensors and arrays as their bytes."""
    if isinstance(value, torch.Tensor):
        return hashing.Tensor(dtype_name(value), tuple(value.shape), raw(value).tobytes())
    if isinstance(value, np.ndarray):
        return hashing.Tensor(str(value.dtype), value.shape, np.ascontiguousarray(value).tobytes())
    if isinstance(value, (list, tuple)):
        return [reference(item) for item in value]
    if isinstance(value, dict):
        return {key: reference(item) for key, item in value.items()}
    return value


TENSORS = st.builds(
    lambda dtype, shape: (torch.arange(int(np.prod(shape))) % 7).reshape(shape).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
)
ARRAYS = st.builds(
    lambda dtype, n: np.arange(n).astype(dtype), st.sampled_from(["f4", "f8", "i8", "u1", "bool"]), st.integers(0, 5)
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9)
VALUES = st.recursive(
    PLAIN | TENSORS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_digests_equal_the_reference(value: Any) -> None:
    assert digest(value) == hashing.value_digest(reference(value)).hex()
    assert payload(value) == hashing.encode(reference(value))


def test_memory_layout_and_byte_order_do_not_matter() -> None:
    tensor = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert digest(tensor) == digest(tensor.to(memory_format=torch.channels_last))
    assert digest(tensor.t() if tensor.dim() == 2 else tensor[0, 0].t()) == digest(tensor[0, 0].t().contiguous())
    array = np.arange(5, dtype="<i4")
    assert digest(array) == digest(array.astype(">i4"))
    assert digest(np.arange(10)[::2]) == digest(np.array([0, 2, 4, 6, 8]))


def test_a_tensor_and_an_array_of_the_same_contents_are_one_value() -> None:
    assert digest(torch.arange(3)) == digest(np.arange(3))
    assert digest(np.float64(0.5)) == digest(0.5)
    assert digest(namedtuple("Pair", "a b")(1, 2)) == digest([1, 2])


def test_true_is_not_one_and_shapes_count() -> None:
    assert len({digest(v) for v in (True, 1, 1.0, "1", b"1", None, [1], torch.tensor(1), torch.tensor([1]))}) == 9


def test_images_count_by_mode_and_pixels() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert digest(image) == digest(["L", np.arange(12, dtype=np.uint8).reshape(3, 4)])


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), {1: 2}, np.array(["a"]), np.array([1j]), torch.eye(2).to_sparse()],
    ids=["set", "object", "int key", "text", "complex", "sparse"],
)
def test_values_without_an_encoding_are_refused_by_their_path(value: Any) -> None:
    with pytest.raises(DatasetError) as error:
        digest([{"x": value}], "batch")
    assert str(error.value.name).startswith("batch[0]['x']")


# -- datasets --------------------------------------------------------------------------------------------------------


def test_rows_of_tensors_have_the_leaves_of_their_samples() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(60.0).reshape(10, 2, 3), torch.arange(10))
    secret = bytes(range(32))
    fast = dataset.leaves(data, secret)
    slow = [merkle.leaf(secret, i, hashing.encode(reference(data[i]))) for i in range(10)]
    assert fast == b"".join(slow)
    assert dataset.leaves(list(data), secret) == fast
    assert dataset.root(fast) == merkle.root(slow).hex()
    assert dataset.leaf(data, 3, secret) == slow[3]


@pytest.mark.parametrize(
    ("data", "words"), [([], "is empty"), (iter([1]), "has no length"), ({0: 1, 2: 1}, "sample 1: cannot be read")]
)
def test_datasets_that_cannot_be_read_are_refused(data: Any, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        dataset.leaves(data)


def test_augmentation_depends_on_seed_iteration_and_index_alone() -> None:
    from trainproof.recording.loader import SampleIndex

    made = [
        dataset.Augmented([0, 0], lambda sample, rng: float(rng.random()), seed)[SampleIndex(index, epoch)]
        for seed in (1, 2)
        for index in (0, 1)
        for epoch in (0, 1)
        for _ in (0, 1)
    ]
    assert made[::2] == made[1::2]
    assert len(set(made)) == 8
    loose = dataset.Augmented([0], lambda sample, rng: float(rng.random()))
    assert loose[0] != loose[0]
