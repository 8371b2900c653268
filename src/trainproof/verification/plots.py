"""The report's plots as inline SVG: deterministic, without scripts, in the page's own colours.

No string of a record is drawn: axes have numbers, and what marks mean is written in HTML beside the plot.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainproof.verification.verdict import Outcome, Report, UnitRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = 1500  # units beyond which neighbours that were not replayed are merged
_LARGEST = 1e30  # beyond it the axes' arithmetic overflows
_MARKS = (("o", "●"), ("^", "▲"), ("s", "■"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"), ("*", "★"))
# Stand-ins that are replaced by the page's colours, so that one drawing serves light and dark.
_INK, _MUTED, _GRID, _LINE, _BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
_SERIES = tuple(f"#0606{n:02x}" for n in range(len(_MARKS)))
_VARIABLES = {_INK: "ink", _MUTED: "muted", _GRID: "grid", _LINE: "line", _BAD: "reject"} | {
    color: f"series-{n}" for n, color in enumerate(_SERIES)
}


@dataclass(frozen=True)
class Key:
    """An entry of a plot's legend: the glyph, the page's colour variable, and what it means."""

    glyph: str
    variable: str
    label: str


@dataclass(frozen=True)
class Plot:
    """A drawing: ``svg`` is markup of ours, safe to include as it is."""

    title: str
    caption: str
    svg: str
    legend: tuple[Key, ...]


def draw(report: Report) -> list[Plot]:
    """Return the plots that ``report`` has values for: update size, replay error, loss."""
    units = thin(report.units)
    if not units:
        return []
    plots = [_updates(report, units)]
    if any(row.replay_error is not None for row in units):
        plots.append(_errors(report, units))
    if any(_drawable(row.mean_loss) for row in units):
        plots.append(_losses(report, units))
    return plots


def thin(units: Sequence[UnitRow], most: int = DRAWN) -> list[UnitRow]:
    """Return at most about ``most`` units: of neighbours that were not replayed, the one with the largest update."""
    if len(units) <= most:
        return list(units)
    width = math.ceil(len(units) / (most / 2))
    kept: list[UnitRow] = []
    for begin in range(0, len(units), width):
        group = units[begin : begin + width]
        chosen = [row for row in group if row.chosen]
        # Every unit may be chosen (coverage 'all'): then failures are kept, and the largest.
        marked = [row for row in chosen if row.outcome not in (None, Outcome.PASS)] if len(chosen) > 2 else chosen
        largest = max(group, key=lambda row: row.update_norm if _drawable(row.update_norm) else -1.0)
        kept += sorted({id(row): row for row in [*marked[:4], largest]}.values(), key=lambda row: row.start)
    return kept


def reasons(units: Sequence[UnitRow]) -> list[str]:
    """Return why units were replayed, in order of appearance; what is beyond the marks that we have is 'other'."""
    found = list(dict.fromkeys(row.chosen[0] for row in units if row.chosen))
    return found if len(found) <= len(_MARKS) else [*found[: len(_MARKS) - 1], "other"]


def _updates(report: Report, units: list[UnitRow]) -> Plot:
    names = reasons(units)

    def paint(axes: Axes) -> None:
        drawable = [row for row in units if _drawable(row.update_norm)]
        axes.plot(
            _steps(drawable),
            [row.update_norm for row in drawable],
            color=_LINE,
            linewidth=1.1,
            zorder=2,
            **_dots(units),
        )
        for index, name in enumerate(names):
            last = name == "other" and index == len(_MARKS) - 1
            rows = [r for r in drawable if r.chosen and (r.chosen[0] not in names if last else r.chosen[0] == name)]
            values = [row.update_norm for row in rows]
            axes.plot(_steps(rows), values, _MARKS[index][0], color=_SERIES[index], markersize=5.5, zorder=3)
        bad = [row for row in drawable if row.outcome is Outcome.FAIL]
        rings = axes.plot(_steps(bad), [row.update_norm for row in bad], "o", mfc="none", mec=_BAD, zorder=4)
        rings[0].set(markersize=12, markeredgewidth=1.8)
        positive = [row.update_norm for row in drawable if row.update_norm > 0]
        if positive and max(positive) > 50 * min(positive):
            axes.set_yscale("log", nonpositive="mask")
        elif positive:
            axes.set_ylim(bottom=0)
        axes.set_ylabel("‖update‖")

    legend = [Key(_MARKS[n][1], f"series-{n}", name) for n, name in enumerate(names)]
    if any(row.outcome is Outcome.FAIL for row in units):
        legend.append(Key("◯", "reject", "refuted"))
    caption = "Change of all parameters (l2), from stored states. Marked: replayed, by the first reason why."
    return _plot("Update size per unit", caption, _note(report, units, "update_norm"), units, paint, legend)


def _errors(report: Report, units: list[UnitRow]) -> Plot:
    replayed = [row for row in units if row.replay_error is not None]
    levels = [math.log10(e) for e in (row.replay_error for row in replayed) if e and _drawable(e) and e > 0]
    floor = min([math.floor(level) for level in levels] + [-8]) - 2  # where 'bitwise' is drawn
    top = max([math.ceil(level) for level in levels] + [1])

    def paint(axes: Axes) -> None:
        for color, marker, wanted in ((_SERIES[0], "o", True), (_BAD, "X", False)):
            rows = [row for row in replayed if (row.replay_error == 0) is wanted]
            points = [(row, floor if wanted else _level(row.replay_error, top)) for row in rows]
            axes.plot(_steps(rows), [y for _, y in points], marker, color=color, markersize=5.5, zorder=3)
        axes.axhline(0, color=_MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        ticks = [t for t in range(floor + 1, top + 1) if t % max(1, (top - floor) // 5) == 0]
        axes.set_yticks([floor, *ticks], ["bitwise", *(f"{10.0**t:g}" if t > -4 else f"1e{t}" for t in ticks)])
        axes.set_ylim(floor - 0.7, top + 0.4)
        axes.set_ylabel("replay error")

    legend = [Key("●", "series-0", "bitwise")]
    if levels or any(row.replay_error != 0 for row in replayed):
        legend.append(Key("✖", "reject", "differs"))
    caption = (
        "‖W′ − W‖ over the recorded update, of each unit that was replayed; logarithmic. At the dashed line the replay "
        "is as far from the record as the update is long: unrelated."
    )
    return _plot("Replay error", caption, "", units, paint, legend)


def _losses(report: Report, units: list[UnitRow]) -> Plot:
    def paint(axes: Axes) -> None:
        rows = [row for row in units if _drawable(row.mean_loss)]
        axes.plot(_steps(rows), [r.mean_loss for r in rows], color=_SERIES[0], linewidth=1.4, zorder=2, **_dots(units))
        axes.set_ylabel("mean loss")

    caption = "Mean of the logged losses of a unit's steps."
    return _plot("Loss per unit", caption, _note(report, units, "mean_loss"), units, paint, [])


def _plot(
    title: str, caption: str, note: str, units: list[UnitRow], paint: Callable[[Axes], None], legend: list[Key]
) -> Plot:
    prefix = title.split()[0].lower()  # the first words differ
    return Plot(title, caption + note, _svg(paint, units, prefix), tuple(legend))


def _svg(paint: Callable[[Axes], None], units: list[UnitRow], prefix: str) -> str:
    """Draw on fresh axes and return an ``<svg>`` element whose ids start with ``prefix``."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.hashsalt": "trainproof",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: measured the same on every machine
        "font.size": 9,
        "text.parse_math": False,
        "text.usetex": False,
        "axes.unicode_minus": True,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(8.6, 2.7), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        paint(axes)
        _dress(axes, units)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _clean(buffer.getvalue(), prefix)


def _dress(axes: Axes, units: list[UnitRow]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    axes.set_xlabel("optimizer step", color=_MUTED)
    axes.yaxis.label.set_color(_MUTED)
    axes.tick_params(colors=_MUTED, which="both", length=3)
    for name, spine in axes.spines.items():
        spine.set_color(_GRID)
        spine.set_visible(name in ("left", "bottom"))
    axes.grid(axis="y", color=_GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    first, last = units[0].first_step, max(units[-1].last_step, units[0].first_step + 1)
    axes.set_xlim(first - 0.02 * (last - first), last + 0.02 * (last - first))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    changes = [b.first_step for a, b in itertools.pairwise(units) if a.epoch != b.epoch]
    for step in changes if len(changes) <= 40 else []:
        axes.axvline(step, color=_GRID, linewidth=0.8, zorder=0)


def _clean(svg: str, prefix: str) -> str:
    """Keep the ``<svg>`` element alone, make ids unique in the page, and put the page's colours in."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{prefix}-", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var(--{variable})")
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img" class="plot">', svg, count=1)
    return re.sub(r"font: ([^;\"]*)'DejaVu Sans'[^;\"]*", r"font: \1sans-serif", svg).replace("xlink:href", "href")


def _dots(units: list[UnitRow]) -> dict[str, Any]:
    """Return how to mark every unit, where there are few."""
    return {"marker": "o", "markersize": 2.5} if len(units) <= 80 else {}


def _steps(rows: Sequence[UnitRow]) -> list[int]:
    return [row.last_step for row in rows]


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= _LARGEST


def _level(error: float | None, top: int) -> float:
    """Return where a replay error is drawn: its decimal logarithm, or the top if it is not a number."""
    return math.log10(error) if error is not None and _drawable(error) and error > 0 else float(top)


def _note(report: Report, units: list[UnitRow], field: str) -> str:
    """Return what the drawing leaves out."""
    note = ""
    if len(units) < len(report.units):
        note += f" {len(units)} of {len(report.units)} units are drawn: the largest and those that failed."
    missing = sum(not _drawable(getattr(row, field)) for row in units)
    return note + (f" {missing} values that are not finite are not drawn." if missing else "")
