"""The disk fills, or a write fails, at every point of a short run: the training goes on, the record is never wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainproof as tp
from trainproof import _core
from trainproof.attest.keys import Signer
from trainproof.attest.statement import open_seal
from trainproof.errors import PlanError, RecordError, UsageError
from trainproof.recording import chain
from trainproof.recording.format import Seal
from trainproof.recording.plan import plan
from trainproof.recording.reader import Record
from trainproof.recording.record import Recording
from trainproof.recording.run import unfinished
from trainproof.recording.state import StateAccess, check_tensors

STEPS, EVERY = 8, 2
KEY = Signer.generate()


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setattr("trainproof.recording.record.undeclared", lambda _: [])  # pytest has loaded other tests


def train(out: Path, **options: Any) -> tuple[nn.Module, Recording]:
    """Train for 8 steps and record it; return the model and the recording."""
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 4), torch.arange(64) % 3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(data, batch_size=8, shuffle=True)
    recording = tp.record(
        out,
        recipe=__file__,
        model=model,
        optimizer=optimizer,
        data_loader=loader,
        every=EVERY,
        key=KEY,
        self_replay=False,
        quiet=True,
        **options,
    )
    with recording:
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model, recording


def weights(model: nn.Module) -> torch.Tensor:
    """Return all parameters as one vector."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def failing_after(calls: int, fail: Callable[[str], None]) -> Callable[..., int]:
    """Return ``_core.write_file`` that does something else from its call number ``calls`` on."""
    real, count = _core.write_file, 0

    def write_file(path: str, data: Any) -> int:
        nonlocal count
        count += 1
        if count > calls and not path.endswith("seal.json"):
            fail(path)
        return real(path, data)

    return write_file


def full(path: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def checked(out: Path) -> Record:
    """Return the record after checking its chain and its stored states."""
    record = Record.open(out)
    previous = record.commitment_digest
    for index in range(len(record)):
        segment = record.segment(index)
        assert segment.previous == previous
        assert segment.chain == chain.chain_value(segment)
        assert segment.state.root == chain.state_root(segment.state)
        if segment.stored:
            assert check_tensors(record.tensors(index), segment.state) is None
        previous = segment.chain
    return record


def statement_of(record: Record) -> Seal:
    """Return the record's seal, its signature checked."""
    return open_seal(record.seal_bytes(), record.commitment.key).predicate


# A record is created by 3 writes; then come a state and a segment for each of 5 states.
CREATED, STATES = 3, 5


@pytest.mark.parametrize("calls", range(CREATED + 2, CREATED + 2 * STATES))
def test_a_full_disk_ends_the_record_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: int
) -> None:
    undisturbed, _ = train(tmp_path / "whole")
    monkeypatch.setattr(_core, "write_file", failing_after(calls, full))
    model, recording = train(tmp_path / "out")
    assert torch.equal(weights(model), weights(undisturbed))
    assert "the record ends here, the training goes on: No space left on device" in capsys.readouterr().err
    record = checked(tmp_path / "out")
    written = (calls - CREATED) // 2
    assert len(record) == written
    assert recording.root == record.root
    seal = statement_of(record)
    assert (seal.ended, seal.segments, seal.steps) == ("disk full", written, EVERY * (written - 1))
    assert sorted(p.name for p in (tmp_path / "out" / "states").iterdir()) == [
        f"{i:08d}.safetensors" for i in range(written)
    ]


def test_a_disk_that_fills_between_key_frames_cuts_the_record_at_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Writes: 3, then states 0 and 2 with their segments, and segments 1 and 3.
    monkeypatch.setattr(_core, "write_file", failing_after(CREATED + 6, full))
    train(tmp_path / "out", keep="keyframes:2")
    record = checked(tmp_path / "out")
    assert record.stored() == [0, 2]
    assert len(record) == 3
    assert statement_of(record).steps == 2 * EVERY


@pytest.mark.parametrize("calls", [CREATED, CREATED + 1])
def test_a_disk_that_is_full_from_the_start_does_not_fail_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], calls: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_core, "write_file", failing_after(calls, full))
        model, recording = train(tmp_path / "out")
    assert recording.record is None
    assert "no state was written: No space left on device" in capsys.readouterr().err
    again, recording = train(tmp_path / "out", resume=True)
    assert torch.equal(weights(model), weights(again))
    assert recording.record is not None


@pytest.mark.parametrize("calls", range(CREATED))
def test_a_record_that_cannot_be_created_stops_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_core, "write_file", failing_after(calls, full))
        with pytest.raises(RecordError, match="cannot be written: No space left on device"):
            train(tmp_path / "out")
    assert unfinished(tmp_path / "out") is None
    _, recording = train(tmp_path / "out", resume=True)
    assert recording.record is not None


def test_a_seal_without_space_is_said_and_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = _core.write_file

    def write_file(path: str, data: Any) -> int:
        return full(path) if path.endswith("seal.json") else real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(_core, "write_file", write_file)
        with pytest.raises(RecordError, match="cannot be sealed: No space left on device; make space, and resume it"):
            train(tmp_path / "out")
    assert not Record.open(tmp_path / "out").sealed()
    before = Record.open(tmp_path / "out").root
    _, recording = train(tmp_path / "out", resume=True)
    assert recording.root == before


def test_other_failures_of_the_writer_are_not_called_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: str) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(_core, "write_file", failing_after(CREATED + 4, broken))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        train(tmp_path / "out")
    assert not Record.open(tmp_path / "out").sealed()


def test_a_folder_that_exists_is_refused_and_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    for place in (out, tmp_path / "other"):
        before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
        with pytest.raises(UsageError, match="already there; choose another folder"):
            train(place)
        assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


# -- plan ------------------------------------------------------------------------------------------------------------


def access(width: int = 8) -> StateAccess:
    """Return a model of ``width`` + 1 floats and its optimizer."""
    model = nn.Linear(width, 1)
    return StateAccess(model, torch.optim.AdamW(model.parameters()), [], None, {})


def test_a_plan_counts_states_and_bytes(tmp_path: Path) -> None:
    found = plan(access(), tmp_path / "not" / "there", steps=101, every=10, keyframes=3)
    assert found.state_bytes == 3 * 4 * 9
    assert (found.segments, found.stored_states) == (11, 5)
    assert found.total_bytes == 5 * found.state_bytes
    assert "11 segments, 5 stored states" in found.lines()[1]


def test_a_record_that_does_not_fit_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainproof.recording.plan.free_bytes", lambda _: 1000)
    plan(access(), tmp_path, steps=20, every=10, keyframes=1)
    with pytest.raises(PlanError, match=r"needs .*raise every=") as error:
        plan(access(), tmp_path, steps=1000, every=10, keyframes=1)
    assert error.value.exit_code == 2
    with pytest.raises(PlanError):
        plan(access(100), tmp_path, steps=None, every=10, keyframes=1)


def test_a_record_that_does_not_fit_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainproof.recording.plan.available_memory", lambda: 400)
    with pytest.raises(PlanError, match="writing states needs 540 B of memory, 400 B are available"):
        plan(access(), tmp_path, steps=20, every=10, keyframes=1)
