"""Replay processes that crash, hang, flood or lie: each is a failed unit, in time, and nothing of it stays behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trainproof.errors import SandboxError, UsageError
from trainproof.recording.format import Environment
from trainproof.replay import pool
from trainproof.replay.job import Job, RecipeSource, Unit, UnitResult
from trainproof.replay.pool import replay_units, variables

ENVIRONMENT = Environment(
    trainproof="1",
    python="3",
    torch="2",
    numpy="2",
    packages=[],
    machine="m",
    cpu_vendor="v",
    cpu_model="c",
    cpu_capability="AVX2",
    onednn_isa="",
    threads=3,
    device="cpu",
    cuda=None,
    cudnn=None,
    deterministic=True,
    tf32=False,
    matmul_precision="highest",
    default_dtype="float32",
)

HEAD = """
import json, os, sys, time
job = json.loads(sys.stdin.readline())
def ready():
    print('{"environment":{},"layers":[]}', flush=True)
def result(unit, **fields):
    empty = {"segments": [], "opened": 0, "bad_samples": [], "bad_order": None, "errors": [], "summaries": [],
             "load_seconds": 0, "step_seconds": 0, "failure": None, "layers": [], "refuted": False, "made": None,
             "files": []}
    print(json.dumps({"unit": unit} | empty | fields, sort_keys=True, separators=(",", ":")), flush=True)
def units():
    for line in sys.stdin:
        yield json.loads(line)
"""
ECHO = "ready()\nfor unit in units():\n    result(unit)\n"


def units(count: int) -> list[Unit]:
    return [Unit(kind="replay", start=i, end=i + 1, perturb=0) for i in range(count)]


def replay(
    body: str, folder: Path, of: Sequence[Unit], jobs: int = 1, seconds: float = 30.0, **options: Any
) -> list[UnitResult]:
    """Replay with a worker whose code is ``body``."""
    script = folder / "worker.py"
    script.write_text(HEAD + body)
    source = RecipeSource(path=str(folder / "recipe.py"), qualname=None, arguments=[])
    job = Job(
        record=str(folder),
        recipe=source,
        scratch=str(options.pop("scratch", folder)),
        readable=[],
        sandbox="off",
        memory_bytes=0,
        salts=None,
    )
    on_result = options.pop("on_result", lambda result: None)
    command = [sys.executable, "-S", str(script)]
    return replay_units(job, of, ENVIRONMENT, jobs, seconds, on_result, command=command, **options)


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_unit_is_answered_in_order(jobs: int, tmp_path: Path) -> None:
    seen: list[Unit] = []
    results = replay(ECHO, tmp_path, units(7), jobs, on_result=lambda r: seen.append(r.unit))
    assert [r.unit for r in results] == units(7)
    assert sorted(seen, key=lambda u: u.start) == units(7)


def test_a_crash_fails_its_unit_and_not_the_next(tmp_path: Path) -> None:
    body = (
        "ready()\nfor unit in units():\n    if unit['start'] == 1:\n        sys.exit('out of luck')\n    result(unit)\n"
    )
    results = replay(body, tmp_path, units(3))
    assert [r.failure is None for r in results] == [True, False, True]
    assert "exit code 1: out of luck" in str(results[1].failure)


def test_a_killed_process_fails_its_unit(tmp_path: Path) -> None:
    body = "ready()\nfor unit in units():\n    os.kill(os.getpid(), 9)\n"
    (result,) = replay(body, tmp_path, units(1))
    assert "killed by signal 9" in str(result.failure)


def test_a_hanging_process_is_killed_with_what_it_started(tmp_path: Path) -> None:
    body = (
        "ready()\nfor unit in units():\n    if not (pid := os.fork()):\n        time.sleep(600)\n"
        "    open(job['scratch'] + '/pid', 'w').write(str(pid))\n    time.sleep(600)\n"
    )
    began = time.monotonic()
    (result,) = replay(body, tmp_path, units(1), seconds=1.0)
    assert "longer than" in str(result.failure)
    assert time.monotonic() - began < 20
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_process_that_never_gets_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "START_SECONDS", 0.5)
    results = replay("time.sleep(600)\n", tmp_path, units(1))
    assert "longer than" in str(results[0].failure)
    results = replay("sys.exit(1)\n", tmp_path, units(9))
    assert all(r.failure for r in results)
    assert "no replay process gets ready" in str(results[-1].failure)


@pytest.mark.parametrize(
    "answer",
    [
        "print('{}', flush=True)",
        "print('not json', flush=True)",
        "result(unit, surprise=1)",
        "result(unit | {'start': 7})",
        "sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush()",
    ],
)
def test_an_answer_that_is_none_fails_its_unit(answer: str, tmp_path: Path) -> None:
    (result,) = replay(f"ready()\nfor unit in units():\n    {answer}\n", tmp_path, units(1))
    assert result.failure is not None


def test_an_endless_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.limits, "WORKER_LINE_BYTES", 1 << 20)
    body = "ready()\nfor unit in units():\n    while True:\n        sys.stdout.write('x' * 65536)\n"
    (result,) = replay(body, tmp_path, units(1))
    assert "more than 1048576 bytes" in str(result.failure)


def test_a_flood_of_errors_blocks_nothing_and_is_not_kept(tmp_path: Path) -> None:
    flood = "sys.stderr.write('x' * (1 << 24)); sys.stderr.flush()"
    body = f"ready()\nfor unit in units():\n    {flood}\n    result(unit)\n"
    assert [r.failure for r in replay(body, tmp_path, units(2))] == [None, None]


def test_control_characters_of_a_recipe_do_not_reach_the_terminal(tmp_path: Path) -> None:
    body = "ready()\nfor unit in units():\n    sys.exit('\\x1b[2Jgone')\n"
    (result,) = replay(body, tmp_path, units(1))
    assert "\x1b" not in str(result.failure)


def test_units_after_a_stop_are_not_started(tmp_path: Path) -> None:
    results = replay(ECHO, tmp_path, units(50), on_result=lambda r: r.unit.start >= 3)
    assert [r.unit.start for r in results] == [0, 1, 2, 3]


def test_a_failed_callback_ends_everything(tmp_path: Path) -> None:
    def fail(result: UnitResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replay(ECHO, tmp_path, units(50), 2, on_result=fail)


def test_a_sandbox_that_cannot_be_had_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no landlock here"):
        replay("print('no landlock here', file=sys.stderr)\nsys.exit(3)\n", tmp_path, units(2))


def test_a_process_gets_the_recorded_settings_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    body = "ready()\nopen(job['scratch'] + '/env', 'w').write(json.dumps(dict(os.environ)))\n" + ECHO[8:]
    replay(body, tmp_path, units(1))
    found = msgspec.json.decode((tmp_path / "env").read_bytes())
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "3"
    assert found["ATEN_CPU_CAPABILITY"] == "avx2"
    assert found["HOME"] == str(tmp_path)
    assert "AWS_SECRET_ACCESS_KEY" not in found


@pytest.mark.parametrize(
    ("field", "value"),
    [("cpu_capability", "EVIL"), ("onednn_isa", "LD_PRELOAD"), ("threads", 0), ("threads", 10**6)],
)
def test_rejects_settings_that_are_not_on_the_list(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=field):
        variables(msgspec.structs.replace(ENVIRONMENT, **{field: value}), tmp_path)


def test_nothing_of_a_pool_stays_behind(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    replay(ECHO, tmp_path, units(3), 3)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_recipe_finds_what_lies_beside_it_and_writes_to_scratch(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "recipe", tmp_path / "scratch"
    for path in (folder / "data", scratch):
        path.mkdir(parents=True)
    (folder / "data" / "x").write_text("12")
    body = "ready()\nopen('log', 'w').write('new')\nx = int(open('data/x').read())\n"
    body += "for unit in units():\n    result(unit, opened=x)\n"
    (result,) = replay(body, folder, units(1), scratch=scratch)
    assert result.opened == 12
    assert (scratch / "log").read_text() == "new"
    assert not (folder / "log").exists()
