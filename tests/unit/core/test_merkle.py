"""Leaves and trees of datasets: the extension equals its twin, and refuses every path but the right one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainproof import _core
from trainproof.reference import merkle

SECRETS = st.binary(min_size=32, max_size=32)
INDICES = st.integers(0, 2**64 - 1)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf(bytes(32), i, b"") for i in range(count)]


def split(path: bytes) -> list[bytes]:
    return [path[i : i + 32] for i in range(0, len(path), 32)]


@given(SECRETS, INDICES, st.binary())
def test_salt_and_leaf_equal_reference(secret, index, payload):
    assert _core.salt(secret, index) == merkle.salt(secret, index)
    assert _core.leaf(secret, index, payload) == merkle.leaf(secret, index, payload)


def test_a_large_leaf_equals_reference():
    payload = bytes(range(256)) * 9000
    assert _core.leaf(bytes(32), 7, payload) == merkle.leaf(bytes(32), 7, payload)


@given(
    SECRETS,
    st.integers(0, 2**63),
    st.binary(max_size=5),
    st.integers(0, 20),
    st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 9)), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_rows_equal_leaves_one_by_one(secret, first, prefix, rows, columns, random):
    tables = [
        np.frombuffer(random.randbytes(rows * width), dtype=np.uint8).reshape(rows, width) for _, width in columns
    ]
    fields = [(field_prefix, table) for (field_prefix, _), table in zip(columns, tables, strict=True)]
    expected = [
        merkle.leaf(secret, first + i, prefix + b"".join(p + table[i].tobytes() for p, table in fields))
        for i in range(rows)
    ]
    assert _core.leaves_rows(secret, first, prefix, fields) == b"".join(expected)


def test_many_rows_equal_leaves_one_by_one():
    table = np.random.default_rng(0).integers(0, 256, (2000, 784), dtype=np.uint8)
    fast = split(_core.leaves_rows(bytes(32), 5, b"p", [(b"q", table)]))
    assert fast == [merkle.leaf(bytes(32), 5 + i, b"pq" + row.tobytes()) for i, row in enumerate(table)]


@pytest.mark.parametrize(
    ("secret", "first", "fields", "message"),
    [
        (31, 0, [(3, 2)], "the secret must have 32 bytes, got 31"),
        (32, 0, [], "at least one field is needed"),
        (32, 0, [(3, 2), (4, 2)], "field 1 has 4 rows, field 0 has 3"),
        (32, 2**64 - 2, [(3, 2)], "3 rows from index 18446744073709551614 pass the last 64-bit index"),
    ],
)
def test_rejects_rows_without_leaves(secret, first, fields, message):
    tables = [(b"", np.zeros(shape, dtype=np.uint8)) for shape in fields]
    with pytest.raises(ValueError, match=message):
        _core.leaves_rows(bytes(secret), first, b"", tables)


def test_rejects_column_major_rows():
    with pytest.raises(ValueError, match="not row-major contiguous"):
        _core.leaves_rows(bytes(32), 0, b"", [(b"", np.zeros((3, 2), dtype=np.uint8, order="F"))])


@pytest.mark.parametrize("call", [lambda s: _core.salt(s, 0), lambda s: _core.leaf(s, 0, b"")])
def test_rejects_a_short_secret(call):
    with pytest.raises(ValueError, match="the secret must have 32 bytes, got 3"):
        call(b"key")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33])
def test_roots_and_paths_equal_reference(count):
    digests = leaves(count)
    joined = b"".join(digests)
    root = _core.merkle_root(joined)
    assert root == merkle.root(digests)
    for i in range(count):
        path = _core.merkle_path(joined, i)
        assert split(path) == merkle.path(digests, i)
        assert _core.merkle_verify(root, count, i, digests[i], path)
        assert merkle.verify(root, count, i, digests[i], split(path))


def test_a_large_tree_equals_reference():
    digests = leaves(40_000)
    joined = b"".join(digests)
    assert _core.merkle_root(joined) == merkle.root(digests)
    assert split(_core.merkle_path(joined, 39_999)) == merkle.path(digests, 39_999)


@st.composite
def proofs(draw):
    count = draw(st.integers(1, 40))
    index = draw(st.integers(0, count - 1))
    digests = leaves(count)
    return [merkle.root(digests), count, index, digests[index], b"".join(merkle.path(digests, index))]


@given(proofs(), st.data())
def test_rejects_a_proof_with_one_part_changed(proof, data):
    part = data.draw(st.integers(0, 4))
    changed = list(proof)
    if isinstance(proof[part], int):
        changed[part] = data.draw(st.integers(0, 70) | INDICES)
    else:
        changed[part] = data.draw(
            st.sampled_from([proof[part][:-32], proof[part][:-1], proof[part] + bytes(32)])
            | st.binary(min_size=len(proof[part]), max_size=len(proof[part]))
        )
    assert _core.merkle_verify(*changed) == (changed == proof)
    if len(changed[4]) % 32 == 0:
        *head, path = changed
        assert merkle.verify(*head, split(path)) == (changed == proof)


def test_rejects_paths_of_wrong_length():
    digests = leaves(5)
    root, joined = merkle.root(digests), b"".join(digests)
    path = _core.merkle_path(joined, 1)
    for wrong in (b"", path[32:], path[:-32], path + bytes(32), path[:-1], bytes(32 * 100)):
        assert not _core.merkle_verify(root, 5, 1, digests[1], wrong)


def test_rejects_a_node_that_stands_for_a_leaf():
    digests = leaves(4)
    inner = merkle.node(digests[0], digests[1])
    path = merkle.node(digests[2], digests[3])
    assert merkle.seal(2, merkle.node(inner, path)) != merkle.root(digests)
    assert not _core.merkle_verify(merkle.root(digests), 4, 0, inner, path)
    assert not _core.merkle_verify(merkle.root(digests), 2, 0, inner, path)


def test_rejects_an_index_outside_the_tree():
    digests = leaves(5)
    root, joined = merkle.root(digests), b"".join(digests)
    assert not _core.merkle_verify(root, 5, 5, digests[4], _core.merkle_path(joined, 4))
    with pytest.raises(ValueError, match="leaf 5 of a tree of 5"):
        _core.merkle_path(joined, 5)
    with pytest.raises(ValueError, match="leaf 5 of a tree of 5"):
        merkle.path(digests, 5)


def test_rejects_trees_without_leaves_or_with_a_cut_one():
    for call in (_core.merkle_root, lambda joined: _core.merkle_path(joined, 0)):
        with pytest.raises(ValueError, match="a tree needs at least one leaf"):
            call(b"")
        with pytest.raises(ValueError, match="33 bytes are not a whole number of leaves of 32 bytes"):
            call(bytes(33))
    with pytest.raises(ValueError, match="at least one leaf"):
        merkle.root([])
    assert not _core.merkle_verify(bytes(32), 0, 0, bytes(32), b"")
