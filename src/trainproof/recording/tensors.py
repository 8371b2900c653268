"""The files in ``states/``: safetensors, with exactly one header for a manifest (docs/record.md section 3.4).

A reader that took any header would leave room in it, outside every digest, and would hand what a stranger wrote to a
parser. So the header that must be there is made from the manifest, and compared byte by byte.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof import limits
from trainproof.errors import LimitError, RecordError
from trainproof.recording.format import StateManifest
from trainproof.recording.values import raw

if TYPE_CHECKING:
    import numpy as np
    import torch

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


# Name, dtype by torch's name, shape: all that a file's layout depends on.
Layout = list[tuple[str, str, list[int]]]


def safetensors_header(manifest: StateManifest) -> bytes:
    """Return the header of a safetensors file that holds the manifest's tensors in order, data following at once.

    Raises RecordError for a dtype that safetensors does not have.
    """
    return _header((e.name, e.dtype, e.shape) for e in manifest.tensors)


def _header(layout: Iterable[tuple[str, str, list[int]]]) -> bytes:
    header: dict[str, Any] = {}
    offset = 0
    for name, dtype, shape in layout:
        if dtype not in _DTYPES:
            raise RecordError("cannot be stored", name=name, value=dtype, mend="use a standard dtype")
        size = nbytes(dtype, shape)
        header[name] = {"dtype": _DTYPES[dtype], "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data


def storable(dtype: str) -> bool:
    """Return whether safetensors has this dtype."""
    return dtype in _DTYPES


class Arena:
    """Memory for the tensors of one state, laid out as their file: the disk takes it from there, without a copy.

    ``layout`` is in the manifest's order. A tensor that the file puts at no multiple of its element size has memory of
    its own, which ``file`` copies in.
    """

    def __init__(self, layout: Layout) -> None:
        import torch

        header = _header(layout)
        total = len(header) + sum(nbytes(dtype, shape) for _, dtype, shape in layout)
        # Populated at once: all of it will be written, and page by page would cost more.
        memory = mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        self.layout = layout
        self.tensors: dict[str, torch.Tensor] = {}
        self._bytes = torch.frombuffer(memory, dtype=torch.uint8)
        self._bytes[: len(header)] = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        self._apart: list[tuple[str, int]] = []
        offset = len(header)
        for name, dtype, shape in layout:
            size = nbytes(dtype, shape)
            if offset % itemsize(dtype):
                self._apart.append((name, offset))
                self.tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            else:
                self.tensors[name] = self._bytes[offset : offset + size].view(getattr(torch, dtype)).view(shape)
            offset += size

    def file(self) -> np.ndarray[Any, Any]:
        """Return the bytes of the file, in place."""
        data = self._bytes.numpy()
        for name, offset in self._apart:
            source = raw(self.tensors[name])
            data[offset : offset + source.size] = source
        return data


def itemsize(dtype: str) -> int:
    """Return the bytes of one element of a dtype that a record may hold."""
    return {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}.get(_DTYPES[dtype], 1)


def nbytes(dtype: str, shape: list[int]) -> int:
    """Return the bytes of a tensor."""
    return itemsize(dtype) * math.prod(shape)


def load_tensors(path: Path, manifest: StateManifest, prefix: str = "") -> dict[str, torch.Tensor]:
    """Load the tensors of a state whose names start with ``prefix``: row-major, on the CPU, contents not yet hashed.

    Raises RecordError or LimitError, before anything is loaded, if the file is not exactly one of the manifest's
    tensors, in its order.
    """
    from safetensors import SafetensorError, safe_open

    name = f"{path.parent.name}/{path.name}"
    if not path.is_file() or path.is_symlink():
        raise RecordError("missing, or not a regular file", name=name)
    size = path.stat().st_size
    if size > limits.STATE_BYTES:
        raise LimitError(f"larger than the limit of {limits.STATE_BYTES} bytes", name=name, value=size)
    header = safetensors_header(manifest)
    if len(header) > limits.STATE_HEADER_BYTES:
        raise LimitError(f"header beyond {limits.STATE_HEADER_BYTES} bytes", name=name, value=len(header))
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise RecordError("its header does not list the manifest's tensors, and nothing else", name=name)
    expected = len(header) + sum(nbytes(entry.dtype, entry.shape) for entry in manifest.tensors)
    if size != expected:
        raise RecordError(f"must have {expected} bytes", name=name, value=size)
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {e.name: file.get_tensor(e.name) for e in manifest.tensors if e.name.startswith(prefix)}
    except (SafetensorError, OSError, ValueError) as error:
        raise RecordError(f"not a readable safetensors file: {error}", name=name) from None
