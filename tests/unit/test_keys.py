"""Keys: one spelling of every key and signature, files that only their owner reads and nothing overwrites."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from trainproof.attest import keys
from trainproof.attest.keys import Signer
from trainproof.errors import KeyFileError, SignatureError, UsageError
from trainproof.recording.format import PublicKey

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MESSAGE = b"final chain value"


@pytest.fixture(params=keys.SCHEMES)
def signer(request: pytest.FixtureRequest) -> Signer:
    return Signer.generate(request.param)


def test_saved_key_is_the_same_when_loaded(signer: Signer, tmp_path: Path) -> None:
    public_path = signer.save(tmp_path / "prover.key")
    loaded = Signer.load(tmp_path / "prover.key")
    assert loaded.public == signer.public == keys.load_public(public_path)
    assert loaded.key_id == signer.key_id
    keys.verify(signer.public, loaded.sign(MESSAGE), MESSAGE)


def test_key_id_names_the_scheme_and_hashes_the_public_key(signer: Signer) -> None:
    import hashlib

    pem = ser.load_pem_public_key(keys.public_pem(signer.public))
    der = pem.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    assert signer.key_id == f"{signer.public.scheme}:{hashlib.sha256(der).hexdigest()}"


def test_public_key_lengths_fit_the_record_format() -> None:
    assert len(Signer.generate("ed25519").public.key) == 64
    assert len(Signer.generate("ecdsa-p256").public.key) == 182


def test_ed25519_agrees_with_rfc_8032_test_2(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    signer = Signer(Ed25519PrivateKey.from_private_bytes(secret))
    assert signer.public.key == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert signer.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_refuses_signature_over_another_message(signer: Signer) -> None:
    with pytest.raises(SignatureError, match="does not verify"):
        keys.verify(signer.public, signer.sign(MESSAGE), MESSAGE + b".")


def test_refuses_signature_by_another_key(signer: Signer) -> None:
    other = Signer.generate(signer.public.scheme)
    with pytest.raises(SignatureError, match="does not verify"):
        keys.verify(other.public, signer.sign(MESSAGE), MESSAGE)


def test_refuses_every_single_bit_flip(signer: Signer) -> None:
    signature = signer.sign(MESSAGE)
    for bit in range(0, 8 * len(signature), 5):
        mutated = bytearray(signature)
        mutated[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            keys.verify(signer.public, bytes(mutated), MESSAGE)


@pytest.mark.parametrize("signature", [b"", b"\x30", b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\xff" * 64, b"\x00" * 64])
def test_refuses_malformed_signatures(signer: Signer, signature: bytes) -> None:
    with pytest.raises(SignatureError):
        keys.verify(signer.public, signature, MESSAGE)


def test_refuses_ecdsa_with_the_higher_s() -> None:
    signer = Signer.generate("ecdsa-p256")
    r, s = decode_dss_signature(signer.sign(MESSAGE))
    assert s <= ORDER // 2
    with pytest.raises(SignatureError, match="lower s"):
        keys.verify(signer.public, encode_dss_signature(r, ORDER - s), MESSAGE)


def test_refuses_ecdsa_that_is_not_minimal_der() -> None:
    signer = Signer.generate("ecdsa-p256")
    signature = signer.sign(MESSAGE)
    padded = bytes([0x30, 0x81, signature[1]]) + signature[2:]  # the length in the long form
    for spelling in (padded, signature + b"\x00"):
        with pytest.raises(SignatureError, match="minimal DER"):
            keys.verify(signer.public, spelling, MESSAGE)


def test_refuses_public_keys_in_another_spelling() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = public.public_bytes(ser.Encoding.X962, ser.PublicFormat.CompressedPoint)
    for scheme, key in [
        ("ecdsa-p256", point.hex()),
        ("ecdsa-p256", "00" * 91),
        ("ed25519", "00" * 33),
        ("ed25519", Signer.generate("ecdsa-p256").public.key),
        ("ecdsa-p256", Signer.generate("ed25519").public.key),
        ("ed25519", "zz" * 32),
        ("ed25519", Signer.generate("ed25519").public.key.upper()),
    ]:
        with pytest.raises(SignatureError, match="public key"):
            keys.verify(PublicKey(scheme=scheme, key=key), b"", MESSAGE)


def test_private_key_file_is_the_owners_alone(signer: Signer, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        signer.save(tmp_path / "k")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_refuses_private_key_that_others_can_read(tmp_path: Path, mode: int) -> None:
    Signer.generate().save(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(KeyFileError, match=r"others can read.*chmod 600"):
        Signer.load(tmp_path / "k")


@pytest.mark.parametrize("taken", ["k", "k.pub"])
def test_never_overwrites_a_key(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with pytest.raises(KeyFileError, match="never overwritten"):
        Signer.generate().save(tmp_path / "k")
    assert [p.name for p in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text() == "precious"


def test_never_follows_a_link_when_writing(tmp_path: Path) -> None:
    (tmp_path / "k").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="never overwritten"):
        Signer.generate().save(tmp_path / "k")
    assert not (tmp_path / "elsewhere").exists()


def test_encrypted_key_needs_its_password(signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.PASSWORD_VARIABLE, raising=False)
    signer.save(tmp_path / "k", password="correct")
    assert b"ENCRYPTED" in (tmp_path / "k").read_bytes()
    assert Signer.load(tmp_path / "k", password="correct").public == signer.public
    with pytest.raises(KeyFileError, match=keys.PASSWORD_VARIABLE):
        Signer.load(tmp_path / "k")
    with pytest.raises(KeyFileError, match="wrong password"):
        Signer.load(tmp_path / "k", password="incorrect")
    monkeypatch.setenv(keys.PASSWORD_VARIABLE, "correct")
    assert Signer.load(tmp_path / "k").public == signer.public


def test_refuses_an_empty_password(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty password"):
        Signer.generate().save(tmp_path / "k", password="")


def test_refuses_other_kinds_of_key(tmp_path: Path) -> None:
    privates = [
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed448.Ed448PrivateKey.generate(),
    ]
    for private in privates:
        path, public = tmp_path / "k", tmp_path / "k.pub"
        path.write_bytes(private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()))
        public.write_bytes(private.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo))
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match="not a key of"):
            Signer.load(path)
        with pytest.raises(KeyFileError, match="not a key of"):
            keys.load_public(public)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\x00\xff" * 50,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"x" * 20_000,
    ],
)
def test_refuses_files_that_are_not_keys(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        Signer.load(path)
    with pytest.raises(KeyFileError):
        keys.load_public(path)


def test_refuses_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, tmp_path / ("n" * 300), Path("nul\0byte")):
        with pytest.raises(KeyFileError):
            Signer.load(path)
        with pytest.raises(KeyFileError):
            keys.load_public(path)


def test_private_key_given_as_public_says_so(tmp_path: Path) -> None:
    Signer.generate().save(tmp_path / "k")
    with pytest.raises(KeyFileError, match=r"give the \.pub file"):
        keys.load_public(tmp_path / "k")


def test_refuses_an_unknown_scheme() -> None:
    with pytest.raises(UsageError, match="ed25519, ecdsa-p256"):
        Signer.generate("rsa")  # type: ignore[arg-type]


def test_repr_does_not_show_the_secret(signer: Signer) -> None:
    assert repr(signer) == f"Signer({signer.key_id})"
