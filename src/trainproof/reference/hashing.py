"""Digests of tensors, states and values: docs/hashing.md, sections 1 to 3."""

import hashlib
import struct
from typing import NamedTuple

from blake3 import blake3

ITEM_SIZES = {
    **dict.fromkeys(["bool", "uint8", "int8"], 1),
    **dict.fromkeys(["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"], 1),
    "float4_e2m1fn_x2": 1,
    **dict.fromkeys(["uint16", "int16", "float16", "bfloat16"], 2),
    **dict.fromkeys(["uint32", "int32", "float32", "complex32"], 4),
    **dict.fromkeys(["uint64", "int64", "float64", "complex64"], 8),
    "complex128": 16,
}


class Tensor(NamedTuple):
    """A tensor as the formats see it: torch's dtype without "torch.", and row-major little-endian elements."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Value = None | bool | int | float | str | bytes | Tensor | list["Value"] | tuple["Value", ...] | dict[str, "Value"]


def u64(x: int) -> bytes:
    return struct.pack("<Q", x)


def sized(b: bytes) -> bytes:
    return u64(len(b)) + b


def digest(algorithm: str, message: bytes) -> bytes:
    if algorithm == "blake3":
        return blake3(message).digest()
    if algorithm == "sha256":
        return hashlib.sha256(message).digest()
    raise ValueError(f"unknown hash algorithm {algorithm!r}")


def tensor_header(tensor: Tensor) -> bytes:
    """What the value encoding and the digest of a tensor share: dtype and shape."""
    header = sized(tensor.dtype.encode()) + u64(len(tensor.shape))
    for dim in tensor.shape:
        header += u64(dim)
    return header


def tensor_digest(tensor: Tensor, algorithm: str = "blake3") -> bytes:
    if tensor.dtype not in ITEM_SIZES:
        raise ValueError(f"unknown dtype {tensor.dtype!r}")
    expected = ITEM_SIZES[tensor.dtype]
    for dim in tensor.shape:
        expected *= dim
    if len(tensor.data) != expected:
        raise ValueError(f"tensor data has {len(tensor.data)} bytes, dtype and shape need {expected}")
    return digest(algorithm, b"trainproof.tensor.v1\0" + tensor_header(tensor) + tensor.data)


def state_root(entries: list[tuple[str, bytes]], algorithm: str = "blake3") -> bytes:
    by_name = sorted((name.encode(), entry) for name, entry in entries)
    if len({name for name, _ in by_name}) != len(by_name):
        raise ValueError("a name occurs more than once")
    message = b"trainproof.state.v1\0" + u64(len(by_name))
    for name, entry in by_name:
        message += sized(name) + entry
    return digest(algorithm, message)


def encode(value: Value) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"B\1" if value else b"B\0"
    if isinstance(value, int):
        return b"I" + sized(str(value).encode())
    if isinstance(value, float):
        return b"F" + struct.pack("<d", value)
    if isinstance(value, str):
        return b"S" + sized(value.encode())
    if isinstance(value, bytes):
        return b"Y" + sized(value)
    if isinstance(value, Tensor):
        return b"T" + tensor_header(value) + sized(value.data)
    if isinstance(value, dict):
        items = sorted(((key.encode(), item) for key, item in value.items()), key=lambda pair: pair[0])
        return b"D" + u64(len(items)) + b"".join(sized(key) + encode(item) for key, item in items)
    if isinstance(value, (list, tuple)):
        return b"L" + u64(len(value)) + b"".join(encode(item) for item in value)
    raise TypeError(f"a {type(value).__name__} has no encoding")


def value_digest(value: Value) -> bytes:
    return digest("blake3", b"trainproof.value.v1\0" + encode(value))
