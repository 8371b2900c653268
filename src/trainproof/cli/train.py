"""``trainproof train``: train a recipe and record it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Result, Whole, progress
from trainproof.verification.printable import number

Out = Annotated[Path, Parameter(help="The record's folder, which is created.")]
Every = Annotated[int, Whole, Parameter(help="Optimizer steps a segment: a state is hashed at each segment's end.")]
Key = Annotated[Path, Parameter(help="Your private key (trainproof keygen).")]
Keep = Annotated[str, Parameter(help="Which states are stored: all, or keyframes:N for every N-th.", show_default=True)]
Resume = Annotated[bool, Parameter(help="Continue the unfinished record in --out.")]
Private = Annotated[bool, Parameter(help="Salt the dataset's hashes with a secret file beside the record.")]
Nonce = Annotated[
    str | None, Parameter(help="The verifier's nonce, 64 hexadecimal digits; else the seed counts as freely chosen.")
]
Shared = Annotated[
    bool, Parameter(help="By a task's seed, without your key: --nonce is the task's, records can be disputed.")
]
Anchors = Annotated[
    int | None,
    Whole,
    Parameter(
        help="Hash the state every so many steps within a segment, else 1 for exact training and never otherwise."
    ),
]
Note = Annotated[str, Parameter(help="Free text for the record.")]


def train(
    recipe: Annotated[str, Parameter(help="The recipe, file.py or file.py:Class.")],
    /,
    *,
    out: Out,
    epochs: Annotated[int, Whole, Parameter(help="Passes over the dataset.")],
    every: Every,
    key: Key,
    keep: Keep = "all",
    anchors: Anchors = None,
    resume: Resume = False,
    private: Private = False,
    nonce: Nonce = None,
    shared: Shared = False,
    parent: Annotated[Path | None, Parameter(help="Start from the final model of this record.")] = None,
    note: Note = "",
    json: Json = False,
) -> Result:
    """Train a recipe and record it.

    Initial weights, sample order and augmentation follow from one seed. A killed run continues with --resume.
    """
    from trainproof.cli.summary import show_record
    from trainproof.recording.train import train as run

    with progress("training", quiet=json) as update:
        record = run(
            recipe,
            out,
            epochs=epochs,
            every=every,
            key=key,
            keep=keep,
            anchors=anchors,
            resume=resume,
            private=private,
            nonce=nonce,
            shared=shared,
            parent=parent,
            note=note,
            quiet=json,
            progress=lambda step, steps, loss: update(step, steps, f"loss {number(loss, 4)}"),
        )
    return 0, show_record(record.path, hint=f"--recipe {recipe}", quiet=json)
