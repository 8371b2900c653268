"""The slow twin of field, hash, trees and transcripts against fixed examples, which the Rust crates give too.

`permutation`, `extension` and `roots` of the fixture were printed by qp-plonky2 1.6.0 (crates/poseidon/golden); the
rest is the twin's. To write that anew for a new version, remove the skip mark and run `pytest -k regenerate` here.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainproof.reference import field, poseidon2
from trainproof.reference.field import P
from trainproof.reference.poseidon2 import Transcript

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "poseidon2_v1.json"
PROTOCOL = ROOT / "docs" / "protocol.md"

EDGES = [0, 1, P - 1, 2**32 - 1, 2**32, P - 2**32]
SECRET = bytes(range(32))
elements = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(FIXTURE.read_text())


def hexed(value: Any) -> Any:
    return [hexed(x) for x in value] if isinstance(value, list | tuple) else f"{value:016x}"


def ints(value: Any) -> Any:
    return [ints(x) for x in value] if isinstance(value, list) else int(value, 16)


def stream(name: str, count: int) -> list[int]:
    """Elements that look random, edges among them."""
    transcript = Transcript(name, [])
    return [EDGES[x % 6] if x % 5 == 0 else x for x in (transcript.challenge() for _ in range(count))]


def reference() -> dict[str, Any]:
    """All examples that are the twin's own."""
    tags = ["leaf", "saltleaf", "node", "stmt", "grind", "a", "!~!~!~!~"]
    sponge = []
    for length in [0, 1, 4, 7, 8, 9, 15, 16, 17, 30, 40]:
        row = stream("sponge", length)
        sponge.append(["leaf", hexed(row), hexed(poseidon2.digest("leaf", row))])
        sponge.append(["other", hexed(row), hexed(poseidon2.digest("other", row))])
    return {
        "tags": [[name, hexed(poseidon2.tag(name))] for name in tags],
        "sponge": sponge,
        "nodes": [
            [hexed(pair[:4]), hexed(pair[4:]), hexed(poseidon2.node(pair[:4], pair[4:]))]
            for pair in (stream(f"node{i}", 8) for i in range(3))
        ],
        "salts": [
            [SECRET.hex(), tree, index, hexed(poseidon2.derive_salt(SECRET, tree, index))]
            for tree, index in [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**32)]
        ],
        "trees": [tree(height, width, salted) for height, width, salted in TREES],
        "transcripts": [dialogue(script) for script in SCRIPTS],
        "extended": [
            [hexed(column), log_blowup, hexed(field.extend(column, log_blowup, field.GENERATOR))]
            for column, log_blowup in [(stream("column", 1), 1), (stream("column", 4), 2), (stream("column", 16), 1)]
        ],
    }


TREES = [(0, 3, False), (2, 8, True), (4, 5, False), (5, 1, True), (6, 12, False), (7, 9, True)]


def tree(height: int, width: int, salted: bool) -> dict[str, Any]:
    flat = stream(f"tree{height}", width << height)
    rows = [flat[i : i + width] for i in range(0, len(flat), width)]
    salts = [poseidon2.derive_salt(SECRET, height, i) if salted else None for i in range(len(rows))]
    leaves = [poseidon2.leaf(row, salt) for row, salt in zip(rows, salts, strict=True)]
    opened = sorted({0, 1, len(rows) // 3, len(rows) - 1} & set(range(len(rows))))
    return {
        "height": height,
        "width": width,
        "salted": salted,
        "matrix": hexed(flat),
        "cap": hexed(poseidon2.layers(leaves)[-1]),
        "leaves": [[i, hexed(leaves[i]), hexed(poseidon2.path(leaves, i))] for i in opened],
    }


Script = list[tuple[Any, ...]]
SCRIPTS: list[Script] = [
    [("challenge",)] * 9,
    [("absorb", "m", 4), *[("challenge",)] * 17, ("absorb", "m", 0), ("extension",), ("bits", 0), ("bits", 32)],
    [
        ("absorb", "six", 6),
        ("extension",),
        ("absorb", "five", 5),
        ("absorb", "twenty", 20),
        ("bits", 20),
        ("extensions", "round", 3),
        ("extension",),
        ("digests", "cap", 4),
        ("challenge",),
        ("bytes", "raw", ""),
        ("bytes", "raw", "00"),
        ("bytes", "raw", "0102030405"),
        ("bytes", "raw", "ffffffffffffffff"),
        ("grind", 6),
        ("challenge",),
        ("grind", 8),
        ("absorb", "three", 3),
        ("grind", 1),
        ("absorb", "last", 1),
        ("extension",),
    ],
]


def dialogue(script: Script) -> dict[str, Any]:
    """A transcript, every operation with what was said or answered."""
    statement = stream("stmt", 5 * len(script) % 11)
    transcript = Transcript("example", statement)
    said: list[Any] = []
    for at, (verb, *args) in enumerate(script):
        if verb == "absorb":
            message = stream(f"m{at}", args[1])
            transcript.absorb(args[0], message)
            said.append([verb, args[0], hexed(message)])
        elif verb == "extensions":
            flat = stream(f"m{at}", 2 * args[1])
            pairs = [(flat[i], flat[i + 1]) for i in range(0, len(flat), 2)]
            transcript.absorb_extensions(args[0], pairs)
            said.append([verb, args[0], hexed(pairs)])
        elif verb == "digests":
            flat = stream(f"m{at}", 4 * args[1])
            digests = [flat[i : i + 4] for i in range(0, len(flat), 4)]
            transcript.absorb_digests(args[0], digests)
            said.append([verb, args[0], hexed(digests)])
        elif verb == "bytes":
            transcript.absorb_bytes(args[0], bytes.fromhex(args[1]))
            said.append([verb, *args])
        elif verb == "challenge":
            said.append([verb, hexed(transcript.challenge())])
        elif verb == "extension":
            said.append([verb, hexed(transcript.challenge_extension())])
        elif verb == "bits":
            said.append([verb, args[0], transcript.challenge_bits(args[0])])
        else:
            said.append([verb, args[0], hexed(transcript.grind(args[0]))])
    return {"protocol": "example", "statement": hexed(statement), "said": said}


def test_permutation_is_that_of_qp_plonky2(golden):
    for before, after in golden["permutation"]:
        assert poseidon2.permute(ints(before)) == ints(after)


def test_extension_is_that_of_qp_plonky2(golden):
    for x, y, product, inverse in golden["extension"]:
        assert list(field.ext_mul(ints(x), ints(y))) == ints(product)
        assert list(field.ext_inverse(ints(x))) == ints(inverse)


def test_roots_of_unity_are_those_of_qp_plonky2(golden):
    assert [field.root_of_unity(log) for log in range(33)] == ints(golden["roots"])


def test_examples_are_those_of_version_1(golden):
    assert golden["version"] == 1
    actual = reference()
    assert {"version", "permutation", "extension", "roots", *actual} == golden.keys()
    for name, value in actual.items():
        assert golden[name] == value, f"{name}: a changed format needs a new version and a new fixture"


def test_protocol_states_these_constants():
    text = PROTOCOL.read_text().split("### 2.1")[1].split("### 2.2")[0]
    stated = [int(word, 16) for word in re.findall(r"\b[0-9a-f]{16}\b", text)]
    flat = [x for row in poseidon2.INITIAL for x in row] + poseidon2.INTERNAL
    assert stated == flat + [x for row in poseidon2.TERMINAL for x in row] + poseidon2.DIAGONAL


def test_every_constant_matters(golden):
    before, after = (ints(x) for x in golden["permutation"][-1])
    rows = [*poseidon2.INITIAL, poseidon2.INTERNAL, *poseidon2.TERMINAL, poseidon2.DIAGONAL]
    for row in rows:
        for i in range(len(row)):
            row[i] ^= 1
            changed = poseidon2.permute(before)
            row[i] ^= 1
            assert changed != after
    assert poseidon2.permute(before) == after
    assert sum(map(len, rows)) == 130


@given(st.tuples(elements, elements), st.tuples(elements, elements))
def test_extension_is_a_field(x, y):
    assert field.ext_mul(x, y) == field.ext_mul(y, x)
    assert field.ext_sub(field.ext_add(x, y), y) == x
    if x != (0, 0):
        assert field.ext_mul(field.ext_inverse(x), x) == (1, 0)


@pytest.mark.parametrize("value", [P, P + 1, 2**64 - 1])
def test_parse_rejects_a_second_encoding(value):
    with pytest.raises(ValueError, match="canonical"):
        field.parse(field.encode([5]) + value.to_bytes(8, "little"))


@given(st.lists(elements, max_size=9), st.integers(1, 7))
def test_parse_returns_what_was_encoded_and_rejects_a_cut(values, cut):
    data = field.encode(values)
    assert field.parse(data) == values
    with pytest.raises(ValueError, match="whole number"):
        field.parse(data + bytes(cut))


@settings(max_examples=20)
@given(st.data())
def test_path_verifies_for_its_leaf_only(data):
    height = data.draw(st.integers(0, 6))
    leaves = [[i, 0, 0, height] for i in range(2**height)]
    cap = poseidon2.layers(leaves)[-1]
    index, other = (data.draw(st.integers(0, 2**height - 1)) for _ in range(2))
    siblings = poseidon2.path(leaves, index)
    poseidon2.verify_path(cap, height, index, leaves[index], siblings)
    if other != index:
        with pytest.raises(ValueError, match="does not lead"):
            poseidon2.verify_path(cap, height, other, leaves[index], siblings)
    for hostile in [(cap[1:], siblings), (cap, [*siblings, cap[0]]), ([*cap, cap[0]], siblings)]:
        with pytest.raises(ValueError, match="the tree needs"):
            poseidon2.verify_path(hostile[0], height, index, leaves[index], hostile[1])


def test_nonce_without_work_is_rejected():
    transcript = Transcript("example", [])
    nonce = Transcript("example", []).grind(5)
    with pytest.raises(ValueError, match="work"):
        transcript.check_grinding(6, nonce + 1)


@pytest.mark.skip(reason="writes the fixture anew; only for a new version of the formats")
def test_regenerate(golden):
    fixed = {name: golden[name] for name in ("version", "permutation", "extension", "roots")}
    parts = [f"{json.dumps(name)}: {lines(value)}" for name, value in (fixed | reference()).items()]
    FIXTURE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def lines(value: Any) -> str:
    """Lists of lists with one item a line."""
    if isinstance(value, list) and any(isinstance(x, list | dict) for x in value):
        return "[\n" + ",\n".join(" " + json.dumps(x) for x in value) + "\n]"
    return json.dumps(value)
