"""Canonical JSON: one value, one encoding; sizes are looked at before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import LimitError, RecordError
from trainproof.recording.format import ClosureFile, Mapping, PublicKey, Real, Sequence, Tree

FILE = ClosureFile(module="__main__", size=3, digest="0" * 64)
ENCODED = canonical.encode(FILE)


def test_encoding_is_sorted_and_without_spaces() -> None:
    assert ENCODED == b'{"digest":"' + b"0" * 64 + b'","module":"__main__","size":3}'
    assert canonical.decode(ENCODED, ClosureFile, "file") == FILE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a valid"),
        (b"null", "not a valid"),
        (b"{", "not a valid"),
        (ENCODED[:-1], "not a valid"),
        (ENCODED + b" ", "canonical"),
        (ENCODED + b"{}", "not a valid"),
        (b"\xef\xbb\xbf" + ENCODED, "not a valid"),
        (ENCODED.replace(b"3", b"3.0"), "canonical|not a valid"),
        (ENCODED.replace(b"3", b"03"), "not a valid"),
        (ENCODED.replace(b"3", b"3e0"), "canonical|not a valid"),
        (ENCODED.replace(b"3", b"-0"), "canonical"),
        (ENCODED.replace(b"3", b"NaN"), "not a valid"),
        (ENCODED.replace(b"3", b"true"), "not a valid"),
        (ENCODED.replace(b"3", b'"3"'), "not a valid"),
        (ENCODED.replace(b"3", b"9" * 30), "not a valid"),
        (ENCODED.replace(b"3", b"9007199254740993"), "not a valid"),
        (ENCODED.replace(b'"size":3', b'"size":2,"size":3'), "canonical"),
        (ENCODED.replace(b'"size":3', b'"size":3,"x":1'), "unknown field"),
        (ENCODED.replace(b',"size":3', b""), "missing required field"),
        (ENCODED.replace(b"__main__", b"__m\\u0061in__"), "canonical"),
        (ENCODED.replace(b"__main__", b"\\ud800"), "not a valid"),
        (ENCODED.replace(b"__main__", b"\xff"), "not a valid"),
        (ENCODED.replace(b"__main__", b"m" * 513), "not a valid"),
        (ENCODED.replace(b"0" * 64, b"A" * 64), "not a valid"),
        (ENCODED.replace(b"0" * 64, b"0" * 64 + b"\\n"), "not a valid"),  # where a pattern's $ would match
    ],
)
def test_refuses_all_but_the_one_spelling(data: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        canonical.decode(data, ClosureFile, "file")


def test_refuses_deep_nesting_with_a_typed_error() -> None:
    deep = b'{"t":"l","tuple":false,"v":[' * 50_000 + b"]}" * 50_000
    with pytest.raises(RecordError):
        canonical.decode(deep, Mapping, "tree")
    with pytest.raises(RecordError):
        canonical.decode(deep, Tree, "tree")


def test_refuses_trees_beyond_the_depth_limit() -> None:
    def nested(depth: int) -> bytes:
        return b'{"t":"l","tuple":false,"v":[' * depth + b"]}" * depth

    canonical.decode(nested(limits.TREE_DEPTH), Sequence, "tree")
    with pytest.raises(RecordError, match="nested deeper"):
        canonical.decode(nested(limits.TREE_DEPTH + 1), Sequence, "tree")
    mapping = b'{"t":"d","v":[[{"t":"n"},' * 40 + b'{"t":"n"}' + b"]]}" * 40
    with pytest.raises(RecordError, match="nested deeper"):
        canonical.decode(mapping, Mapping, "tree")


@given(st.binary(max_size=200))
def test_decoding_never_raises_anything_untyped(data: bytes) -> None:
    try:
        value = canonical.decode(data, PublicKey, "key")
    except RecordError:
        return
    assert canonical.encode(value) == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(JSON)
def test_the_fast_encoder_spells_as_the_slow_one(value: object) -> None:
    assert canonical.encode(value) == canonical.encode_slow(value)


@pytest.mark.parametrize(
    "value",
    [
        {"\uffff": 1, "\U0001f600": 2},  # UTF-16 units and code points sort these differently
        [-0.0, 1e30, 1.5, 1e-7],
        1e21,
        [2**53 - 1, 1 - 2**53, "1234567890123456", "x,1234567890123456"],
        "".join(map(chr, range(0x300))) + "\u2028\u2029\ufeff\U0010ffff",
        Sequence(tuple=True, v=[Real(v="nan")]),
    ],
)
def test_the_fast_encoder_spells_what_is_unusual_as_the_slow_one(value: object) -> None:
    assert canonical.encode(value) == canonical.encode_slow(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), [2**60], {"a": -(2**64)}, "\ud800", 2**70])
def test_what_has_no_spelling_is_refused_by_both(value: object) -> None:
    for encode in (canonical.encode, canonical.encode_slow):
        with pytest.raises(rfc8785.CanonicalizationError):
            encode(value)


@given(st.text(min_size=1, max_size=512), st.integers(0, 1 << 40))
def test_round_trip(module: str, size: int) -> None:
    part = ClosureFile(module=module, size=size, digest="f" * 64)
    assert canonical.decode(canonical.encode(part), ClosureFile, "file") == part


def test_refuses_files_that_are_missing_links_folders_or_too_large(tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"12345")
    assert canonical.read_bytes(good, 5) == b"12345"
    with pytest.raises(LimitError, match="limit of 4 bytes"):
        canonical.read_bytes(good, 4)
    (tmp_path / "link").symlink_to(good)
    for name in ("link", "missing", "."):
        with pytest.raises(RecordError, match="not a regular file"):
            canonical.read_bytes(tmp_path / name, 5)


@given(st.floats())
def test_every_float_has_its_one_spelling(number: float) -> None:
    text = "nan" if number != number else number.hex()
    assert canonical.decode(canonical.encode(Real(v=text)), Real, "number").v == text


SPELLINGS = """
0x1.8p+1 0x1.8000000000000p+01 0x1.0000000000000p-0 0x1.0000000000000p+1024 0x1.0000000000000p+9999 0x0.0p-0 0x0.0p+1
0x1.0000000000000p-1023 0x0.8000000000000p+0 0X1.0000000000000P+0 +0x1.0000000000000p+0 1.0 -nan NaN infinity
"""


@pytest.mark.parametrize("text", SPELLINGS.split())
def test_refuses_another_spelling_of_a_float(text: str) -> None:
    for spelling in (text, "0x1.0000000000000p+0 ", "0x1.0000000000000p+0\n", ""):
        with pytest.raises(RecordError, match="not a valid"):
            canonical.decode(canonical.encode({"t": "f", "v": spelling}), Real, "number")
