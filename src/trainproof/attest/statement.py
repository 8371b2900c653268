"""The in-toto statement that seals a record: its subject is the final model, its predicate binds everything else.

Specification: https://github.com/in-toto/attestation (spec/v1/statement.md); docs/record.md section 5 says what the
predicate's fields mean.
"""

from __future__ import annotations

from trainproof.attest import canonical, dsse
from trainproof.attest.keys import Signer
from trainproof.errors import SignatureError
from trainproof.recording.format import PREDICATE_TYPE, STATEMENT_TYPE, PublicKey, Seal, Statement, Subject

SEAL_NAME = "seal.json"


def build(seal: Seal, name: str, sha256: str) -> Statement:
    """Return the statement about the final model called ``name``.

    ``seal.model`` is the model's BLAKE3 state root, ``sha256`` the SHA-256 state root of the same tensors
    (docs/hashing.md section 2), both in hexadecimal.
    """
    subject = Subject(name=name, digest={"blake3": seal.model, "sha256": sha256})
    return Statement(type=STATEMENT_TYPE, subject=[subject], predicate_type=PREDICATE_TYPE, predicate=seal)


def parse(payload: bytes, name: str = SEAL_NAME) -> Statement:
    """Read a statement. Raises RecordError if malformed or not canonical, SignatureError if it contradicts itself."""
    statement = canonical.decode(payload, Statement, name)
    digests = statement.subject[0].digest
    if set(digests) != {"blake3", "sha256"}:
        raise SignatureError("its subject needs a blake3 and a sha256 digest", name=name, value=sorted(digests))
    if digests["blake3"] != statement.predicate.model:
        raise SignatureError("its subject is not the model that it seals", name=name, value=digests["blake3"])
    return statement


def seal_record(signer: Signer, seal: Seal, name: str, sha256: str) -> bytes:
    """Return the bytes of ``seal.json``: the canonical DSSE envelope of the statement, signed."""
    payload = canonical.encode(build(seal, name, sha256))
    parse(payload)  # what cannot be read back must not be signed
    return dsse.seal(signer, payload)


def open_seal(data: bytes, key: PublicKey, name: str = SEAL_NAME) -> Statement:
    """Return the statement that ``key`` signed.

    Raises SignatureError if it is signed by another key, does not verify or contradicts itself, RecordError or
    LimitError if it is malformed, not canonical or too large.
    """
    return parse(dsse.unseal(data, key, name), name)
