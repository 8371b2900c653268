"""Digests of tensors, states and values: the extension equals its twin."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainproof import _core
from trainproof.reference import hashing

ALGORITHMS = ["blake3", "sha256"]
MIB = 1 << 20


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@st.composite
def tensors(draw: st.DrawFn) -> hashing.Tensor:
    dtype = draw(st.sampled_from(sorted(hashing.ITEM_SIZES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = hashing.ITEM_SIZES[dtype] * int(np.prod(shape, dtype=int))
    return hashing.Tensor(dtype, shape, draw(st.binary(min_size=size, max_size=size)))


def fast_digest(tensor: hashing.Tensor, algorithm: str = "blake3") -> bytes:
    return _core.tensor_digest(tensor.dtype, tensor.shape, array(tensor.data), algorithm)


@given(tensors(), st.sampled_from(ALGORITHMS))
def test_tensor_digest_equals_reference(tensor, algorithm):
    assert fast_digest(tensor, algorithm) == hashing.tensor_digest(tensor, algorithm)


@given(st.lists(tensors(), max_size=5), st.sampled_from(ALGORITHMS))
def test_tensor_digests_are_those_of_each(many, algorithm):
    fast = _core.tensor_digests([(t.dtype, t.shape, array(t.data)) for t in many], algorithm)
    assert fast == [hashing.tensor_digest(t, algorithm) for t in many]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [MIB - 1, MIB, 3 * MIB + 17])
def test_large_tensors_equal_reference(size, algorithm):
    data = np.random.default_rng(size).bytes(size)
    tensor = hashing.Tensor("uint8", (size,), data)
    expected = hashing.tensor_digest(tensor, algorithm)
    assert fast_digest(tensor, algorithm) == expected
    assert _core.tensor_digests([("uint8", (size,), array(data))] * 3, algorithm) == [expected] * 3


def test_a_negative_zero_is_not_a_zero():
    zeros = [np.array(x, dtype="<f4").tobytes() for x in (0.0, -0.0)]
    assert len({fast_digest(hashing.Tensor("float32", (), zero)) for zero in zeros}) == 2


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "algorithm", "message"),
    [
        ("float32", (2,), 7, "blake3", "tensor data has 7 bytes, dtype and shape need 8"),
        ("torch.float32", (2,), 8, "blake3", 'unknown dtype "torch.float32"'),
        ("float32", (2,), 8, "md5", 'unknown hash algorithm "md5"'),
        ("uint8", (2**63, 4), 0, "blake3", "2 dimensions"),
    ],
)
def test_rejects_tensors_without_digest(dtype, shape, size, algorithm, message):
    with pytest.raises(ValueError, match=message):
        _core.tensor_digest(dtype, shape, array(bytes(size)), algorithm)
    with pytest.raises(ValueError, match=message):
        _core.tensor_digests([(dtype, shape, array(bytes(size)))], algorithm)


def test_rejects_an_array_with_gaps():
    with pytest.raises(ValueError, match="not contiguous"):
        _core.tensor_digest("uint8", (2,), array(b"abcd")[::2])


@pytest.mark.parametrize("data", [np.zeros(4, dtype=np.float32), np.zeros((2, 2), dtype=np.uint8)])
def test_rejects_arrays_of_other_kinds(data):
    with pytest.raises(TypeError):
        _core.tensor_digest("uint8", (4,), data)


@given(st.dictionaries(st.text(), st.binary(min_size=32, max_size=32)), st.sampled_from(ALGORITHMS))
def test_state_root_equals_reference(state, algorithm):
    entries = list(state.items())
    expected = hashing.state_root(entries, algorithm)
    assert _core.state_root(entries, algorithm) == expected
    assert _core.state_root(entries[::-1], algorithm) == expected


def test_rejects_a_state_with_a_name_twice():
    entries = [("w", bytes(32)), ("v", bytes(32)), ("w", b"\1" * 32)]
    with pytest.raises(ValueError, match='the name "w" occurs more than once'):
        _core.state_root(entries)
    with pytest.raises(ValueError, match="more than once"):
        hashing.state_root(entries)


def test_rejects_a_state_with_a_short_digest():
    with pytest.raises(ValueError, match="a digest has 32 bytes, got 31"):
        _core.state_root([("w", bytes(31))])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | tensors(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(VALUES, st.integers(1, 40))
def test_hasher_does_not_depend_on_the_cut(value, step):
    encoding = hashing.encode(value)
    hasher = _core.Hasher(_core.VALUE_DOMAIN)
    for i, start in enumerate(range(0, len(encoding), step)):
        part = encoding[start : start + step]
        if i % 2:
            hasher.update(part)
        else:
            hasher.update_array(array(part))
    assert hasher.digest() == hashing.value_digest(value)


def test_hasher_of_large_arrays_equals_reference():
    data = np.random.default_rng(0).bytes(3 * MIB + 5)
    hasher = _core.Hasher(b"prefix")
    hasher.update_array(array(data))
    hasher.update(data)
    assert hasher.digest() == hashing.digest("blake3", b"prefix" + data + data)
    assert hasher.digest() == hasher.digest()


@given(VALUES, VALUES)
def test_different_values_have_different_encodings(a, b):
    # repr tells 1 from True and 1.0, and NaN equals itself; a tuple is a list in this format.
    assert (hashing.encode(a) == hashing.encode(b)) == (canonical(a) == canonical(b))


def canonical(value):
    if isinstance(value, hashing.Tensor):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{canonical(value[key])}" for key in sorted(value, key=str.encode)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return np.float64(value).tobytes().hex() + "f" if isinstance(value, float) else repr(value)


def test_values_of_other_types_have_no_encoding():
    with pytest.raises(TypeError, match="a set has no encoding"):
        hashing.encode({1})  # type: ignore[arg-type]


def large_digest() -> bytes:
    return _core.tensor_digest("uint8", (4 * MIB,), np.zeros(4 * MIB, dtype=np.uint8))


def send_large_digest(pipe) -> None:
    pipe.send(large_digest())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_hashes_in_parallel_too():
    expected = large_digest()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=send_large_digest, args=(sender,))
    child.start()
    try:
        assert receiver.poll(30), "the child waits for threads that it does not have"
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()


def test_many_threads_may_hash_at_once():
    expected = large_digest()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: large_digest(), range(32))) == {expected}
