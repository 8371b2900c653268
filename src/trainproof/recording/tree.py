"""Python values to and from the record's typed trees; tensors go aside, by name.

Only plain data has a tree: str, int, float, bool, None, list, tuple, dict and tensors. Anything else is refused by its
path, so that no state is silently left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainproof import limits
from trainproof.errors import RecordError, UnsupportedError
from trainproof.recording.format import (
    Boolean,
    Integer,
    Leaf,
    Mapping,
    Null,
    Real,
    Sequence,
    TensorRef,
    Tree,
)

if TYPE_CHECKING:
    import torch


def hexfloat(value: float) -> str:
    """Return ``value`` as C99 hexadecimal ('nan' for every NaN): exact, and one spelling a value."""
    return float(value).hex()


def to_tree(value: Any, path: str, tensors: dict[str, torch.Tensor] | None = None) -> Tree:
    """Return the tree of ``value``; tensors are put into ``tensors`` under their path and referred to by it.

    Raises UnsupportedError naming the path of the first value that has no tree.
    """
    import torch

    if value is None:
        return Null()
    if isinstance(value, torch.Tensor):
        if tensors is None:
            raise UnsupportedError("a tensor is not supported here", name=path, mend="use a plain number")
        tensors[path] = value.detach()
        return TensorRef(v=path)
    if isinstance(value, bool):
        return Boolean(v=value)
    if isinstance(value, int):
        return Integer(v=str(int(value)))
    if isinstance(value, float):
        return Real(v=hexfloat(value))
    if isinstance(value, str):
        return Leaf(v=str(value))
    if isinstance(value, (list, tuple)):
        items = [to_tree(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
        return Sequence(tuple=isinstance(value, tuple), v=items)
    if isinstance(value, dict):
        return Mapping(v=[(to_tree(k, path), to_tree(v, f"{path}/{k}", tensors)) for k, v in value.items()])
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy scalar
        return to_tree(value.item(), path, tensors)
    raise UnsupportedError(
        f"a {type(value).__name__} cannot be recorded",
        name=path,
        mend="keep only numbers, strings, lists, dicts and tensors in recorded state",
    )


def from_tree(tree: Tree, tensors: dict[str, torch.Tensor] | None = None, depth: int = 0) -> Any:
    """Return the value of ``tree``. Raises RecordError for a missing tensor, an unhashable key or too deep nesting."""
    if depth > limits.TREE_DEPTH:
        raise RecordError(f"nested deeper than {limits.TREE_DEPTH}", name="tree")
    match tree:
        case Null():
            return None
        case TensorRef(v=name):
            if tensors is None or name not in tensors:
                raise RecordError("refers to a tensor that the state does not have", name=name)
            return tensors[name]
        case Integer(v=text):
            return int(text)
        case Real(v=text):
            return float.fromhex(text)
        case Boolean(v=value) | Leaf(v=value):
            return value
        case Sequence(tuple=is_tuple, v=items):
            values = [from_tree(item, tensors, depth + 1) for item in items]
            return tuple(values) if is_tuple else values
        case Mapping(v=items):
            result = {}
            for key, item in items:
                if isinstance(key, (Sequence, Mapping, TensorRef)):
                    raise RecordError("a key must be a plain value", name="tree")
                result[from_tree(key)] = from_tree(item, tensors, depth + 1)
            return result
    raise RecordError("unknown kind of node", name="tree")


def lookup(tree: Tree, *keys: str) -> Tree:
    """Return the node under string ``keys`` of nested mappings. Raises RecordError if there is none."""
    for wanted in keys:
        items = tree.v if isinstance(tree, Mapping) else []
        found = [value for key, value in items if isinstance(key, Leaf) and key.v == wanted]
        if len(found) != 1:
            raise RecordError("is missing from a state", name="/".join(keys))
        tree = found[0]
    return tree
