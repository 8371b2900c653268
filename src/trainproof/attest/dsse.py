"""DSSE envelopes with exactly one signature, read strictly.

``securesystemslib`` gives the envelope and its pre-authentication encoding; around it the schema is checked first,
every base64 string by encoding it again, and the whole envelope must be canonical JSON, so that one signed statement
has one spelling. Specification: https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md).
"""

from __future__ import annotations

import base64
import binascii
import copy
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer._key import Key
from securesystemslib.signer._signature import Signature
from securesystemslib.signer._signer import Signer as SignerInterface

from trainproof import limits
from trainproof.attest import canonical, keys
from trainproof.errors import LimitError, SignatureError
from trainproof.recording.format import PAYLOAD_TYPE, Part, PublicKey

_Base64 = Annotated[str, Meta(min_length=4, max_length=limits.SEAL_BYTES, pattern=r"^[A-Za-z0-9+/]+={0,2}\Z")]


class SignaturePart(Part, frozen=True):
    """Who signed (a key id of trainproof.attest.keys) and the signature in base64."""

    keyid: Annotated[str, Meta(pattern=r"^(ed25519|ecdsa-p256):[0-9a-f]{64}\Z")]
    sig: Annotated[str, Meta(min_length=4, max_length=128, pattern=r"^[A-Za-z0-9+/]+={0,2}\Z")]


class EnvelopePart(Part, frozen=True, rename={"payload_type": "payloadType"}):
    """The envelope's JSON: payload in base64, its type, exactly one signature."""

    payload: _Base64
    payload_type: Annotated[str, Meta(max_length=128)]
    signatures: Annotated[list[SignaturePart], Meta(min_length=1, max_length=1)]


class _StrictKey(Key):
    """Verifies by ``keys.verify``: no other algorithm and no other spelling of a signature is accepted."""

    def __init__(self, public: PublicKey) -> None:
        super().__init__(keys.key_id(public), public.scheme, public.scheme, {"public": public.key})
        self.strict = public

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> _StrictKey:
        public = PublicKey(scheme=key_dict["scheme"], key=key_dict["keyval"]["public"])
        key = cls(public)
        if key.keyid != keyid:
            raise SignatureError("the key id is not the key's", name=keyid)
        return key

    def to_dict(self) -> dict[str, Any]:
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        try:
            keys.verify(self.strict, bytes.fromhex(signature.signature), data)
        except SignatureError as error:
            raise UnverifiedSignatureError(str(error)) from None


class _StrictSigner(SignerInterface):
    """Signs by a ``keys.Signer``."""

    def __init__(self, signer: keys.Signer) -> None:
        self._signer = signer

    @property
    def public_key(self) -> Key:
        return _StrictKey(self._signer.public)

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> _StrictSigner:
        scheme, _, path = priv_key_uri.partition(":")
        if scheme != "file":
            raise SignatureError("only file: addresses hold trainproof keys", name="key", value=priv_key_uri)
        return cls(keys.Signer.load(path))

    def sign(self, payload: bytes) -> Signature:
        return Signature(self._signer.key_id, self._signer.sign(payload).hex())


def seal(signer: keys.Signer, payload: bytes) -> bytes:
    """Return the canonical envelope of ``payload`` (a statement's bytes), signed. Raises LimitError if too large."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(_StrictSigner(signer))
    data = canonical.encode(envelope.to_dict())
    if len(data) > limits.SEAL_BYTES:
        raise LimitError(f"the envelope is larger than the limit of {limits.SEAL_BYTES} bytes", value=len(data))
    return data


def unseal(data: bytes, key: PublicKey, name: str = "seal.json") -> bytes:
    """Return the payload that ``key`` signed in the envelope ``data``; ``name`` is what errors call it.

    Raises LimitError if ``data`` is too large, RecordError if it is malformed or not canonical, SignatureError if it is
    of another type, by another key, or does not verify.
    """
    if len(data) > limits.SEAL_BYTES:
        raise LimitError(f"larger than the limit of {limits.SEAL_BYTES} bytes", name=name, value=len(data))
    part = canonical.decode(data, EnvelopePart, name)
    if part.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"its payload is not {PAYLOAD_TYPE}", name=name, value=part.payload_type)
    payload = _decode_base64(part.payload, name)
    _decode_base64(part.signatures[0].sig, name)
    expected = keys.key_id(key)
    if part.signatures[0].keyid != expected:
        raise SignatureError(f"signed by another key than {expected}", name=name, value=part.signatures[0].keyid)
    # from_dict consumes what it is given, so it gets its own copy.
    envelope = Envelope.from_dict(copy.deepcopy(msgspec.to_builtins(part)))
    if envelope.payload != payload or set(envelope.signatures) != {expected}:
        raise SignatureError("the envelope does not read back as it was checked", name=name)
    try:
        envelope.verify([_StrictKey(key)], threshold=1)
    except VerificationError:
        raise SignatureError(f"the signature does not verify with {expected}", name=name) from None
    return payload


def signer_id(data: bytes, name: str = "seal.json") -> str:
    """Return the key id that the envelope names, unverified: for display only."""
    if len(data) > limits.SEAL_BYTES:
        raise LimitError(f"larger than the limit of {limits.SEAL_BYTES} bytes", name=name, value=len(data))
    return canonical.decode(data, EnvelopePart, name).signatures[0].keyid


def _decode_base64(text: str, name: str) -> bytes:
    """Decode standard base64, refusing every spelling but the canonical one (padding bits, missing padding)."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise SignatureError("base64 that is not canonical", name=name, value=text)
    return data
