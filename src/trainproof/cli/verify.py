"""``trainproof verify``: replay parts of a record and decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from trainproof.cli.terminal import Json, Rest, Result, Whole, console, progress, say
from trainproof.errors import UsageError

if TYPE_CHECKING:
    from trainproof.verification.policy import Policy


def verify(
    record: Annotated[Path, Parameter(help="The record's folder.")],
    /,
    *,
    recipe: Annotated[str, Parameter(help="YOUR copy of the recipe: file.py, file.py:Class, or the script.")],
    policy: Annotated[
        str, Parameter(help="bitwise (a sample), strict (everything), or a TOML file; see docs/policy.md.")
    ],
    report: Annotated[Path | None, Parameter(help="Write an HTML report to this file.")] = None,
    ledger: Annotated[
        Path | None, Parameter(help="The ledger of your verifications, else the one in your home.")
    ] = None,
    no_ledger: Annotated[bool, Parameter(help="Keep no ledger: the verdict binds nobody, not even you.")] = False,
    parent: Annotated[
        tuple[Path, ...], Parameter(help="The record that a warm start came from (repeat for more).")
    ] = (),
    salts: Annotated[
        Path | None, Parameter(help="The salt secret of a private record, if the prover disclosed it.")
    ] = None,
    jobs: Annotated[
        int | None, Whole, Parameter(help="Replay processes at a time, else what fits this machine.")
    ] = None,
    readable: Annotated[
        tuple[Path, ...], Parameter(help="A file or folder that the recipe reads, beside its own (repeat for more).")
    ] = (),
    nonce: Annotated[
        str | None, Parameter(help="Choose segments by these 64 hexadecimal digits (a beacon's pulse), not at random.")
    ] = None,
    json: Json = False,
    rest: Rest = None,
) -> Result:
    """Verify a record by training parts of it again, with your own copy of the recipe.

    The recipe is code and will be run (confined): read it first. Arguments after -- are the recorded script's own.
    The cost is printed before the replay begins.
    """
    from trainproof.verification import verify as verification
    from trainproof.verification.ledger import Ledger
    from trainproof.verification.report import print_report

    if ledger is not None and no_ledger:
        raise UsageError("give --ledger or --no-ledger, not both", name="--ledger")
    if jobs is not None and jobs < 1:
        raise UsageError("must be at least 1", name="--jobs", value=jobs)
    chosen = _policy(policy)
    with progress("verifying", quiet=json) as update:
        result = verification.run(
            record,
            recipe=recipe,
            arguments=rest or [],
            policy=chosen,
            ledger=None if no_ledger else Ledger(ledger),
            parents=list(parent),
            salts=salts,
            jobs=jobs,
            nonce=nonce,
            readable=list(readable),
            on_progress=lambda what, done, total: _on_progress(what, done, total, update, json),
        )
    if not json:
        print_report(result, console())
    if report is not None:
        result.write(report)
        say(f"report written to {report}")
    return result.exit_code, result.to_json()


def _policy(name: str) -> Policy:
    from trainproof.verification.policy import Policy

    ready = {"bitwise": Policy.bitwise, "strict": Policy.strict}
    return ready[name]() if name in ready else Policy.load(name)


def _on_progress(what: str, done: int, total: int, update: Any, quiet: bool) -> None:
    """Draw a bar; the plan's cost is a line that stays, printed before the replay begins."""
    if what.startswith("plan") and not quiet:
        say(what)
        return
    update(done, total, what)
