"""Signing keys: Ed25519, or ECDSA over P-256 with SHA-256, in PEM files.

A private key file is PKCS#8 PEM, readable by its owner only, and never overwritten; the public key beside it (``.pub``)
is SubjectPublicKeyInfo PEM. A key's id is ``<scheme>:`` and the SHA-256 of its DER SubjectPublicKeyInfo.

Every signature that verifies has exactly one spelling: Ed25519 by its own definition (RFC 8032 section 5.1.7), ECDSA
because only minimal DER with the lower of the two possible ``s`` is accepted. Otherwise a stranger could alter the
bytes of a sealed record without breaking its signature.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from trainproof import limits
from trainproof.errors import KeyFileError, SignatureError, UsageError, shorten
from trainproof.recording.format import PublicKey, Scheme

PASSWORD_VARIABLE = "TRAINPROOF_KEY_PASSWORD"
SCHEMES: tuple[str, ...] = get_args(Scheme)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_DER_BYTES = 91  # SubjectPublicKeyInfo of an uncompressed point

_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class Signer:
    """A private key in memory. Construct by ``generate`` or ``load``; its ``repr`` shows the key id only."""

    def __init__(self, private: _Private) -> None:
        self._private = private
        self.public = _describe(private.public_key())
        self.key_id = key_id(self.public)

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"

    @classmethod
    def generate(cls, scheme: Scheme = "ed25519") -> Signer:
        """Return a new random key. Raises UsageError for an unknown scheme."""
        if scheme == "ed25519":
            return cls(ed25519.Ed25519PrivateKey.generate())
        if scheme == "ecdsa-p256":
            return cls(ec.generate_private_key(ec.SECP256R1()))
        raise UsageError("not a signature scheme", name="scheme", value=scheme, mend=f"use one of {', '.join(SCHEMES)}")

    @classmethod
    def load(cls, path: str | Path, password: str | None = None) -> Signer:
        """Read a private key file; an encrypted one by ``password`` or the variable TRAINPROOF_KEY_PASSWORD.

        Raises KeyFileError if the file is missing, readable by others, too large, not PKCS#8 PEM, of another kind of
        key, or if the password is missing or wrong.
        """
        path = Path(path)
        data = _read(path, private=True)
        if not data.lstrip().startswith((b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")):
            raise KeyFileError("not a PKCS#8 PEM private key", name=str(path), mend="make one with: trainproof keygen")
        encrypted = b"-----BEGIN ENCRYPTED" in data
        if encrypted and password is None:
            password = os.environ.get(PASSWORD_VARIABLE)
            if password is None:
                raise KeyFileError(
                    "the key is encrypted", name=str(path), mend=f"set {PASSWORD_VARIABLE} to its password"
                )
        secret = password.encode() if encrypted and password is not None else None
        try:
            private = ser.load_pem_private_key(data, secret)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            what = "wrong password, or a damaged key" if encrypted else "not a readable private key"
            raise KeyFileError(what, name=str(path)) from None
        if not isinstance(private, _Private) or not _accepted(private.public_key()):
            raise KeyFileError(f"not a key of {' or '.join(SCHEMES)}", name=str(path), value=type(private).__name__)
        return cls(private)

    def save(self, path: str | Path, password: str | None = None) -> Path:
        """Write the private key to ``path`` (mode 0600) and the public key to ``path`` + ``.pub``, which is returned.

        Raises KeyFileError if either file exists already, or cannot be written: then neither is left behind.
        """
        path = Path(path)
        public_path = path.with_name(path.name + ".pub")
        if password == "":
            raise UsageError("an empty password protects nothing", name="password")
        protection: ser.KeySerializationEncryption = ser.NoEncryption()
        if password is not None:
            protection = ser.BestAvailableEncryption(password.encode())
        pem = self._private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, protection)
        _create(public_path, public_pem(self.public), 0o644)
        try:
            _create(path, pem, 0o600)
        except KeyFileError:
            public_path.unlink(missing_ok=True)
            raise
        return public_path

    def sign(self, message: bytes) -> bytes:
        """Return the signature: 64 bytes for Ed25519, DER with the lower ``s`` for ECDSA."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return encode_dss_signature(r, min(s, _P256_ORDER - s))


def verify(public: PublicKey, signature: bytes, message: bytes) -> None:
    """Return if ``signature`` is ``public``'s over ``message``, in its one accepted spelling.

    Raises SignatureError if it is not, RecordError's subclass as the signature is part of a record.
    """
    key = _crypto(public)
    failed = SignatureError("the signature does not verify", name=key_id(public))
    if isinstance(key, ed25519.Ed25519PublicKey):
        _checked(lambda: key.verify(signature, message), failed)
        return
    try:
        r, s = decode_dss_signature(signature)
        canonical = encode_dss_signature(r, s) == signature
    except (ValueError, OverflowError):
        canonical = False
    if not (canonical and 0 < r < _P256_ORDER and 0 < s <= _P256_ORDER // 2):
        raise SignatureError("the ECDSA signature is not minimal DER with the lower s", name=key_id(public))
    _checked(lambda: key.verify(signature, message, ec.ECDSA(hashes.SHA256())), failed)


def load_public(path: str | Path) -> PublicKey:
    """Read a public key file. Raises KeyFileError if it is not the SubjectPublicKeyInfo PEM of an accepted kind."""
    path = Path(path)
    data = _read(path, private=False)
    if not data.lstrip().startswith(b"-----BEGIN PUBLIC KEY-----"):
        mend = "give the .pub file, not the private key" if b"PRIVATE KEY" in data else None
        raise KeyFileError("not a PEM public key", name=str(path), mend=mend)
    try:
        public = ser.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError("not a readable public key", name=str(path)) from None
    if not isinstance(public, _Public) or not _accepted(public):
        raise KeyFileError(f"not a key of {' or '.join(SCHEMES)}", name=str(path), value=type(public).__name__)
    return _describe(public)


def key_id(public: PublicKey) -> str:
    """Return ``<scheme>:`` and the SHA-256 of the DER SubjectPublicKeyInfo. Raises SignatureError if malformed."""
    return f"{public.scheme}:{hashlib.sha256(_der(_crypto(public))).hexdigest()}"


def public_pem(public: PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo PEM, as in a ``.pub`` file."""
    return _crypto(public).public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)


def _accepted(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)
    return isinstance(key, ed25519.Ed25519PublicKey)


def _der(key: _Public) -> bytes:
    return key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)


def _describe(key: _Public) -> PublicKey:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(scheme="ed25519", key=key.public_bytes_raw().hex())
    return PublicKey(scheme="ecdsa-p256", key=_der(key).hex())


def _crypto(public: PublicKey) -> _Public:
    """Return the library's key object; raises SignatureError unless ``public`` is the one spelling of a valid key."""
    malformed = SignatureError(f"not an {public.scheme} public key", name="key", value=shorten(public.key))
    try:
        raw = bytes.fromhex(public.key)
        if public.scheme == "ed25519":
            key: object = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        else:
            # The length is looked at first: a compressed point or explicit curve parameters are other spellings.
            key = ser.load_der_public_key(raw) if len(raw) == _P256_DER_BYTES else None
    except (ValueError, UnsupportedAlgorithm):
        raise malformed from None
    if not isinstance(key, _Public) or not _accepted(key) or _describe(key) != public:
        raise malformed
    return key


def _checked(verify_: Callable[[], None], failed: SignatureError) -> None:
    try:
        verify_()
    except InvalidSignature:
        raise failed from None


def _read(path: Path, private: bool) -> bytes:
    try:
        # A pipe would wait for its other end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise KeyFileError("not a regular file", name=str(path))
            if private and info.st_mode & 0o077:
                mode = stat.filemode(info.st_mode)
                raise KeyFileError(
                    "others can read this private key", name=str(path), value=mode, mend=f"chmod 600 {path}"
                )
            data = file.read(limits.KEY_BYTES + 1)
    except FileNotFoundError:
        raise KeyFileError("no such key file", name=str(path), mend="make one with: trainproof keygen") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot be read: {getattr(error, 'strerror', None) or error}", name=str(path)) from None
    if len(data) > limits.KEY_BYTES:
        raise KeyFileError(f"larger than the limit of {limits.KEY_BYTES} bytes", name=str(path))
    return data


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write a new file; ``O_EXCL`` so that a key is never overwritten and no link is followed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError(
            "exists already, and keys are never overwritten", name=str(path), mend="choose another name"
        ) from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"cannot be written: {getattr(error, 'strerror', None) or error}", name=str(path)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"cannot be written: {error.strerror}", name=str(path)) from None
