"""The ledger: one nonce a record, REJECT for ever, no silent repair."""

from __future__ import annotations

import multiprocessing
import os
import re
import stat
from pathlib import Path

import pytest

from trainproof import limits
from trainproof.errors import LimitError, RecordError, UsageError
from trainproof.verification.ledger import Finished, Ledger, default_path
from trainproof.verification.verdict import Verdict

ROOT, OTHER, POLICY, MODEL = "a" * 64, "b" * 64, "c" * 64, "d" * 64


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.jsonl")


def test_one_record_gets_one_nonce_for_ever(ledger: Ledger) -> None:
    first = ledger.begin(ROOT, POLICY)
    assert re.fullmatch("[0-9a-f]{64}", first.nonce)
    ledger.finish(first, Verdict.INCONCLUSIVE, None, None)
    second = Ledger(ledger.path).begin(ROOT, "e" * 64)
    assert second.nonce == first.nonce
    assert (first.earlier, second.earlier) == (0, 1)
    assert ledger.begin(OTHER, POLICY).nonce != first.nonce


def test_refuses_a_second_nonce_for_the_same_record(ledger: Ledger) -> None:
    assert ledger.begin(ROOT, POLICY, nonce="1" * 64).nonce == "1" * 64
    assert ledger.begin(ROOT, POLICY, nonce="1" * 64).nonce == "1" * 64
    with pytest.raises(UsageError, match="one record gets one challenge"):
        ledger.begin(ROOT, POLICY, nonce="2" * 64)


def test_reject_is_permanent(ledger: Ledger) -> None:
    assert ledger.refused(ROOT) is None
    for verdict in (Verdict.ACCEPT, Verdict.REJECT, Verdict.ACCEPT):
        ledger.finish(ledger.begin(ROOT, POLICY), verdict, 1, MODEL)
    refused = ledger.refused(ROOT)
    assert refused is not None
    assert (refused.attempt, refused.verdict) == (1, "REJECT")
    assert ledger.accepted(ROOT) is None
    assert ledger.refused(OTHER) is None


def test_accepted_is_the_highest_level_and_the_latest_of_these(ledger: Ledger) -> None:
    assert ledger.accepted(ROOT) is None
    for level, policy in [(1, "1" * 64), (3, "2" * 64), (3, "3" * 64), (1, "4" * 64)]:
        ledger.finish(ledger.begin(ROOT, policy), Verdict.ACCEPT, level, MODEL)
    ledger.finish(ledger.begin(ROOT, POLICY), Verdict.INCONCLUSIVE, None, None)
    accepted = ledger.accepted(ROOT)
    assert isinstance(accepted, Finished)
    assert (accepted.level, accepted.policy, accepted.model) == (3, "3" * 64, MODEL)
    assert ledger.accepted(OTHER) is None


def test_file_is_the_verifiers_alone(ledger: Ledger) -> None:
    old = os.umask(0)
    try:
        ledger.begin(ROOT, POLICY)
    finally:
        os.umask(old)
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700


def test_looking_up_creates_nothing(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.refused(ROOT) is None
    assert not ledger.path.parent.exists()


def test_refuses_to_finish_what_it_did_not_begin(ledger: Ledger, tmp_path: Path) -> None:
    attempt = Ledger(tmp_path / "elsewhere").begin(ROOT, POLICY)
    with pytest.raises(UsageError, match="not begun here"):
        ledger.finish(attempt, Verdict.ACCEPT, 1, MODEL)
    ledger.begin(ROOT, POLICY)
    with pytest.raises(UsageError, match="another record, policy or nonce"):
        ledger.finish(attempt, Verdict.ACCEPT, 1, MODEL)


def test_refuses_to_finish_twice(ledger: Ledger) -> None:
    attempt = ledger.begin(ROOT, POLICY)
    ledger.finish(attempt, Verdict.INCONCLUSIVE, None, None)
    with pytest.raises(UsageError, match="ended already"):
        ledger.finish(attempt, Verdict.ACCEPT, 1, MODEL)


def test_unfinished_last_line_is_dropped(ledger: Ledger) -> None:
    nonce = ledger.begin(ROOT, POLICY).nonce
    whole = ledger.path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        ledger.path.write_bytes(whole + whole[:cut])
        assert len(ledger.entries()) == 1
    assert ledger.begin(ROOT, POLICY).nonce == nonce
    assert len(ledger.entries()) == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: [b"", *lines],
        lambda lines: [b"{}", *lines],
        lambda lines: [lines[0] + b" ", *lines[1:]],
        lambda lines: [lines[0].replace(b'"attempt":0', b'"attempt":0,"attempt":0'), *lines[1:]],
        lambda lines: [lines[0].replace(b'"begin"', b'"begun"'), *lines[1:]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [*lines, lines[1]],
        lambda lines: [*lines[:2], re.sub(rb'"nonce":"\w', b'"nonce":"x', lines[2])],
        lambda lines: [*lines[:2], lines[2].replace(lines[2][lines[2].index(b'"nonce"') :][9:73], b"7" * 64)],
        lambda lines: [lines[0], lines[1].replace(b"REJECT", b"ACCEPTED"), *lines[2:]],
        lambda lines: [lines[0], lines[1].replace(b"a" * 64, b"b" * 64), *lines[2:]],
    ],
)
def test_refuses_an_edited_ledger(ledger: Ledger, edit: object) -> None:
    ledger.finish(ledger.begin(ROOT, POLICY), Verdict.REJECT, None, MODEL)
    ledger.begin(ROOT, POLICY)
    lines = ledger.path.read_bytes().splitlines()
    edited = edit(list(lines))  # type: ignore[operator]
    ledger.path.write_bytes(b"".join(line + b"\n" for line in edited))
    with pytest.raises(RecordError, match=r"line [0-9]"):
        ledger.entries()
    before = ledger.path.read_bytes()
    with pytest.raises(RecordError):
        ledger.begin(OTHER, POLICY)
    assert ledger.path.read_bytes() == before


def test_refuses_oversized_ledgers(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.begin(ROOT, POLICY)
    size = ledger.path.stat().st_size
    monkeypatch.setattr(limits, "LEDGER_BYTES", size + 10)
    with pytest.raises(LimitError, match="would exceed"):
        ledger.begin(OTHER, POLICY)
    assert ledger.path.stat().st_size == size
    monkeypatch.setattr(limits, "LEDGER_BYTES", size - 1)
    with pytest.raises(LimitError, match="larger than the limit"):
        ledger.entries()


def test_refuses_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "file" / "below", Path("nul\0byte")):
        with pytest.raises(RecordError):
            Ledger(path).begin(ROOT, POLICY)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(RecordError, match="not a regular file"):
            Ledger(path).entries()


def test_default_location_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "trainproof" / "ledger.jsonl"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "share" / "trainproof" / "ledger.jsonl"


def _begin_many(path: Path, count: int) -> None:
    for _ in range(count):
        Ledger(path).begin(ROOT, POLICY)


def test_parallel_verifications_share_one_nonce_and_lose_no_line(ledger: Ledger) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_begin_many, args=(ledger.path, 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    entries = ledger.entries()
    assert [entry.attempt for entry in entries] == list(range(30))
    assert len({entry.nonce for entry in entries}) == 1
