"""The squared distance of two tensors, in one fixed order of additions: docs/hashing.md, section 8."""

import struct

BLOCK = 65536
LANES = 8


def values(dtype: str, data: bytes) -> list[float]:
    """The elements of a raw tensor as binary64."""
    if dtype == "float64":
        return [x for (x,) in struct.iter_unpack("<d", data)]
    if dtype == "float32":
        return [x for (x,) in struct.iter_unpack("<f", data)]
    if dtype == "float16":
        return [x for (x,) in struct.iter_unpack("<e", data)]
    if dtype == "bfloat16":
        # The upper half of a binary32.
        return [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data), 2)]
    raise ValueError(f"a tensor of dtype {dtype!r} has no distance")


def block_sum(a: list[float], b: list[float]) -> float:
    lanes = [0.0] * LANES
    for i in range(len(a)):
        difference = a[i] - b[i]
        lanes[i % LANES] += difference * difference
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))


def squared_distance(dtype: str, a: bytes, b: bytes) -> float:
    x, y = values(dtype, a), values(dtype, b)
    if len(x) != len(y):
        raise ValueError(f"tensors of {len(x)} and {len(y)} elements have no distance")
    result = 0.0
    for start in range(0, len(x), BLOCK):
        result += block_sum(x[start : start + BLOCK], y[start : start + BLOCK])
    return result
