"""The compiled half of trainproof. Formats are in docs/hashing.md; `help()` of each name says more."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypeAlias, TypedDict, final, overload

import numpy as np
from numpy.typing import NDArray

# One-dimensional or, where it says so, two-dimensional; contiguous.
_Bytes: TypeAlias = NDArray[np.uint8]
_Real: TypeAlias = NDArray[np.float64] | NDArray[np.float32]
_Number: TypeAlias = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.float32]

__all__ = [
    "VALUE_DOMAIN",
    "Hasher",
    "__version__",
    "build_info",
    "copy_digests",
    "fill_bernoulli",
    "fill_integers",
    "fill_normal",
    "fill_uniform",
    "leaf",
    "leaves_rows",
    "merkle_path",
    "merkle_root",
    "merkle_verify",
    "permutation",
    "salt",
    "squared_distance",
    "state_root",
    "stream_below",
    "stream_words",
    "tensor_digest",
    "tensor_digests",
    "write_file",
]

class _BuildInfo(TypedDict):
    version: str
    target: str
    features: list[str]

__version__: str
VALUE_DOMAIN: bytes

@final
class Hasher:
    def __new__(cls, prefix: bytes) -> Hasher: ...
    def update(self, /, data: bytes) -> None: ...
    def update_array(self, /, data: _Bytes) -> None: ...
    def digest(self, /) -> bytes: ...

# Sections 1 and 2.
def tensor_digest(dtype: str, shape: Sequence[int], data: _Bytes, algorithm: str = "blake3") -> bytes: ...
def tensor_digests(tensors: Sequence[tuple[str, Sequence[int], _Bytes]], algorithm: str = "blake3") -> list[bytes]: ...
def copy_digests(
    tensors: Sequence[tuple[str, Sequence[int], _Bytes, _Bytes]], algorithm: str = "blake3"
) -> list[bytes]: ...
def state_root(entries: Sequence[tuple[str, bytes]], algorithm: str = "blake3") -> bytes: ...
def squared_distance(dtype: str, a: _Bytes, b: _Bytes) -> float: ...

# Section 4.
def salt(secret: bytes, index: int) -> bytes: ...
def leaf(secret: bytes, index: int, payload: bytes) -> bytes: ...
def leaves_rows(secret: bytes, first: int, prefix: bytes, fields: Sequence[tuple[bytes, _Bytes]]) -> bytes: ...
def merkle_root(leaves: bytes) -> bytes: ...
def merkle_path(leaves: bytes, index: int) -> bytes: ...
def merkle_verify(root: bytes, count: int, index: int, leaf: bytes, path: bytes) -> bool: ...

# Sections 5 and 6.
def stream_words(label: str, seed: bytes, a: int, b: int, count: int) -> NDArray[np.uint64]: ...
def stream_below(label: str, seed: bytes, a: int, b: int, n: int, count: int) -> NDArray[np.uint64]: ...
def permutation(seed: bytes, epoch: int, n: int) -> NDArray[np.int64]: ...

# Section 7.
@overload
def fill_uniform(
    seed: bytes, counter: int, count: int, lo: float, hi: float, dtype: Literal["float64"] = "float64"
) -> NDArray[np.float64]: ...
@overload
def fill_uniform(
    seed: bytes, counter: int, count: int, lo: float, hi: float, dtype: Literal["float32"]
) -> NDArray[np.float32]: ...
@overload
def fill_uniform(seed: bytes, counter: int, count: int, lo: float, hi: float, dtype: str = "float64") -> _Real: ...
@overload
def fill_normal(
    seed: bytes, counter: int, count: int, mean: float, std: float, dtype: Literal["float64"] = "float64"
) -> NDArray[np.float64]: ...
@overload
def fill_normal(
    seed: bytes, counter: int, count: int, mean: float, std: float, dtype: Literal["float32"]
) -> NDArray[np.float32]: ...
@overload
def fill_normal(seed: bytes, counter: int, count: int, mean: float, std: float, dtype: str = "float64") -> _Real: ...
@overload
def fill_integers(
    seed: bytes, counter: int, count: int, lo: int, hi: int, dtype: Literal["int64"] = "int64"
) -> NDArray[np.int64]: ...
@overload
def fill_integers(seed: bytes, counter: int, count: int, lo: int, hi: int, dtype: str = "int64") -> _Number: ...
@overload
def fill_bernoulli(
    seed: bytes, counter: int, count: int, p: float, dtype: Literal["int64"] = "int64"
) -> NDArray[np.int64]: ...
@overload
def fill_bernoulli(seed: bytes, counter: int, count: int, p: float, dtype: str = "int64") -> _Number: ...
def write_file(path: str | PathLike[str], chunks: Sequence[bytes | _Bytes], threads: int = 1) -> int: ...
def build_info() -> _BuildInfo: ...
