"""``make demo``: record digits, verify, refuse a spoof, settle a dispute between two workers, and write the reports.

Everything goes to ``./demo-out``, made afresh each time.
"""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

from trainproof.errors import TrainproofError, UsageError

FOLDER = Path("demo-out")
MARKER = ".made-by-trainproof-demo"  # what this demo may delete
EPOCHS, EVERY = 3, 20
IDLE_STEP = 71  # which a worker leaves out


def main(folder: Path = FOLDER) -> int:
    """Run the demo in ``folder``; return 0 if the honest record was accepted and the spoof refused, else 1."""
    try:
        return _run(prepare(folder))
    except TrainproofError as error:
        print(f"trainproof: {error}", file=sys.stderr)
        return error.exit_code


def prepare(folder: Path) -> Path:
    """Return ``folder``, new and empty. Raises UsageError if something is there that this demo did not make."""
    if folder.is_symlink() or (folder.exists() and not (folder / MARKER).is_file()):
        raise UsageError("is there, and this demo did not make it", name=str(folder), mend="run it somewhere else")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("this folder is deleted when the demo runs again\n", encoding="utf-8")
    return folder


def _run(folder: Path) -> int:
    import trainproof as tp
    from trainproof.attacks.interpolation import CAUGHT_BY, spoof
    from trainproof.attest.keys import Signer
    from trainproof.verification.verdict import Verdict
    from trainproof.verification.verify import run as verify

    began = time.perf_counter()
    recipe = folder / "digits.py"
    recipe.write_text(recipe_text(), encoding="utf-8")
    prover, attacker = folder / "prover.key", folder / "attacker.key"
    for path in (prover, attacker):
        Signer.generate().save(path)

    _say(1, f"Train a small CNN on scikit-learn's digits, and record it. The recipe: {recipe}")
    honest = folder / "digits.tproof"
    tp.train(f"{recipe}:Digits", out=honest, epochs=EPOCHS, every=EVERY, key=prover, progress=_progress)
    _summary(honest)

    _say(2, "Verify it with our own copy of the recipe: replay stretches of it, and compare every bit.")
    report = verify(honest, recipe=f"{recipe}:Digits", policy=tp.Policy.bitwise())
    print(f"   {report.headline()}")
    page = report.write(folder / "report.html")

    _say(
        3,
        "A thief takes the final weights and writes a record between a fresh start and them, well chained and signed.",
    )
    forged = spoof(honest, f"{recipe}:Digits", folder / "spoof.tproof", attacker)
    _summary(forged)

    _say(4, "Verify the thief's record in the same way.")
    refused = verify(forged, recipe=f"{recipe}:Digits", policy=tp.Policy.bitwise())
    print(f"   {refused.headline()}")
    other = refused.write(folder / "spoof-report.html")

    settled = _dispute(folder, prover, attacker)

    print(f"\nReports: {page} and {other}\nRecords: {honest} and {forged}")
    print(f"Took {time.perf_counter() - began:.0f} s. Try: trainproof inspect {honest}")
    failed = refused.failed
    caught = refused.verdict is Verdict.REJECT and failed is not None and failed.id == CAUGHT_BY
    if report.verdict is not Verdict.ACCEPT or not caught or not settled:
        print("trainproof: the demo did not end as it should", file=sys.stderr)
        return 1
    return 0


def _dispute(folder: Path, honest: Path, idle: Path) -> bool:
    """Have one exact training done by two workers, one of them idle for a step; return whether that one is caught."""
    import trainproof as tp
    from trainproof.attacks.idle import spoof

    recipe = folder / "exact_digits.py"
    recipe.write_text(recipe_text("exact_recipe"), encoding="utf-8")
    task: dict[str, Any] = {
        "epochs": 2,
        "every": 20,
        "keep": "keyframes:3",
        "nonce": secrets.token_hex(32),
        "shared": True,
    }
    _say(5, f"Exact training: integers, the same bits on any machine. Two workers get the same task: {recipe}")
    first, second = folder / "worker-a.tproof", folder / "worker-b.tproof"
    tp.train(f"{recipe}:ExactDigits", out=first, key=honest, progress=_progress, **task)
    spoof(f"{recipe}:ExactDigits", second, idle, step=IDLE_STEP, progress=_progress, **task)
    for path in (first, second):
        _summary(path)

    _say(6, "Their records differ. Find the first step at which they do, and train that one again.")
    found = tp.dispute(first, second, recipe=f"{recipe}:ExactDigits")
    print(f"   {found.headline()}")
    for line in found.evidence:
        print(f"   {line}")
    return found.outcome == "B wrong" and found.step == IDLE_STEP


def recipe_text(name: str = "digits_recipe") -> str:
    """Return a recipe that the demo trains, as source text."""
    return resources.files("trainproof.bench").joinpath(f"{name}.py.txt").read_text(encoding="utf-8")


def _say(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


def _progress(step: int, steps: int, loss: float) -> None:
    """Show how far the training is: one line that grows over, or every tenth where there is no terminal."""
    if sys.stdout.isatty():
        end = "\n" if step == steps else ""
        print(f"\r   step {step}/{steps}, loss {loss:.3f} ", end=end, flush=True)
    elif step % max(1, steps // 10) == 0 or step == steps:
        print(f"   step {step}/{steps}, loss {loss:.3f}", flush=True)


def _summary(path: Path) -> None:
    """Print what a record holds, in a few lines."""
    from trainproof.attest.keys import key_id
    from trainproof.recording.reader import Record

    record = Record.open(path)
    commitment = record.commitment
    last = record.segment(len(record) - 1)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    steps = last.first_step + len(last.steps)
    print(f"   record   {path}: {len(record) - 1} segments, {steps} steps, {size / 1e6:.1f} MB")
    print(f"   dataset  {commitment.dataset.size} samples, root {commitment.dataset.root[:16]}…")
    print(f"   signed   {key_id(commitment.key)[:24]}…, last chain value {last.chain[:16]}…")


if __name__ == "__main__":
    sys.exit(main())
