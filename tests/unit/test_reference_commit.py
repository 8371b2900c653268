"""The reference verifier of openings, and the proof that the crate `commit` makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainproof.reference.commit import (
    Block,
    Claim,
    Digests,
    Key,
    Matrix,
    Parameters,
    cap,
    evaluate,
    read,
    verify,
)
from trainproof.reference.field import P
from trainproof.reference.iop.field import Element, Rejected
from trainproof.reference.poseidon2 import Transcript, derive_salt

FIXTURE: dict[str, Any] = json.loads((Path(__file__).parent.parent / "fixtures" / "commit_v1.json").read_text())
PROOF = bytes.fromhex(FIXTURE["proof"])
BLOCKS = [Block(claim["matrix"], claim["start"], tuple(claim["shape"])) for claim in FIXTURE["claims"]]
CLAIMS = [Claim(tuple(Element(*x) for x in claim["point"]), Element(*claim["value"])) for claim in FIXTURE["claims"]]
CAPS: list[Digests] = [matrix["cap"] for matrix in FIXTURE["matrices"]]
KEY = Key(
    Parameters(*FIXTURE["parameters"]),
    [Matrix(len(m["rows"]).bit_length() - 1, len(m["rows"][0]), m["salted"]) for m in FIXTURE["matrices"]],
    BLOCKS,
)


def run(proof: bytes, *, key: Key = KEY, caps: list[Digests] = CAPS, claims: list[Claim] = CLAIMS) -> None:
    transcript = Transcript("test", [1])
    for claim in claims:
        transcript.absorb_extensions("point", [(x.a, x.b) for x in claim.point])
    verify(key, caps, claims, proof, transcript)


def test_the_proof_of_the_crate_is_accepted() -> None:
    run(PROOF)


def test_caps_are_those_of_the_rows() -> None:
    secret = bytes.fromhex(FIXTURE["secret"])
    for number, matrix in enumerate(FIXTURE["matrices"]):
        salts = [derive_salt(secret, number, i) for i in range(4 * len(matrix["rows"]))] if matrix["salted"] else None
        assert cap(matrix["rows"], KEY.parameters.log_blowup, salts) == matrix["cap"]


def test_values_are_those_of_the_rows() -> None:
    for block, claim in zip(BLOCKS, CLAIMS, strict=True):
        assert evaluate(FIXTURE["matrices"][block.matrix]["rows"], block, claim.point) == claim.value


@pytest.mark.parametrize("number", range(len(CLAIMS)))
def test_a_wrong_value_is_rejected(number: int) -> None:
    claims = list(CLAIMS)
    claims[number] = Claim(claims[number].point, claims[number].value + 1)
    with pytest.raises((Rejected, ValueError)):
        run(PROOF, claims=claims)


def test_an_old_root_is_rejected() -> None:
    old = [[x ^ 1 for x in node] for node in CAPS[0]]
    with pytest.raises((Rejected, ValueError)):
        run(PROOF, caps=[old, *CAPS[1:]])


@pytest.mark.parametrize("place", range(0, len(PROOF), 211))
def test_a_changed_byte_is_rejected(place: int) -> None:
    changed = bytearray(PROOF)
    changed[place] ^= 1
    with pytest.raises((Rejected, ValueError)):
        run(bytes(changed))


@pytest.mark.parametrize("proof", [b"", PROOF[:-8], PROOF[:-1], PROOF + bytes(8)], ids=len)
def test_another_length_is_rejected(proof: bytes) -> None:
    with pytest.raises((Rejected, ValueError)):
        read(KEY, proof)


def test_a_second_encoding_is_rejected() -> None:
    with pytest.raises(ValueError, match="canonical"):
        read(KEY, PROOF[:-8] + P.to_bytes(8, "little"))


def test_other_parameters_are_rejected() -> None:
    for name in Parameters._fields:
        changed = KEY.parameters._replace(**{name: getattr(KEY.parameters, name) - 1})
        with pytest.raises((Rejected, ValueError)):
            run(PROOF, key=KEY._replace(parameters=changed))
