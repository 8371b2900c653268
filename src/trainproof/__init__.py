"""Prove how a model was trained: record a PyTorch run, and verify a record by re-running chosen parts of it.

    proof = trainproof.train(Recipe(), out="run.tproof", epochs=3, every=50, key="prover.key")
    report = trainproof.verify("run.tproof", recipe=Recipe(), policy=trainproof.Policy.bitwise())

Importing this package is light: torch is imported by the functions that need it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Recipe": "trainproof.recording.recipe",
    "SGD": "trainproof.recording.optimizers",
    "Adam": "trainproof.recording.optimizers",
    "AdamW": "trainproof.recording.optimizers",
    "Constant": "trainproof.recording.optimizers",
    "Cosine": "trainproof.recording.optimizers",
    "Linear": "trainproof.recording.optimizers",
    "Steps": "trainproof.recording.optimizers",
    "Augmented": "trainproof.recording.dataset",
    "Record": "trainproof.recording.reader",
    "train": "trainproof.recording.train",
    "record": "trainproof.recording.record",
    "seeded": "trainproof.recording.seeded",
    "verify": "trainproof.verification.verify",
    "dispute": "trainproof.verification.dispute",
    "Dispute": "trainproof.verification.dispute",
    "Policy": "trainproof.verification.policy",
    "Report": "trainproof.verification.verdict",
    "Verdict": "trainproof.verification.verdict",
    "Signer": "trainproof.attest.keys",
    "TrainproofError": "trainproof.errors",
    "VerificationError": "trainproof.errors",
}

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Augmented",
    "Constant",
    "Cosine",
    "Dispute",
    "Linear",
    "Policy",
    "Recipe",
    "Record",
    "Report",
    "Signer",
    "Steps",
    "TrainproofError",
    "Verdict",
    "VerificationError",
    "dispute",
    "exact",
    "record",
    "seeded",
    "train",
    "verify",
]

if TYPE_CHECKING:
    from trainproof import exact
    from trainproof.attest.keys import Signer
    from trainproof.errors import TrainproofError, VerificationError
    from trainproof.recording.dataset import Augmented
    from trainproof.recording.optimizers import SGD, Adam, AdamW, Constant, Cosine, Linear, Steps
    from trainproof.recording.reader import Record
    from trainproof.recording.recipe import Recipe
    from trainproof.recording.record import record
    from trainproof.recording.seeded import seeded
    from trainproof.recording.train import train
    from trainproof.verification.dispute import Dispute, dispute
    from trainproof.verification.policy import Policy
    from trainproof.verification.verdict import Report, Verdict
    from trainproof.verification.verify import verify


def __getattr__(name: str) -> Any:
    if name == "exact":
        return importlib.import_module("trainproof.exact")
    if name not in _WHERE:
        raise AttributeError(f"module 'trainproof' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
