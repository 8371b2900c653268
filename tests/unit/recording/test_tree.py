"""Values to trees and back: exactly, or not at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import RecordError, UnsupportedError
from trainproof.recording.format import Mapping, Part, TensorRef, Tree
from trainproof.recording.tree import from_tree, hexfloat, lookup, to_tree

LEAVES = st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats() | st.text(max_size=20)
KEYS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


class Holder(Part, frozen=True):
    tree: Tree


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal in type, order and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a.hex() == b.hex()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@given(VALUES)
def test_a_value_comes_back_through_canonical_json(value: Any) -> None:
    data = canonical.encode(Holder(tree=to_tree(value, "value")))
    assert same(from_tree(canonical.decode(data, Holder, "tree").tree), value)


def test_tensors_go_aside_under_their_path() -> None:
    tensors: dict[str, torch.Tensor] = {}
    value = {"state": [{"step": torch.tensor(3.0), "big": [torch.ones(2)]}]}
    tree = to_tree(value, "optimizer", tensors)
    assert sorted(tensors) == ["optimizer/state/0/big/0", "optimizer/state/0/step"]
    back = from_tree(tree, tensors)
    assert back["state"][0]["step"] is tensors["optimizer/state/0/step"]


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(3), np.bool_(True)])
def test_numpy_scalars_become_plain(value: Any) -> None:
    assert from_tree(to_tree(value, "value")) == value.item()


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), np.zeros(3), lambda: None, 1j])
def test_anything_else_is_refused_by_its_path(value: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"options/0/here: a .* cannot be recorded") as error:
        to_tree([{"here": value}], "options")
    assert error.value.name == "options/0/here"


def test_a_tensor_where_only_plain_values_belong_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="lr: a tensor is not supported here"):
        to_tree({"lr": torch.tensor(0.1)}, "group")


def test_a_missing_tensor_is_refused() -> None:
    with pytest.raises(RecordError, match="refers to a tensor that the state does not have"):
        from_tree(TensorRef(v="model/x"), {})


def test_a_key_that_is_no_plain_value_is_refused() -> None:
    tree = Mapping(v=[(to_tree([1], ""), to_tree(2, ""))])
    with pytest.raises(RecordError, match="a key must be a plain value"):
        from_tree(tree)


def test_nesting_is_bounded() -> None:
    value: Any = 1
    for _ in range(limits.TREE_DEPTH + 2):
        value = [value]
    with pytest.raises((RecordError, ValueError), match="nested deeper"):
        from_tree(to_tree(value, "value"))


def test_lookup_finds_one_and_says_what_is_missing() -> None:
    tree = to_tree({"loader": {"iteration": 3}}, "state")
    assert from_tree(lookup(tree, "loader", "iteration")) == 3
    with pytest.raises(RecordError, match="loader/position: is missing from a state"):
        lookup(tree, "loader", "position")
    twice = Mapping(v=[*tree.v, *tree.v]) if isinstance(tree, Mapping) else tree
    with pytest.raises(RecordError, match="is missing"):
        lookup(twice, "loader")


def test_every_nan_has_one_spelling_and_zeros_keep_their_sign() -> None:
    assert hexfloat(float("nan")) == hexfloat(-math.nan) == "nan"
    assert hexfloat(-0.0) == "-0x0.0p+0"
    assert math.copysign(1, from_tree(to_tree(-0.0, ""))) == -1
