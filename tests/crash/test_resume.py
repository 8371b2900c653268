"""A killed run continues: the final model is bit-equal to that of an uninterrupted run, and everything replays."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from forked import Answer, Forks
from trainproof.attest.keys import Signer
from trainproof.errors import ResumeError
from trainproof.recording.chain import model_root
from trainproof.recording.format import Segment
from trainproof.recording.reader import Record
from trainproof.recording.run import unfinished
from trainproof.recording.writer import RecordWriter

SCRIPTS = Path(__file__).parents[1] / "fixtures" / "scripts"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key."""
    found = tmp_path_factory.mktemp("resume")
    Signer.generate().save(found / "prover.key")
    return found


class Door:
    """One way to record; ``train`` starts a process that dies at a moment, continues, or runs through."""

    def __init__(self, forks: Forks, folder: Path, door: str, flags: str) -> None:
        self.forks, self.folder, self.door, self.flags = forks, folder, door, flags.split()

    def train(self, name: str, die_at: int | None = None, resume: bool = False) -> Answer:
        """Train into ``name``."""
        variables = {"DIE_AT": "" if die_at is None else str(die_at), "RESUME": "1" if resume else ""}
        if self.door == "loop" and die_at is None:
            variables["DIE_AT"] = "-1"
        out = str(self.folder / name)
        common = {"cwd": self.folder, "variables": variables}
        if self.door == "recipe":
            arguments = [self.flags[0], out, 3, {"nonce": "0" * 64}]
            return self.forks("call", path=str(SCRIPTS / "recipe.py"), function="train", arguments=arguments, **common)
        if self.door == "loop":
            return self.forks("run_script", path=str(SCRIPTS / "loop.py"), arguments=self._arguments(), **common)
        options = {"out": out, "every": 7, "key": "prover.key", "resume": resume, "nonce": "0" * 64}
        return self.forks("launch", path=str(SCRIPTS / "plain.py"), arguments=self.flags, options=options, **common)

    def _arguments(self) -> list[str]:
        return [self.name, *self.flags]

    def replay(self, out: Path) -> list[list[object]]:
        """Replay every unit; return those that are not bitwise."""
        script = {"recipe": "recipe.py", "loop": "loop.py", "script": "plain.py"}[self.door]
        arguments = {"recipe": [], "loop": self._arguments(), "script": self.flags}[self.door]
        qualname = self.flags[0] if self.door == "recipe" else None
        answer = self.forks(
            "replay", self.folder, record=str(out), path=str(SCRIPTS / script), qualname=qualname, arguments=arguments
        )
        assert answer.code == 0, answer.output
        return [u for u in answer.value if u[2] != "bitwise"]

    name = "out"  # the loop commits to its arguments, so its records lie in folders of the same name


CASES = [
    ("recipe", "Rich", 9),
    ("loop", "sgd cosine workers persistent ema epoch", 17),
    ("loop", "augmented generator workers keyframes", 25),
    ("script", "workers", 15),
]
SLOW_CASES = [
    ("recipe", "Plain", 11),
    ("recipe", "Stepped", 29),
    ("loop", "amp scaler skip accumulate multistep", 24),
    ("loop", "replacement generator noise plateau", 12),
    ("loop", "weighted workers extra", 16),
    ("loop", "keep_last workers spawn", 15),
    ("script", "", 29),
]


@pytest.mark.parametrize(
    ("door", "flags", "moment"), [*CASES, *(pytest.param(*c, marks=pytest.mark.slow) for c in SLOW_CASES)]
)
def test_a_run_killed_in_an_epoch_continues_bit_for_bit(
    forks: Forks, folder: Path, door: str, flags: str, moment: int
) -> None:
    made = []
    for kill in (False, True):
        place = folder / f"{door} {flags} {kill}"
        place.mkdir()
        (place / "prover.key").write_bytes((folder / "prover.key").read_bytes())
        (place / "prover.key").chmod(0o600)
        run = Door(forks, place, door, flags)
        if kill:
            assert run.train("out", die_at=moment).code == -signal.SIGKILL
            assert not Record.open(place / "out").sealed()
            (place / "out" / "states" / ".torn").write_bytes(b"torn")
            (place / "out" / ".torn").write_bytes(b"torn")
        answer = run.train("out", resume=kill)
        assert answer.code == 0, answer.output
        made.append(Record.open(place / "out"))
        assert made[-1].sealed()
        assert not list((place / "out").rglob(".*"))
    assert run.replay(place / "out") == []
    straight, resumed = made
    last, same = straight.segment(len(straight) - 1), resumed.segment(len(resumed) - 1)
    assert model_root(last.state) == model_root(same.state)
    assert [s.state.root for s in segments(straight)] == [s.state.root for s in segments(resumed)]
    assert [s.resumed for s in segments(resumed)].count(True) == 1


def segments(record: Record) -> list[Segment]:
    """Return all segments."""
    return [record.segment(i) for i in range(len(record))]


def test_a_run_killed_before_its_first_state_starts_again(forks: Forks, folder: Path) -> None:
    place = folder / "early"
    place.mkdir()
    Signer.generate().save(place / "prover.key")
    run = Door(forks, place, "loop", "sgd")
    assert run.train("out", resume=False, die_at=None).code == 0
    for entry in [*(place / "out" / "segments").iterdir(), place / "out" / "seal.json"]:
        entry.unlink()
    answer = run.train("out", resume=True)
    assert answer.code == 0, answer.output
    record = Record.open(place / "out")
    assert record.sealed()
    assert not any(s.resumed for s in segments(record))


def test_a_sealed_record_is_not_resumed(forks: Forks, folder: Path) -> None:
    place = folder / "sealed"
    place.mkdir()
    Signer.generate().save(place / "prover.key")
    run = Door(forks, place, "script", "")
    assert run.train("out").code == 0
    before = {p: p.read_bytes() for p in (place / "out").rglob("*") if p.is_file()}
    answer = run.train("out", resume=True)
    assert answer.code == 1
    assert "ResumeError" in answer.output
    assert "is sealed" in answer.output
    assert {p: p.read_bytes() for p in (place / "out").rglob("*") if p.is_file()} == before
    with pytest.raises(ResumeError, match="sealed"):
        unfinished(place / "out")
    with pytest.raises(Exception, match="cannot grow"):
        RecordWriter.reopen(place / "out", 1)


def test_another_run_is_not_continued(forks: Forks, folder: Path) -> None:
    place = folder / "another"
    place.mkdir()
    Signer.generate().save(place / "prover.key")
    run = Door(forks, place, "script", "")
    assert run.train("out", die_at=15).code == -signal.SIGKILL
    answer = Door(forks, place, "script", "workers").train("out", resume=True)
    assert "closure" in answer.output
    assert "is not what the record was started with" in answer.output
    assert run.train("out", resume=True).code == 0


def test_a_folder_that_is_no_record_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ResumeError, match="is not a record"):
        unfinished(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
