"""The layout of ``--help``: two columns of plain text, at most 100 wide, the same on every terminal that has them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

WIDTH, COLUMN = 100, 22


class TwoColumns:
    """A cyclopts help formatter."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print a panel: commands, arguments or parameters."""
        if not panel.entries:
            return
        lines = [f"{panel.title}:"]
        for entry in panel.entries:
            lines += self._entry(entry, min(WIDTH, console.width))
        self._print(console, "\n".join(lines))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        text = _text(usage)
        self._print(console, text if text.startswith("Usage:") else f"Usage: {text}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does, in paragraphs."""
        width = min(WIDTH, console.width)
        paragraphs = [" ".join(part.split()) for part in _text(description).split("\n\n")]
        if any(paragraphs):
            self._print(console, "\n\n".join(textwrap.fill(part, width) for part in paragraphs if part))

    def _entry(self, entry: HelpEntry, width: int) -> list[str]:
        label = ", ".join(entry.display_labels_with_metavar)
        text = " ".join(_text(entry.description).split())
        notes = [f"one of {', '.join(entry.choices)}"] if entry.choices else []
        notes += ["required"] if entry.required else []
        notes += [f"default {entry.default}"] if entry.default else []
        text = " ".join([text, *([f"[{'; '.join(notes)}]"] if notes else [])])
        indent = " " * (COLUMN + 2)
        lines = textwrap.wrap(text, max(30, width - len(indent)), break_on_hyphens=False) or [""]
        head = f"  {label:<{COLUMN - 2}}  "
        first = [head + lines[0]] if len(label) <= COLUMN - 2 else [head.rstrip(), indent + lines[0]]
        return first + [indent + line for line in lines[1:]]

    def _print(self, console: Console, text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        console.print()


def _text(value: Any) -> str:
    """Return the text of what cyclopts hands over: strings, rich texts, or inline blocks of either."""
    if value is None:
        return ""
    plain = getattr(value, "plain", None)
    if isinstance(plain, str):
        return plain.strip()
    primary = getattr(value, "primary_renderable", None)
    return _text(primary) if primary is not None else str(value).strip()
