"""What the verbs share: where output goes, progress, and strings that are safe on a terminal."""

from __future__ import annotations

import json
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from trainproof.verification.printable import plain, printable

if TYPE_CHECKING:
    from cyclopts import Token
    from rich.console import Console


def whole(kind: type, tokens: Sequence[Token]) -> int:
    """Convert to an integer. cyclopts itself would round 1.5."""
    return int(tokens[0].value)


Whole = Parameter(converter=whole)
Json = Annotated[bool, Parameter(name="--json", help="Print one JSON object on standard output.")]
Rest = Annotated[list[str] | None, Parameter(parse=False)]  # what came after --
Result = tuple[int, dict[str, Any]]  # exit code, and what --json prints


def dump(value: Any) -> str:
    """Return strict JSON, in ASCII: no terminal and no parser can be surprised by it."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def console() -> Console:
    """Return the console of standard output: colours on a terminal only, and not with NO_COLOR; nothing is markup."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1, which means refuted

    found = Output(highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found.width = 120  # a pipe or a file has no width of its own
    return found


def rows(pairs: list[tuple[str, Any]], indent: str = "") -> None:
    """Print labels and values, a line each; values are printable() first."""
    width = max((len(label) for label, _ in pairs), default=0)
    out = console()
    for label, value in pairs:
        text = value if isinstance(value, list) else [value]
        for number, line in enumerate(text):
            head = label if number == 0 else ""
            out.print(f"{indent}{printable(head, 80):<{width}}  {printable(line, 400)}", soft_wrap=True)


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Yield ``update(done, total, note)`` that draws a bar on standard error; nothing there if it is no terminal."""
    from rich.console import Console

    out = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if quiet or not out.is_terminal:
        yield lambda done, total, note: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=printable(note, 40))


def say(line: str) -> None:
    """Print a line of progress to standard error."""
    print(f"trainproof: {printable(line, 400)}", file=sys.stderr, flush=True)


def user_frame(error: BaseException) -> str | None:
    """Return ``file, line N`` of the user's own code that raised ``error``, or None if it is rather ours.

    It is the user's if, from the innermost frame outwards, a file of theirs comes before one of this package's; the
    standard library and installed packages belong to whoever called them.
    """
    ours = str(Path(__file__).resolve().parents[1])
    paths = sysconfig.get_paths()
    others = tuple(str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<"):
            continue
        path = str(Path(frame.filename).resolve())
        if path.startswith(ours):
            return None
        if not path.startswith(others):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def record_size(path: Path) -> int:
    """Return the bytes of the regular files of a record folder; links are not followed."""
    total = 0
    for folder in (path, path / "segments", path / "states"):
        if folder.is_dir() and not folder.is_symlink():
            total += sum(f.stat().st_size for f in folder.iterdir() if f.is_file() and not f.is_symlink())
    return total
