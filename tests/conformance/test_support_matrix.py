"""Everything in the support matrix replays bit for bit, from every stored state, in a fresh process."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import tally
from forked import Answer, Forks
from trainproof.attest.keys import Signer
from trainproof.attest.statement import open_seal
from trainproof.recording.format import StepLog
from trainproof.recording.reader import Record
from trainproof.recording.self_replay import compare
from trainproof.replay.job import Job, RecipeSource, Unit
from trainproof.replay.pool import replay_units

SCRIPTS = Path(__file__).parents[1] / "fixtures" / "scripts"

# Combinations that together hold every flag of the script.
LOOPS = [
    "sgd cosine clip ema workers persistent evaluate",
    "fused amp scaler skip cosine accumulate clip",
    "amp scaler skip sequential epoch",
    "multistep adam amsgrad keyframes plateau",
    "augmented workers keep_last break onecycle",
    "tied plain_sgd no_batches lambda generator",
    "frozen channels_last replacement workers break clamp",
    "bf16_parameters sgd fused weighted noise zero_first drop_last",
    "replacing adam fused generator workers persistent break extra private",
]
SLOW_LOOPS = [
    "workers spawn",
    "workers spawn persistent augmented",
    "sgd",
    "sgd fused",
    "plain_sgd",
    "adam",
    "adam fused",
    "fused",
    "workers",
    "workers persistent",
    "workers break",
    "workers persistent break",
    "break",
    "accumulate",
    "accumulate break",
    "accumulate workers keyframes",
    "amp",
    "amp scaler",
    "amp scaler skip",
    "amp scaler skip fused accumulate",
    "multistep",
    "plateau workers",
    "ema keyframes",
    "tied",
    "augmented workers persistent",
    "keep_last break",
    "no_batches generator",
    "replacement generator workers break",
    "weighted workers break",
    "channels_last fused",
    "bf16_parameters adam",
    "noise workers",
    "evaluate keyframes",
    "extra break",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key."""
    found = tmp_path_factory.mktemp("matrix")
    Signer.generate().save(found / "prover.key")
    return found


def succeeded(answer: Answer) -> Answer:
    """Return ``answer`` if its process ended well."""
    assert answer.code == 0, answer.output[-3000:]
    return answer


def assert_replays(forks: Forks, out: Path, script: Path, arguments: list[str], qualname: str | None = None) -> None:
    """Replay every unit of a record in a fresh process."""
    answer = forks("replay", out.parent, record=str(out), path=str(script), qualname=qualname, arguments=arguments)
    if answer.code != 0:
        tally.SEGMENTS["inconclusive"] += 1
    units = succeeded(answer).value
    assert len(units) >= 1
    for start, end, outcome, _ in units:
        tally.SEGMENTS["bitwise" if outcome == "bitwise" else "refused"] += end - start
    assert [u for u in units if u[2] != "bitwise"] == []


def record_loop(forks: Forks, folder: Path, flags: str) -> tuple[Path, list[str]]:
    """Record ``loop.py`` with ``flags`` in a fresh process."""
    out = folder / flags.replace(" ", "-")
    arguments = [str(out), *flags.split()]
    succeeded(forks("run_script", folder, path=str(SCRIPTS / "loop.py"), arguments=arguments))
    return out, arguments


@pytest.mark.parametrize("flags", [*LOOPS, *(pytest.param(f, marks=pytest.mark.slow) for f in SLOW_LOOPS)])
def test_a_loop_replays_from_every_state(forks: Forks, folder: Path, flags: str) -> None:
    out, arguments = record_loop(forks, folder, flags)
    assert_replays(forks, out, SCRIPTS / "loop.py", arguments)


def test_skipped_steps_and_leftover_batches_are_in_the_log(forks: Forks, folder: Path) -> None:
    out, _ = record_loop(forks, folder, "amp scaler skip accumulate drop_last")
    steps = steps_of(out)
    assert {len(s.batches) for s in steps} == {3}
    assert len(steps) == 10
    out, _ = record_loop(forks, folder, "amp scaler skip break")
    steps = steps_of(out)
    assert {(s.skipped, s.losses == ["inf"]) for s in steps} == {(True, True), (False, False)}


def steps_of(out: Path) -> list[StepLog]:
    """Return the steps of a whole record."""
    record = Record.open(out)
    return [s for i in range(len(record)) for s in record.segment(i).steps]


def test_state_that_nobody_registered_is_found_by_replay(forks: Forks, folder: Path) -> None:
    out, arguments = record_loop(forks, folder, "counter")
    answer = forks("replay", folder, record=str(out), path=str(SCRIPTS / "loop.py"), qualname=None, arguments=arguments)
    outcomes = [u[2] for u in succeeded(answer).value]
    assert outcomes[0] == "bitwise"
    assert "differs" in outcomes


def test_a_run_that_does_not_replay_is_told_so_and_sealed_so(forks: Forks, folder: Path) -> None:
    out = folder / "told"
    answer = forks("run_script", folder, path=str(SCRIPTS / "loop.py"), arguments=[str(out), "counter", "self_replay"])
    assert "NOT REPLAYABLE: segment 5 replayed by this machine: differs segment" in succeeded(answer).output
    record = Record.open(out)
    seal = open_seal(record.seal_bytes(), record.commitment.key).predicate
    assert [(r.segment, r.outcome) for r in seal.self_replays] == [(1, "bitwise"), (5, "differs")]
    assert seal.self_replays[1].detail.startswith("segment 5: ")


@pytest.mark.parametrize("name", ["Plain", "Rich", "Stepped"])
def test_a_recipe_replays_from_every_state(forks: Forks, folder: Path, name: str) -> None:
    out = folder / name
    keep = {"keep": "keyframes:2", "private": True} if name == "Stepped" else {}
    succeeded(
        forks("call", folder, path=str(SCRIPTS / "recipe.py"), function="train", arguments=[name, str(out), 3, keep])
    )
    assert_replays(forks, out, SCRIPTS / "recipe.py", [], name)


@pytest.mark.parametrize("flags", [[], ["workers"]])
def test_an_unmodified_script_replays_from_every_state(forks: Forks, folder: Path, flags: list[str]) -> None:
    out = folder / f"plain{len(flags)}"
    options = {"out": str(out), "every": 7, "key": "prover.key"}
    succeeded(forks("launch", folder, path=str(SCRIPTS / "plain.py"), arguments=flags, options=options))
    assert Record.open(out).commitment.closure.door == "script"
    assert_replays(forks, out, SCRIPTS / "plain.py", flags)


def test_new_processes_replay_what_a_forked_one_recorded(forks: Forks, folder: Path) -> None:
    """The real pool, two processes: not one thing may depend on what else a process has imported."""
    flags = "workers amp scaler augmented noise"
    out, arguments = record_loop(forks, folder, flags)
    record = Record.open(out)
    source = RecipeSource(path=str(SCRIPTS / "loop.py"), qualname=None, arguments=arguments)
    job = Job(
        record=str(out),
        recipe=source,
        scratch=str(folder),
        readable=[],
        sandbox="off",
        memory_bytes=0,
        salts=None,
    )
    stored = record.stored()
    units = [Unit(kind="replay", start=a, end=b, perturb=0) for a, b in pairwise(stored)]
    results = replay_units(job, units, record.commitment.environment, 2, 120.0, lambda _: None)
    assert [compare(record, r) for r in results] == [("bitwise", "")] * len(units)
