"""The seal: one signature, one spelling, by the expected key, over a statement that does not contradict itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainproof import limits
from trainproof.attest import canonical, dsse, keys, statement
from trainproof.attest.keys import Signer
from trainproof.errors import LimitError, RecordError, SignatureError
from trainproof.recording.format import PAYLOAD_TYPE, Seal, SelfReplay

SHA256 = "5" * 64
SEAL = Seal(
    version=1,
    commitment="a" * 64,
    chain="b" * 64,
    segments=3,
    steps=40,
    model="c" * 64,
    ended="complete",
    self_replays=[SelfReplay(segment=1, outcome="bitwise", detail="")],
    started="2026-01-01T00:00:00Z",
    finished="2026-01-01T00:01:00Z",
)
SIGNERS = {scheme: Signer.generate(scheme) for scheme in keys.SCHEMES}
SIGNER = SIGNERS["ed25519"]
SEALED = statement.seal_record(SIGNER, SEAL, "digits", SHA256)


def envelope(**changes: Any) -> bytes:
    """The sealed record's envelope with fields changed, canonical again."""
    return canonical.encode(json.loads(SEALED) | changes)


def signed(payload: Any) -> bytes:
    """An envelope over any payload, correctly signed."""
    return dsse.seal(SIGNER, payload if isinstance(payload, bytes) else canonical.encode(payload))


@pytest.mark.parametrize("scheme", keys.SCHEMES)
def test_sealed_record_opens_with_its_key(scheme: str) -> None:
    signer = SIGNERS[scheme]
    data = statement.seal_record(signer, SEAL, "digits", SHA256)
    opened = statement.open_seal(data, signer.public)
    assert opened.predicate == SEAL
    assert opened.subject[0].digest == {"blake3": SEAL.model, "sha256": SHA256}
    assert dsse.signer_id(data) == signer.key_id


def test_envelope_is_plain_dsse_over_an_in_toto_statement() -> None:
    plain = json.loads(SEALED)
    payload = base64.b64decode(plain["payload"])
    pae = b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    keys.verify(SIGNER.public, base64.b64decode(plain["signatures"][0]["sig"]), pae)
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"
    assert json.loads(payload)["predicateType"].endswith("/proof-of-learning/v1")


def test_refuses_another_key() -> None:
    with pytest.raises(SignatureError, match="signed by another key"):
        statement.open_seal(SEALED, Signer.generate().public)


def test_refuses_another_key_under_the_expected_id() -> None:
    other = Signer.generate()
    forged = statement.seal_record(other, SEAL, "digits", SHA256).replace(other.key_id.encode(), SIGNER.key_id.encode())
    with pytest.raises(SignatureError, match="does not verify"):
        statement.open_seal(forged, SIGNER.public)


def test_refuses_changed_payload() -> None:
    payload = base64.b64decode(json.loads(SEALED)["payload"]).replace(b'"steps":40', b'"steps":41')
    with pytest.raises(SignatureError, match="does not verify"):
        statement.open_seal(envelope(payload=base64.b64encode(payload).decode()), SIGNER.public)


def test_refuses_another_payload_type() -> None:
    with pytest.raises(SignatureError, match="payload is not"):
        statement.open_seal(envelope(payloadType="application/json"), SIGNER.public)


@pytest.mark.parametrize("count", [0, 2])
def test_refuses_other_than_one_signature(count: int) -> None:
    signatures = json.loads(SEALED)["signatures"] * count
    with pytest.raises(RecordError, match="length"):
        statement.open_seal(envelope(signatures=signatures), SIGNER.public)


@pytest.mark.parametrize("extra", [{"note": 1}, {"payloadtype": PAYLOAD_TYPE}])
def test_refuses_unknown_fields(extra: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="unknown field"):
        statement.open_seal(envelope(**extra), SIGNER.public)
    signature = json.loads(SEALED)["signatures"][0] | extra
    with pytest.raises(RecordError, match="unknown field"):
        statement.open_seal(envelope(signatures=[signature]), SIGNER.public)


def test_refuses_another_spelling_of_the_same_envelope() -> None:
    plain = json.loads(SEALED)
    reordered = json.dumps({key: plain[key] for key in reversed(plain)}, separators=(",", ":")).encode()
    duplicate = SEALED[:-1] + b',"payloadType":"' + PAYLOAD_TYPE.encode() + b'"}'
    for spelling in (SEALED + b"\n", b" " + SEALED, reordered, duplicate, SEALED.replace(b"/", b"\\/")):
        with pytest.raises(RecordError, match="canonical"):
            statement.open_seal(spelling, SIGNER.public)


def test_refuses_another_spelling_of_base64() -> None:
    signature = json.loads(SEALED)["signatures"][0]
    sig = signature["sig"]
    assert sig.endswith("==")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose_bits = sig[:-3] + alphabet[alphabet.index(sig[-3]) + 1] + "=="  # decodes to the same bytes
    assert base64.b64decode(loose_bits) == base64.b64decode(sig)
    for spelling in (loose_bits, sig[:-1], sig[:-2]):
        with pytest.raises(RecordError, match="base64"):
            statement.open_seal(envelope(signatures=[signature | {"sig": spelling}]), SIGNER.public)


def test_refuses_oversized_envelope_before_parsing() -> None:
    with pytest.raises(LimitError, match="larger than the limit"):
        statement.open_seal(b"x" * (limits.SEAL_BYTES + 1), SIGNER.public)


def test_refuses_to_sign_an_oversized_payload() -> None:
    with pytest.raises(LimitError, match="larger than the limit"):
        dsse.seal(SIGNER, b"x" * limits.SEAL_BYTES)


def test_refuses_signed_statement_about_another_model() -> None:
    plain = msgspec.to_builtins(statement.build(SEAL, "digits", SHA256))
    plain["subject"][0]["digest"]["blake3"] = "d" * 64
    with pytest.raises(SignatureError, match="not the model that it seals"):
        statement.open_seal(signed(plain), SIGNER.public)


@pytest.mark.parametrize("missing", ["blake3", "sha256"])
def test_refuses_signed_statement_with_one_digest(missing: str) -> None:
    plain = msgspec.to_builtins(statement.build(SEAL, "digits", SHA256))
    del plain["subject"][0]["digest"][missing]
    with pytest.raises(SignatureError, match="blake3 and a sha256"):
        statement.open_seal(signed(plain), SIGNER.public)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "https://slsa.dev/provenance/v1"),
        (("predicate", "version"), 2),
        (("predicate", "unknown"), 1),
        (("predicate", "steps"), -1),
        (("predicate", "chain"), "B" * 64),
        (("predicate", "ended"), "finished"),
        (("subject",), []),
    ],
)
def test_refuses_signed_statement_of_another_schema(path: tuple[str, ...], value: Any) -> None:
    plain = msgspec.to_builtins(statement.build(SEAL, "digits", SHA256))
    place = plain
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(RecordError, match="not a valid Statement"):
        statement.open_seal(signed(plain), SIGNER.public)


def test_refuses_signed_statement_that_is_not_canonical() -> None:
    payload = canonical.encode(statement.build(SEAL, "digits", SHA256))
    with pytest.raises(RecordError, match="canonical"):
        statement.open_seal(signed(payload + b" "), SIGNER.public)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_refuses_every_changed_byte(position: int, change: int) -> None:
    data = bytearray(SEALED)
    data[position] ^= change
    with pytest.raises(RecordError):
        statement.open_seal(bytes(data), SIGNER.public)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.integers(0, len(SEALED) - 1).map(lambda n: SEALED[:n]))
def test_refuses_garbage_and_truncation_with_a_typed_error(data: bytes) -> None:
    with pytest.raises(RecordError):
        statement.open_seal(data, SIGNER.public)
