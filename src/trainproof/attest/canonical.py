"""RFC 8785 canonical JSON, and strict decoding of it into typed records.

A decoder that only knows the type is not enough: msgspec keeps the last of two equal keys and passes trailing space. So
a record is decoded, encoded again, and compared with what was read: one value has exactly one encoding.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import rfc8785

from trainproof.errors import LimitError, RecordError

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder(order="sorted")
# Where the fast encoder's spelling may differ from RFC 8785: integers beyond 2**53, floats, and keys outside the basic
# plane, which are sorted by UTF-16 units. The same characters within a string only cost the slow path.
_UNUSUAL = re.compile(rb"(?:^|[:\[,])-?(?:[0-9]{16}|[0-9]+[.eE])|[\xf0-\xf4]")


def encode(value: Any) -> bytes:
    """Return the canonical JSON of ``value``: structs, dicts with str keys, lists, str, int < 2**53, bool, None.

    msgspec does it where it spells as RFC 8785 says; ``encode_slow`` is the definition, and does the rest.
    """
    try:
        data = _ENCODER.encode(value)
    except UnicodeEncodeError:
        return encode_slow(value)
    return encode_slow(value) if _UNUSUAL.search(data) else data


def encode_slow(value: Any) -> bytes:
    """Return what ``encode`` returns, by rfc8785 alone. Raises its CanonicalizationError for what has no spelling."""
    return rfc8785.dumps(msgspec.to_builtins(value))


def decode(data: bytes, kind: type[T], name: str) -> T:
    """Decode canonical JSON into ``kind``; ``name`` is what errors call it.

    Raises RecordError if it is not JSON, not of this type, has an unknown or duplicate field, or is not canonical.
    """
    try:
        value = msgspec.json.decode(data, type=kind)
        again = encode(value)
    except (msgspec.MsgspecError, rfc8785.CanonicalizationError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"not a valid {getattr(kind, '__name__', 'value')}: {error}", name=name) from None
    if again != data:
        raise RecordError("not canonical JSON (RFC 8785): duplicate keys, spaces, or another spelling", name=name)
    return value


def read_bytes(path: Path, limit: int, name: str | None = None) -> bytes:
    """Read a regular file of at most ``limit`` bytes; the size is looked at before anything is read.

    Raises RecordError if it is missing or not a regular file, LimitError if it is too large.
    """
    name = name or path.name
    try:
        if not path.is_file() or path.is_symlink():
            raise RecordError("missing, or not a regular file", name=name)
        size = path.stat().st_size
        if size > limit:
            raise LimitError(f"larger than the limit of {limit} bytes", name=name, value=size)
        with path.open("rb") as file:
            data = file.read(size + 1)  # not limit + 1: so much would be allocated at once
    except OSError as error:
        raise RecordError(f"cannot be read: {error.strerror or error}", name=name) from None
    if len(data) != size:
        raise RecordError("changed while it was read", name=name)
    return data
