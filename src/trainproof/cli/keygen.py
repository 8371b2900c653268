"""``trainproof keygen``: make a signing key."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, rows


def keygen(
    path: Annotated[Path, Parameter(help="The private key's file; the public key goes to PATH.pub.")],
    /,
    *,
    scheme: Annotated[
        Literal["ed25519", "ecdsa-p256"], Parameter(help="The signature scheme.", show_default=True)
    ] = "ed25519",
    encrypt: Annotated[
        bool, Parameter(help="Protect the key by a password: asked for, or TRAINPROOF_KEY_PASSWORD.")
    ] = False,
    json: Json = False,
) -> Result:
    """Make a signing key.

    The private key is readable by you only and never overwritten. Its id is what a verifier's policy names.
    """
    from trainproof.attest.keys import Signer

    signer = Signer.generate(scheme)
    public_path = signer.save(path, _password() if encrypt else None)
    if not json:
        rows([("key id", signer.key_id), ("private key", str(path)), ("public key", str(public_path))])
    return 0, {"key_id": signer.key_id, "private": str(path), "public": str(public_path), "encrypted": encrypt}


def _password() -> str:
    from trainproof.attest.keys import PASSWORD_VARIABLE
    from trainproof.errors import UsageError

    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for a password", name="--encrypt", mend=f"set {PASSWORD_VARIABLE}")
    first = getpass.getpass("Password for the new key: ")
    if first != getpass.getpass("The same again: "):
        raise UsageError("the two passwords differ", name="--encrypt")
    return first
