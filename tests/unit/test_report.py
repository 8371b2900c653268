"""Reports: every string of a record is hostile, every number may be anything, and the page loads and runs nothing."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from trainproof.errors import TrainproofError
from trainproof.verification import plots, report
from trainproof.verification.policy import Policy
from trainproof.verification.printable import LONGEST, duration, number, printable
from trainproof.verification.verdict import Check, Cost, Outcome, Report, UnitRow, Verdict

BIDI = "\u202e\u2066\u2069\u200f\u061c"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><svg onload=alert(1)>",
    "</dd></dl></section><h1>✓ ACCEPT</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    f"safe{BIDI}txt.exe",
    "a\r\nb\u2028c\u2029d\x85e",
    "\ud800 lone surrogate \udfff",
    "$\\frac{1}{0}$ $\\unknown",
    "[bold red]markup[/bold red] [link=x]y[/]",
    "zero\x00byte",
    "W" * 100_000,
]


def unit(index: int, **changes: Any) -> UnitRow:
    row = UnitRow(
        start=index,
        end=index + 1,
        first_step=20 * index,
        last_step=20 * index + 19,
        epoch=index // 4,
        update_norm=1.0 / (index + 1),
        optimizer_change=0.5,
        mean_loss=2.0 / (index + 1),
    )
    return dataclasses.replace(row, **changes)


def make(verdict: Verdict = Verdict.ACCEPT, text: str = "plain", units: list[UnitRow] | None = None) -> Report:
    outcome = {Verdict.ACCEPT: Outcome.PASS, Verdict.REJECT: Outcome.FAIL}.get(verdict, Outcome.INCONCLUSIVE)
    if units is None:
        units = [unit(0, chosen=("edge",), replay_error=0.0, outcome=Outcome.PASS), unit(1), unit(2)]
        units.append(unit(3, chosen=(text, "random"), replay_error=0.0 if verdict is Verdict.ACCEPT else 1.3))
    return Report(
        record=text,
        verdict=verdict,
        level=1 if verdict is Verdict.ACCEPT else None,
        comparison="bitwise",
        coverage="sampled",
        checks=(
            Check("V1", "signature", Outcome.PASS, text, seconds=0.1),
            Check("V6", "replay", outcome, text, segment=3, steps_replayed=40, details=(text, text)),
            Check("V14", "exact mode", Outcome.SKIPPED, text),
        ),
        units=tuple(units),
        cost=Cost(units=2, steps=40, estimated_seconds=3.0, seconds=2.5),
        policy=msgspec.to_builtins(Policy.bitwise()) | {"name": text},
        policy_digest="5" * 64,
        nonce="a" * 64,
        root="b" * 64,
        prover=text,
        facts={"Recipe": text, text[:50]: "label from a record"},
        caveats=(text,),
        algorithm2={"delta": 0.1, "why": text, "nested": {"d_1": float("nan")}},
        started="2026-01-01T00:00:00Z",
    )


class Page(HTMLParser):
    """Tags with attributes, and the text outside of style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "path", "use", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "use", "line", "rect"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def benign() -> dict[Verdict, Page]:
    return {verdict: Page(report.render(make(verdict))) for verdict in Verdict}


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_strings_stay_text(number: int, benign: dict[Verdict, Page]) -> None:
    text, verdict = HOSTILE[number], list(Verdict)[number % 3]
    source = report.render(make(verdict, text))
    page = Page(source)
    assert not page.open
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in benign[verdict].tags]
    (heading,) = re.findall("<h1>(.*?)</h1>", source)
    assert heading.endswith(verdict.value)
    source.encode("utf-8")
    assert not [c for c in source if not c.isprintable() and c != "\n"]
    assert len(source) < 400_000


def test_page_loads_and_runs_nothing(benign: dict[Verdict, Page]) -> None:
    policy = [
        attrs for tag, attrs in benign[Verdict.ACCEPT].tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policy) == 1
    assert "default-src 'none'" in str(policy[0]["content"])
    for page in benign.values():
        for tag, attributes in page.tags:
            assert tag not in (
                "script",
                "link",
                "img",
                "iframe",
                "object",
                "embed",
                "base",
                "form",
                "a",
                "foreignobject",
            )
            for name, value in attributes.items():
                assert not name.startswith("on"), name
                if name in ("href", "src", "xlink:href"):
                    assert str(value).startswith("#"), value


@pytest.mark.parametrize("verdict", list(Verdict))
def test_page_says_the_verdict_and_what_it_does_not_say(verdict: Verdict, benign: dict[Verdict, Page]) -> None:
    text = benign[verdict].text
    assert f"{verdict.value}" in text
    assert "What it does not say" in text
    for sentence in report.NOT_SAID:
        assert sentence in text
    assert ("This training record was verified." in text) is (verdict is Verdict.ACCEPT)
    assert "V6 replay" in text
    assert "First bad segment" in text


def test_page_shows_the_policy_in_full(benign: dict[Verdict, Page]) -> None:
    for name, _ in report.flatten(msgspec.to_builtins(Policy.bitwise())):
        assert name in benign[Verdict.ACCEPT].text, name


def test_page_is_the_same_for_the_same_report() -> None:
    assert report.render(make()) == report.render(make())


def test_ids_are_unique_and_references_resolve() -> None:
    source = report.render(make(Verdict.REJECT))
    ids = re.findall(r'\bid="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", source)) | set(re.findall(r'href="#([^"]+)"', source)) <= set(ids)


def test_plots_are_wellformed_and_in_the_pages_colours() -> None:
    drawn = plots.draw(make(Verdict.REJECT))
    assert [plot.title for plot in drawn] == ["Update size per unit", "Replay error", "Loss per unit"]
    declared = set(re.findall(r"(--[\w-]+):", report.render(make())))
    for plot in drawn:
        ET.fromstring(plot.svg)
        assert set(re.findall(r"var\((--[\w-]+)\)", plot.svg)) <= declared
        assert not re.search(r"#0[1-6]0", plot.svg)
        assert "metadata" not in plot.svg
        for key in plot.legend:
            assert f"--{key.variable}" in declared


WILD = [0.0, -0.0, 1e-320, 1e308, -1e308, -1.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("value", WILD, ids=str)
def test_wild_numbers_are_drawn_or_left_out(value: float) -> None:
    row = {
        "update_norm": value,
        "optimizer_change": value,
        "mean_loss": value,
        "chosen": ("edge",),
        "replay_error": value,
    }
    for units in ([unit(0, **row)], [unit(0, **row), unit(1)]):
        result = make(units=units)
        assert Page(report.render(result)).open == []
        json.dumps(report.to_plain(result), allow_nan=False)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats(), st.none() | st.floats(), st.booleans()), max_size=5))
def test_any_numbers_are_drawn(rows: list[tuple[float, float, float | None, bool]]) -> None:
    units = [
        unit(n, update_norm=u, mean_loss=m, replay_error=e, chosen=("x",) if c else ())
        for n, (u, m, e, c) in enumerate(rows)
    ]
    for plot in plots.draw(make(units=units)):
        ET.fromstring(plot.svg)


def test_no_units_no_plots() -> None:
    assert plots.draw(make(units=[])) == []
    assert "Update size per unit" not in report.render(make(Verdict.REJECT, units=[]))


def test_large_records_give_small_pages_that_keep_the_failures() -> None:
    units = [unit(n, chosen=("all",), replay_error=0.0, outcome=Outcome.PASS) for n in range(20_000)]
    units[12_345] = unit(12_345, chosen=("all",), replay_error=1.0, outcome=Outcome.FAIL, update_norm=9.0)
    result = make(Verdict.REJECT, units=units)
    kept = plots.thin(units)
    assert len(kept) <= 2 * plots.DRAWN
    assert units[12_345] in kept
    assert kept == sorted(kept, key=lambda row: row.start)
    source = report.render(result)
    assert len(source) < 2_000_000
    assert "12345–12346" in source
    assert "19600 more that passed" in source


def test_many_reasons_share_the_last_mark() -> None:
    units = [unit(n, chosen=(f"reason {n}",), replay_error=0.0) for n in range(20)]
    assert len(plots.reasons(units)) == 8
    assert plots.reasons(units)[-1] == "other"
    assert len(plots.draw(make(units=units))[0].legend) == 8


def test_json_has_everything_and_is_strict() -> None:
    result = make(Verdict.REJECT, "\ud800", [unit(0, replay_error=math.inf, mean_loss=math.nan)])
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert (data["verdict"], data["exit_code"], data["failed"]["id"]) == ("REJECT", 1, "V6")
    assert data["units"][0]["replay_error"] == "Infinity"
    assert data["units"][0]["mean_loss"] == "NaN"
    assert {field.name for field in dataclasses.fields(Report)} <= set(data)
    assert data["checks"][1]["outcome"] == "fail"


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert make().write(target) == target
    assert target.read_text("utf-8").endswith("</html>\n")
    (tmp_path / "folder.html").mkdir()
    for path in (tmp_path / "missing" / "r.html", tmp_path / "folder.html", Path("nul\0byte")):
        with pytest.raises(TrainproofError, match="cannot be written") as caught:
            make().write(path)
        assert caught.value.exit_code == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "report.html"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_terminal_output_obeys_nothing(text: str) -> None:
    stream = io.StringIO()
    report.print_report(make(Verdict.REJECT, text), Console(file=stream, width=100, highlight=False))
    shown = stream.getvalue()
    assert not [c for c in shown if not c.isprintable() and c != "\n"]
    assert len(shown) < 20_000
    if text.startswith("[bold"):
        assert "[bold red]" in shown


def test_covered_steps_are_counted_inclusively() -> None:
    units = [unit(0, chosen=("edge",), replay_error=0.0, outcome=Outcome.PASS), unit(1)]
    text = Page(report.render(make(units=units))).text
    assert "20 of 40 steps" in text


def test_terminal_output_ends_with_the_verdict() -> None:
    stream = io.StringIO()
    report.print_report(make(), Console(file=stream, width=100, highlight=False))
    assert stream.getvalue().rstrip().endswith("ACCEPT, level L1 (bitwise, sampled)")


@pytest.mark.parametrize("text", HOSTILE[6:10] + HOSTILE[12:13])
def test_unprintable_characters_are_shown_by_number(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    for character in text:
        assert character in shown or f"\\u{{{ord(character):x}}}" in shown


def test_long_values_say_how_long_they_are() -> None:
    assert printable("x" * (LONGEST + 5)).endswith("… (5 more characters)")
    assert html.escape(printable("é漢字 ok")) == "é漢字 ok"


def test_numbers_for_reading() -> None:
    assert [number(v) for v in (0.0, 1.0, 0.1234, 1234.5, 1e-9, math.nan, -math.inf, None)] == [
        "0", "1", "0.123", "1.23e+03", "1.00e-09", "not a number", "−∞", "—",
    ]  # fmt: skip
    assert duration(1e-5) == "<1 ms"
    assert [duration(s) for s in (0.25, 60, 600, 7200, 1e6)] == ["250 ms", "60 s", "10 min", "2 h", "11.6 days"]
