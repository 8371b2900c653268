"""The prover's own test that the record replays: its first unit while it trains, its last one before the seal.

A record that its own machine cannot replay is worth little; the prover should hear of it after one unit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from trainproof.errors import TrainproofError
from trainproof.recording.format import SelfReplay
from trainproof.recording.reader import Record
from trainproof.recording.recorder import self_replay_result
from trainproof.replay.job import RecipeSource, Unit, UnitResult


class SelfReplays:
    """Runs the two self-replays; the first in the background at low priority."""

    def __init__(self, path: Path, source: RecipeSource, tell: Callable[[str], None]) -> None:
        self.path, self.source, self.tell = path, source, tell
        self._thread: threading.Thread | None = None
        self._results: list[SelfReplay] = []
        self._done: set[int] = set()
        self._cancelled = False

    def first(self, end: int) -> None:
        """Replay the unit that ends with stored segment ``end`` in the background, if none was started yet."""
        if self._thread is None and not self._cancelled:
            self._done.add(end)
            self._thread = threading.Thread(target=self._run, args=(end,), name="trainproof-self-replay", daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """Start no replay any more."""
        self._cancelled = True

    def finish(self, record: Record) -> list[SelfReplay]:
        """Wait for the first replay, run the last unit's, and return the seal's entries."""
        if self._thread is not None:
            self._thread.join()
        last = len(record) - 1
        if last > 0 and last not in self._done:
            self.tell(f"testing the record: this machine replays segment {last} before it is sealed")
            self._run(last)
        return sorted(self._results, key=lambda r: r.segment)

    def _run(self, end: int) -> None:
        outcome, detail = "not run", ""
        try:
            outcome, detail = compare(Record.open(self.path), self._replay(end))
        except (TrainproofError, OSError) as error:
            detail = str(error)
        if outcome != "bitwise":
            self.tell(
                f"NOT REPLAYABLE: segment {end} replayed by this machine: {outcome} {detail}; verdicts will be L0"
            )
        self._results.append(self_replay_result(end, outcome, detail))

    def _replay(self, end: int) -> UnitResult:
        import tempfile

        from trainproof.replay.job import Job
        from trainproof.replay.pool import replay_units

        record = Record.open(self.path)
        start = max(i for i in record.stored() if i < end)
        # Confined where the system can: the script runs a second time, and must not write over what it wrote the first.
        data = [entry for entry in os.environ.get("TRAINPROOF_DATA", "").split(os.pathsep) if entry]
        folders = [self.path, Path(self.source.path).parent, *map(Path, data)]
        secret = self.path.with_name(self.path.name + ".secret")
        with tempfile.TemporaryDirectory(prefix="trainproof-") as scratch:
            job = Job(
                record=str(self.path.resolve()),
                recipe=self.source,
                scratch=scratch,
                readable=sorted({str(folder.resolve()) for folder in folders}),
                sandbox="best-effort",
                memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                salts=str(secret.resolve()) if record.commitment.dataset.private else None,
            )
            unit = Unit(kind="replay", start=start, end=end, perturb=0)
            (result,) = replay_units(job, [unit], record.commitment.environment, 1, 24 * 3600.0, lambda _: None)
        return result


def compare(record: Record, result: UnitResult) -> tuple[str, str]:
    """Return (outcome, detail) of a replayed unit against the record: 'bitwise', or 'differs' and where."""
    if result.failure is not None:
        return "differs", result.failure
    if result.bad_samples or result.bad_order is not None:
        return "differs", f"samples {result.bad_samples[:5]}, order {result.bad_order}"
    for replayed in result.segments:
        recorded = record.segment(replayed.index)
        if replayed.state.root != recorded.state.root:
            ours = {e.name: e for e in replayed.state.tensors}
            names = [e.name for e in recorded.state.tensors if ours.get(e.name) != e]
            return "differs", f"segment {recorded.index}: {names[0] if names else 'state other than tensors'}"
        if (replayed.steps, replayed.hypers, replayed.trailing) != (recorded.steps, recorded.hypers, recorded.trailing):
            return "differs", f"segment {recorded.index}: log"
    if len(result.segments) != result.unit.end - result.unit.start:
        return "differs", "the recipe ended early"
    return "bitwise", ""
