"""``trainproof bench record``: what recording costs, what the paper's way costs, and what a replay costs, in one run.

How: the same loop on the same batches runs plain, recorded and the reference's way, in one process, in turns, block by
block; a block is ``every`` steps, and only one computes at a time. A recorded block ends when the recorder's writer
has put on disk what the block gave it, so work moved to another thread is counted as well. Each ratio is that of one
round; the median over the rounds is reported with their range. The recorder's replay before sealing is off while
timing, and its cost is reported by itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainproof.attest.keys import Signer
from trainproof.bench.side import SIDES, reference_hash
from trainproof.bench.turns import Sides
from trainproof.errors import ReplayError, UsageError

ROUNDS = 5


@dataclass(frozen=True)
class Setting:
    """One comparison: ``blocks`` blocks of ``every`` steps make a round of each side."""

    workload: str
    batch: int
    every: int
    blocks: int
    replay: bool = False


FULL = {
    "20": Setting("vision", 128, 20, 1),
    "large": Setting("language", 8, 5, 2),
    "100": Setting("vision", 128, 100, 1, replay=True),
}
QUICK = {
    "20": Setting("vision", 32, 5, 1),
    "100": Setting("vision", 32, 10, 1, replay=True),
    "large": Setting("language", 4, 3, 1),
}


@dataclass
class Timing:
    """Seconds of each round, by side, and what the record took on disk."""

    seconds: dict[str, list[float]]
    steps_a_round: int
    stored_bytes: int
    log_bytes: int
    raw_bytes: int
    same_weights: bool
    replay_seconds: list[float]
    replay_wall: list[float]

    def ratios(self, side: str, steps_of_one_hash: int = 0, hash_seconds: float = 0.0) -> list[float]:
        """Return side / plain − 1 of each round. A cost paid once is spread over ``steps_of_one_hash`` steps."""
        share = hash_seconds * self.steps_a_round / steps_of_one_hash if steps_of_one_hash else 0.0
        pairs = zip(self.seconds[side], self.seconds["plain"], strict=True)
        return [(mine + share) / plain - 1.0 for mine, plain in pairs]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the range, to four decimals."""
    return {
        "median": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }


def main(
    json_output: bool = False, quick: bool = False, rounds: int = ROUNDS, out: str | None = None
) -> dict[str, Any]:
    """Measure and print; return what ``--json`` prints.

    ``quick`` takes small sizes: it tests the measurement and measures nothing. ``out`` is where records lie meanwhile
    (default: a temporary folder). Raises UsageError if ``rounds`` is not positive, DatasetError if CIFAR-10 is missing.
    """
    if rounds < 1:
        raise UsageError("must be at least 1", name="rounds", value=rounds)
    settings = QUICK if quick else FULL

    def note(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="trainproof-bench-", dir=out) as folder:
        key = Path(folder) / "prover.key"
        Signer.generate().save(key)
        roots = _roots(quick, rounds)
        timings = {}
        for name, setting in settings.items():
            steps = setting.blocks * setting.every
            note(f"{setting.workload}, every {setting.every}: {rounds} rounds of {steps} steps a side")
            timings[name] = measure(setting, Path(folder) / name, key, rounds, quick, note)
    result = _result(timings, roots, settings, rounds, quick)
    if json_output:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return result


def measure(setting: Setting, folder: Path, key: Path, rounds: int, quick: bool, note: Callable[[str], None]) -> Timing:
    """Run the sides in turn. The first blocks warm up and are not counted; the second puts segment 1 on disk, since
    the recorder cuts a segment at the next delivery.
    """
    folder.mkdir()
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    replay_seconds: list[float] = []
    replay_wall: list[float] = []
    arguments = _arguments(setting, folder, key, quick)
    sides = Sides(arguments, folder / "sides.log")
    try:
        sides.ready()
        for _ in range(2):
            sides.block()
        for turn in range(rounds):
            blocks = [sides.block() for _ in range(setting.blocks)]
            for name in SIDES:
                seconds[name].append(sum(block[name] for block in blocks))
            if setting.replay:
                wall, own = _replay(folder / "recorded", arguments, turn)
                replay_seconds.append(own)
                replay_wall.append(wall)
            note("  " + ", ".join(f"{name} {seconds[name][-1]:.2f} s" for name in SIDES))
        weights = sides.finish()
    finally:
        sides.close()
    stored, log, raw = _sizes(folder / "recorded")
    return Timing(
        seconds,
        setting.blocks * setting.every,
        stored,
        log,
        raw,
        len(set(weights.values())) == 1,
        replay_seconds,
        replay_wall,
    )


def _arguments(setting: Setting, folder: Path, key: Path, quick: bool) -> list[str]:
    return [
        *("--workload", setting.workload, "--every", str(setting.every), "--batch", str(setting.batch)),
        *("--out", str(folder / "recorded"), "--key", str(key), *(["--quick"] if quick else [])),
    ]


def _roots(quick: bool, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of the dataset root, and of the paper's data hash, measured in turn."""
    from trainproof.bench import data
    from trainproof.recording import dataset

    images = data.digits() if quick else data.cifar10("train")
    seconds: dict[str, list[float]] = {"recorded": [], "reference": []}
    for _ in range(rounds):
        began = time.perf_counter()
        dataset.root(dataset.leaves(images))
        seconds["recorded"].append(time.perf_counter() - began)
        began = time.perf_counter()
        reference_hash(images.tensors[0])
        seconds["reference"].append(time.perf_counter() - began)
    return seconds


def _sizes(record: Path) -> tuple[int, int, int]:
    """Return, a state: bytes of its file, bytes of its segment's JSON, and raw bytes of its tensors."""
    from trainproof.recording.reader import Record
    from trainproof.recording.writer import itemsize

    opened = Record.open(record)
    last = opened.segment(len(opened) - 1)
    raw = 0
    for entry in last.state.tensors:
        count = 1
        for n in entry.shape:
            count *= n
        raw += count * itemsize(entry.dtype)
    log = (record / "segments" / f"{len(opened) - 2:08d}.json").stat().st_size
    return opened.state_path(len(opened) - 1).stat().st_size, log, raw


def _replay(record: Path, arguments: list[str], start: int) -> tuple[float, float]:
    """Replay one unit of the growing record in a new process; return (wall seconds, seconds of its steps).

    Raises ReplayError if the recipe fails there, or its end state is not the recorded one bit for bit.
    """
    from trainproof.bench import side
    from trainproof.recording.reader import Record
    from trainproof.replay.job import Job, RecipeSource, Unit
    from trainproof.replay.pool import replay_units

    opened = Record.open(record)
    unit = Unit(kind="replay", start=start, end=start + 1, perturb=0)
    with tempfile.TemporaryDirectory(prefix="trainproof-bench-") as scratch:
        job = Job(
            record=str(record.resolve()),
            recipe=RecipeSource(path=str(Path(side.__file__).resolve()), qualname=None, arguments=arguments),
            scratch=scratch,
            readable=[],
            sandbox="off",
            memory_bytes=0,
            salts=None,
        )
        began = time.perf_counter()
        (result,) = replay_units(
            job, [unit], opened.commitment.environment, jobs=1, unit_seconds=3600.0, on_result=lambda _: None
        )
        wall = time.perf_counter() - began
    if result.failure is not None:
        raise ReplayError(result.failure, name="replay")
    if result.segments[-1].state.root != opened.segment(start + 1).state.root:
        raise ReplayError("the replayed state is not the recorded one", name=f"segment {start + 1}")
    return wall, result.step_seconds


def _result(
    timings: dict[str, Timing], roots: dict[str, list[float]], settings: dict[str, Setting], rounds: int, quick: bool
) -> dict[str, Any]:
    """Return everything that is printed. Keys ending in ``_ratio`` are the figures; the rest says how they came."""
    small, large = {k: timings[k] for k in ("20", "100")}, timings["large"]
    samples = 1797 if quick else 50_000
    epoch = samples // settings["20"].batch
    mine, theirs = (statistics.median(roots[side]) for side in ("recorded", "reference"))
    replayed = timings["100"]
    # Of the same round, so under the same load; the segment replayed is one that was trained some rounds earlier.
    against = zip(replayed.replay_seconds, replayed.seconds["plain"], strict=True)
    return {
        "quick": quick,
        "rounds": rounds,
        "overhead_ratio": {k: summary(t.ratios("recorded", epoch, mine)) for k, t in small.items()},
        "overhead_without_root_ratio": {k: summary(t.ratios("recorded")) for k, t in small.items()},
        "reference_overhead_ratio": {k: summary(t.ratios("reference", epoch, theirs)) for k, t in small.items()},
        "reference_without_hash_ratio": {k: summary(t.ratios("reference")) for k, t in small.items()},
        "large_state_overhead_ratio": summary(large.ratios("recorded")),
        "large_state_reference_ratio": summary(large.ratios("reference")),
        "bytes_per_state_ratio": {k: round(t.stored_bytes / t.raw_bytes, 4) for k, t in timings.items()},
        "verify_ratio": summary([replay / plain for replay, plain in against]),
        "raw_bytes_per_state": {k: t.raw_bytes for k, t in timings.items()},
        "log_bytes_per_segment": {k: t.log_bytes for k, t in timings.items()},
        "root_seconds": summary(roots["recorded"]),
        "reference_hash_seconds": summary(roots["reference"]),
        "root_spread_over_steps": epoch,
        "replayed_seconds": summary(replayed.replay_seconds),
        "self_replay_seconds": summary(replayed.replay_wall),
        "same_weights": {k: t.same_weights for k, t in timings.items()},
        "seconds": {k: {s: [round(x, 3) for x in v] for s, v in t.seconds.items()} for k, t in timings.items()},
        "steps_a_round": {k: t.steps_a_round for k, t in timings.items()},
        "threads": _threads(),
    }


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _print(result: dict[str, Any]) -> None:
    """Print the figures, a line each."""
    for name, value in result.items():
        if not name.endswith("_ratio"):
            continue
        rows = value.items() if isinstance(value, dict) and "median" not in value else [("", value)]
        for key, row in rows:
            label = f"{name}{f' [{key}]' if key else ''}"
            text = (
                f"{row:.4f}"
                if isinstance(row, float)
                else f"{row['median']:.4f}  ({row['low']:.4f} to {row['high']:.4f})"
            )
            print(f"{label:40} {text}")
