"""The process ends at every write of a short run: the record continues from its last state, or nothing is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from forked import Forks
from trainproof.attest.keys import Signer
from trainproof.errors import RecordError
from trainproof.recording.chain import chain_value, model_root
from trainproof.recording.reader import Record
from trainproof.recording.run import unfinished

SCRIPT = Path(__file__).parents[1] / "fixtures" / "scripts" / "crash.py"
# 3 writes create a record; then 5 states, a segment for each, and the seal.
WRITES = 3 + 2 * 5 + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key."""
    found = tmp_path_factory.mktemp("crash")
    Signer.generate().save(found / "prover.key")
    return found


@pytest.fixture(scope="module")
def whole(forks: Forks, folder: Path) -> Record:
    """The record of a run that nothing interrupted."""
    answer = forks("call", folder, path=str(SCRIPT), function="train", arguments=[str(folder / "whole"), WRITES, False])
    assert answer.code == 0, answer.output
    return Record.open(folder / "whole")


# Of each kind one: before the record, in its creation, in a state, in a segment, in the last segment, in the seal.
OFTEN = (0, 2, 3, 4, 7, 8, 12, 13)


@pytest.mark.parametrize(
    "calls", [pytest.param(n, marks=[] if n in OFTEN else pytest.mark.slow) for n in range(WRITES)]
)
def test_a_crash_at_any_write_leaves_what_can_continue(forks: Forks, folder: Path, whole: Record, calls: int) -> None:
    out = folder / f"out{calls}"
    answer = forks("call", folder, path=str(SCRIPT), function="train", arguments=[str(out), calls, False])
    assert answer.code == 77, answer.output
    segments = max(0, (calls - 3) // 2)
    left = unfinished(out)
    if segments == 0:
        assert left is None
        with pytest.raises(RecordError):
            Record.open(out)
    else:
        assert left is not None
        assert len(left) == segments
        assert not left.sealed()
        assert all(left.segment(i).chain == chain_value(left.segment(i)) for i in range(segments))
        assert [left.segment(i).chain for i in range(segments)] == [whole.segment(i).chain for i in range(segments)]
    answer = forks("call", folder, path=str(SCRIPT), function="train", arguments=[str(out), None, True])
    assert answer.code == 0, answer.output
    resumed = Record.open(out)
    assert answer.value == resumed.root
    assert not list(out.rglob(".*"))
    assert sorted(p.name for p in (out / "states").iterdir()) == sorted(
        p.name for p in (whole.path / "states").iterdir()
    )
    last, same = resumed.segment(len(resumed) - 1), whole.segment(len(whole) - 1)
    assert model_root(last.state) == model_root(same.state)
    assert last.state.root == same.state.root
