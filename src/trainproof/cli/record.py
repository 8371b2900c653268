"""``trainproof record -- python train.py``: record an unmodified script."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Rest, Result
from trainproof.cli.train import Every, Keep, Key, Nonce, Note, Out, Private, Resume
from trainproof.errors import UsageError


def record(
    *,
    out: Out,
    every: Every,
    key: Key,
    keep: Keep = "all",
    resume: Resume = False,
    private: Private = False,
    nonce: Nonce = None,
    note: Note = "",
    json: Annotated[Json, Parameter(show=True)] = False,
    rest: Rest = None,
) -> Result:
    """Record a training script as it is.

    The script runs in this process; its loader, model and optimizer are found when the training begins.
    """
    from trainproof.cli.summary import show_record
    from trainproof.recording.launch import run

    if not rest:
        raise UsageError("no command", name="record", mend="end with: -- python train.py [ARGUMENTS]")
    made = run(
        rest,
        out=out,
        every=every,
        key=key,
        keep=keep,
        resume=resume,
        private=private,
        nonce=nonce,
        note=note,
        quiet=json,
    )
    script = next((word for word in rest if word.endswith(".py")), "train.py")
    extra = rest[rest.index(script) + 1 :] if script in rest else []
    hint = f"--recipe {script}" + (f" [OPTIONS] -- {' '.join(extra)}" if extra else "")
    return 0, show_record(made.path, hint=hint, quiet=json)
