"""Examples of every format, fixed for ever: the extension and its twin both give them.

A format that changes gets a new version and a new file. To write this one anew, remove the skip mark and run
`pytest tests/unit/core/test_golden.py -k regenerate`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainproof import _core
from trainproof.reference import fill, hashing, merkle, order
from trainproof.reference.stream import Stream

FIXTURE = Path(__file__).parents[2] / "fixtures" / "hashing_v1.json"

SEED = bytes(range(32))
SECRET = bytes(range(32, 64))
TENSORS = [
    hashing.Tensor("float32", (2, 3), np.arange(6, dtype="<f4").tobytes()),
    hashing.Tensor("bfloat16", (), b"\x80\x3f"),
    hashing.Tensor("int64", (0, 5), b""),
    hashing.Tensor("bool", (3,), b"\1\0\1"),
    hashing.Tensor("uint8", (70000,), bytes(i % 251 for i in range(70000))),
]
VALUE: hashing.Value = {
    "none": None,
    "truth": [True, False],
    "count": -(10**20),
    "rate": 0.1,
    "näme": "grün",
    "raw": b"\0\xff",
    "tensor": TENSORS[0],
    "empty": [[], {}],
}
FILLS = {"uniform": (-1.0, 1.0), "normal": (0.0, 1.0), "integers": (-10, 10), "bernoulli": (0.3,)}


def reference() -> dict[str, Any]:
    """All examples, by the twin."""
    stream = Stream("example", SEED, 1, 2)
    leaves = [merkle.leaf(SECRET, i, hashing.encode(i)) for i in range(7)]
    return {
        "version": 1,
        "tensor_digests": {a: [hashing.tensor_digest(t, a).hex() for t in TENSORS] for a in ("blake3", "sha256")},
        "state_root": {a: hashing.state_root(named(a), a).hex() for a in ("blake3", "sha256")},
        "value_encoding": hashing.encode(VALUE).hex(),
        "value_digest": hashing.value_digest(VALUE).hex(),
        "salt": merkle.salt(SECRET, 3).hex(),
        "leaves": [leaf.hex() for leaf in leaves],
        "root": merkle.root(leaves).hex(),
        "paths": [[sibling.hex() for sibling in merkle.path(leaves, i)] for i in range(7)],
        "words": [str(stream.word()) for _ in range(10)],
        "order": order.permutation(SEED, 5, 20),
        "fills": {name: [text(x) for x in getattr(fill, name)(SEED, 4, 12, *args)] for name, args in FILLS.items()},
    }


def fast() -> dict[str, Any]:
    """The same by the extension; the value encoding has no second implementation here."""
    encode = hashing.encode
    leaves = b"".join(_core.leaf(SECRET, i, encode(i)) for i in range(7))
    hasher = _core.Hasher(_core.VALUE_DOMAIN)
    hasher.update(encode(VALUE))
    arrays = [(t.dtype, t.shape, np.frombuffer(t.data, dtype=np.uint8)) for t in TENSORS]
    return {
        "version": 1,
        "tensor_digests": {a: [d.hex() for d in _core.tensor_digests(arrays, a)] for a in ("blake3", "sha256")},
        "state_root": {a: _core.state_root(named(a), a).hex() for a in ("blake3", "sha256")},
        "value_encoding": encode(VALUE).hex(),
        "value_digest": hasher.digest().hex(),
        "salt": _core.salt(SECRET, 3).hex(),
        "leaves": split(leaves),
        "root": _core.merkle_root(leaves).hex(),
        "paths": [split(_core.merkle_path(leaves, i)) for i in range(7)],
        "words": [str(x) for x in _core.stream_words("example", SEED, 1, 2, 10).tolist()],
        "order": _core.permutation(SEED, 5, 20).tolist(),
        "fills": {
            name: [text(x) for x in getattr(_core, f"fill_{name}")(SEED, 4, 12, *args).tolist()]
            for name, args in FILLS.items()
        },
    }


def named(algorithm: str) -> list[tuple[str, bytes]]:
    return [(f"layer.{i}", hashing.tensor_digest(t, algorithm)) for i, t in enumerate(TENSORS)]


def split(digests: bytes) -> list[str]:
    return [digests[i : i + 32].hex() for i in range(0, len(digests), 32)]


def text(x: float | int) -> str:
    return x.hex() if isinstance(x, float) else str(x)


@pytest.mark.parametrize("implementation", [reference, fast])
def test_examples_are_those_of_version_1(implementation):
    expected = json.loads(FIXTURE.read_text())
    actual = implementation()
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name] == expected[name], f"{name}: a changed format needs a new version and a new fixture"


@pytest.mark.skip(reason="writes the fixture anew; only for a new version of the formats")
def test_regenerate():
    FIXTURE.write_text(json.dumps(reference(), indent=1) + "\n")
