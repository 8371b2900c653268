"""The command line: one file a verb. ``main`` turns every outcome into an exit code and every error into one line.

Exit codes: 0 verified, agreed or done, 1 refuted, 2 usage, 3 inconclusive, 4 input or output; 70 bug, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from trainproof.errors import TrainproofError, UsageError, shorten
from trainproof.verification.printable import printable

if TYPE_CHECKING:
    from cyclopts import App

DEBUG_VARIABLE = "TRAINPROOF_DEBUG"
BUG, INTERRUPTED = 70, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. ``arguments`` are ``sys.argv[1:]`` unless given."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, rest = _split(given)
    as_json = "--json" in own
    try:
        return _run(own, rest, as_json)
    except TrainproofError as error:
        return _fail(error, str(error), error.exit_code, as_json)
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted", INTERRUPTED, as_json)
    except SystemExit as error:
        # No verb of ours raises it. An exit code chosen by a recipe must not pass for a verdict.
        return _fail(error, f"a recipe or script ended the process by exit({error.code!r})", 2, as_json)
    except BrokenPipeError:
        # Whoever read our output left. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TrainproofError.exit_code
    except Exception as error:
        return _unexpected(error, as_json)


def application() -> App:
    """Return the cyclopts application with all verbs."""
    from cyclopts import App, Parameter

    from trainproof import __version__
    from trainproof.cli import bench, check, dispute, doctor, inspect, keygen, record, train, verify
    from trainproof.cli.help import TwoColumns

    app = App(
        name="trainproof",
        help="Record how a PyTorch model was trained, and verify a record by training parts of it again.",
        help_epilogue="Exit codes: 0 verified, agreed or done, 1 refuted, 2 usage, 3 inconclusive, 4 input or output.",
        version=f"trainproof {__version__}",
        help_formatter=TwoColumns(),
        help_format="plaintext",
        default_parameter=Parameter(negative="", show_default=False),
    )
    verbs: tuple[tuple[Callable[..., Any], str], ...] = (
        (keygen.keygen, "PATH [OPTIONS]"),
        (check.check, "FILE[:CLASS] | check -- python train.py [ARGUMENTS]"),
        (train.train, "FILE[:CLASS] --out FOLDER --epochs N --every K --key FILE [OPTIONS]"),
        (record.record, "--out FOLDER --every K --key FILE [OPTIONS] -- python train.py [ARGUMENTS]"),
        (inspect.inspect, "RECORD [OPTIONS]"),
        (verify.verify, "RECORD --recipe FILE[:CLASS] --policy POLICY [OPTIONS] [-- ARGUMENTS]"),
        (dispute.dispute, "A B --recipe FILE[:CLASS] [OPTIONS]"),
        (doctor.doctor, "[OPTIONS]"),
        (bench.bench, "record|exact [OPTIONS]"),
    )
    for order, (function, usage) in enumerate(verbs):
        app.command(function, sort_key=order, usage=f"Usage: trainproof {function.__name__} {usage}")
    return app


def _run(own: list[str], rest: list[str] | None, as_json: bool) -> int:
    import cyclopts

    try:
        command, bound, ignored = application().parse_args(own, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        message = " ".join(str(error).split()).rstrip(".")
        verb = "" if isinstance(error, cyclopts.UnknownCommandError) else _verb(own)
        raise UsageError(f"{message}; see: trainproof {verb}--help") from None
    options = dict(bound.kwargs)
    if "rest" in ignored:
        options["rest"] = rest
    elif rest is not None:
        raise UsageError("takes no arguments after --", name=_verb(own).strip() or "trainproof")
    if not as_json:
        return _code(command(*bound.args, **options))
    # Scripts and recipes print what they like; standard output is for the one JSON object.
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        result = command(*bound.args, **options)
    return _emit(result, out)


def _code(result: Any) -> int:
    return result[0] if isinstance(result, tuple) else 0


def _emit(result: Any, out: Any) -> int:
    from trainproof.cli.terminal import dump

    if isinstance(result, tuple):
        code, value = result
        print(dump(value), file=out, flush=True)
        return int(code)
    return 0


def _split(tokens: list[str]) -> tuple[list[str], list[str] | None]:
    """Return what is ours, and what comes after the first ``--`` (None if there is none)."""
    if "--" not in tokens:
        return tokens, None
    at = tokens.index("--")
    return tokens[:at], tokens[at + 1 :]


def _verb(tokens: list[str]) -> str:
    return f"{shorten(tokens[0])} " if tokens and not tokens[0].startswith("-") else ""


def _fail(error: BaseException, message: str, code: int, as_json: bool) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    message = printable(message, 1000)
    if as_json:
        from trainproof.cli.terminal import dump

        details = {"error": message, "exit_code": code, "kind": type(error).__name__}
        for field in ("name", "mend"):
            if isinstance(getattr(error, field, None), str):
                details[field] = shorten(getattr(error, field))
        print(dump(details), flush=True)
    print(f"trainproof: error: {message}", file=sys.stderr, flush=True)
    return code


def _unexpected(error: Exception, as_json: bool) -> int:
    """An exception that is not ours: it came out of the user's own file, or it is a bug."""
    from trainproof.cli.terminal import user_frame

    what = f"{type(error).__name__}: {shorten(str(error))}" if str(error) else type(error).__name__
    hint = f"{DEBUG_VARIABLE}=1 shows the traceback"
    where = user_frame(error)
    if where is not None:
        return _fail(error, f"{shorten(where)}: {what}; {hint}", UsageError.exit_code, as_json)
    return _fail(error, f"{what}; this is a bug in trainproof, {hint}", BUG, as_json)


__all__ = ["application", "main"]
