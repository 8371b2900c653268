"""Digests of Python values as they cross the loader: samples and delivered batches (docs/hashing.md section 3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainproof import _core
from trainproof.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    import torch


def _u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def _text(value: str) -> bytes:
    data = value.encode()
    return _u64(len(data)) + data


def dtype_name(tensor: torch.Tensor) -> str:
    """Return torch's name of the dtype without ``torch.``."""
    return str(tensor.dtype).removeprefix("torch.")


def raw(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return the row-major bytes of a tensor as a uint8 array of shape (nbytes,); without a copy if it allows."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def tensor_header(dtype: str, shape: tuple[int, ...], nbytes: int) -> bytes:
    """Return what precedes a tensor's bytes in the value encoding."""
    return b"T" + _text(dtype) + _u64(len(shape)) + b"".join(_u64(n) for n in shape) + _u64(nbytes)


def chunks(value: Any, path: str = "sample") -> Iterator[Any]:
    """Yield the value encoding of ``value`` as bytes and uint8 arrays.

    Supported: None, bool, int, float, str, bytes, tensors, NumPy arrays and scalars, PIL images, and lists, tuples,
    named tuples and str-keyed dicts of them. Raises DatasetError naming the path of anything else.
    """
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized:
            raise DatasetError("sparse and quantized tensors are not supported", name=path, mend="use a dense tensor")
        data = raw(value)
        yield tensor_header(dtype_name(value), tuple(value.shape), data.size)
        yield data
    elif isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise DatasetError("only numeric arrays are supported", name=path, value=value.dtype)
        array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        yield tensor_header(str(value.dtype.newbyteorder("=")), value.shape, array.nbytes)
        yield array.reshape(-1).view(np.uint8)
    elif value is None:
        yield b"N"
    elif isinstance(value, (bool, np.bool_)):
        yield b"B" + bytes([bool(value)])
    elif isinstance(value, (int, np.integer)):
        yield b"I" + _text(str(int(value)))
    elif isinstance(value, (float, np.floating)):
        yield b"F" + struct.pack("<d", float(value))
    elif isinstance(value, str):
        yield b"S" + _text(value)
    elif isinstance(value, bytes):
        yield b"Y" + _u64(len(value)) + value
    elif isinstance(value, (list, tuple)):
        yield b"L" + _u64(len(value))
        for i, item in enumerate(value):
            yield from chunks(item, f"{path}[{i}]")
    elif isinstance(value, dict):
        yield b"D" + _u64(len(value))
        if not all(isinstance(key, str) for key in value):
            raise DatasetError("a dict must have str keys", name=path)
        for key in sorted(value, key=lambda k: k.encode()):
            yield _text(key)
            yield from chunks(value[key], f"{path}[{key!r}]")
    elif type(value).__module__.startswith("PIL."):
        yield b"L" + _u64(2)
        yield from chunks(value.mode)
        yield from chunks(np.asarray(value))
    else:
        raise DatasetError(
            f"a {type(value).__name__} cannot be hashed", name=path, mend="return tensors, arrays, numbers or strings"
        )


def payload(value: Any, path: str = "sample") -> bytes:
    """Return the whole value encoding of a sample as bytes."""
    return b"".join(c if isinstance(c, bytes) else c.tobytes() for c in chunks(value, path))


def digest(value: Any, path: str = "batch") -> str:
    """Return the value digest in hexadecimal."""
    hasher = _core.Hasher(b"trainproof.value.v1\0")
    for chunk in chunks(value, path):
        if isinstance(chunk, bytes):
            hasher.update(chunk)
        else:
            hasher.update_array(chunk)
    return hasher.digest().hex()
