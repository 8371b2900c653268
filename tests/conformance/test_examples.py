"""The examples work as their docstrings say: recorded through each door, killed, continued, verified."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainproof import demo
from trainproof.attest.keys import Signer
from trainproof.bench import data
from trainproof.errors import DatasetError, UsageError
from trainproof.recording.reader import Record
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Verdict
from trainproof.verification.verify import run as verify

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

SLOW = pytest.mark.slow  # both doors and all three data sets are in the fast ones as well
# Example, arguments that make it small, and the record it writes.
RECORDED = [
    pytest.param("digits.py", "--epochs 2", "digits.tproof", id="digits"),
    pytest.param("digits_loop.py", "", "digits_loop.tproof", id="digits loop"),
    pytest.param("cifar_resnet20.py", "--epochs 1 --every 1", "cifar.tproof", id="cifar"),
    pytest.param(
        "cifar_resnet20_loop.py", "--epochs 2 --batch 64 --every 2", "cifar_loop.tproof", id="cifar loop", marks=SLOW
    ),
    pytest.param("text_transformer.py", "", "text.tproof", id="text", marks=SLOW),
    pytest.param("text_transformer_loop.py", "--windows 6400", "text_loop.tproof", id="text loop"),
]


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive in CIFAR-10's format: the first real images where they are on disk, else drawn ones."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 512), ("test", 16)):
        try:
            with np.load(data.data_folder() / data.CIFAR10, allow_pickle=False) as real:
                offsets = real[f"offsets_{split}"][: count + 1]
                files, labels = real[f"jpeg_{split}"][: offsets[-1]], real[f"y_{split}"][:count]
        except DatasetError:
            parts = [_jpeg(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]
            offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
            files, labels = np.frombuffer(b"".join(parts), np.uint8), rng.integers(0, 10, count).astype(np.uint8)
        arrays |= {f"jpeg_{split}": files, f"offsets_{split}": offsets, f"y_{split}": labels}
    np.savez(folder / data.CIFAR10, **arrays)
    return folder


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.fixture
def workplace(tmp_path: Path, cifar: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key, as somebody who follows the docstring has it; data and cache are the test's own."""
    Signer.generate().save(tmp_path / "prover.key")
    monkeypatch.setenv(data.DATA_VARIABLE, str(cifar))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cifar / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "state"))  # where the ledger lies
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def kill_when(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """SIGKILL the process and its children as soon as ``there()``; it must not have ended before."""
    end = time.monotonic() + 120
    while not there() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(("example", "arguments", "out"), RECORDED)
def test_an_example_is_killed_continued_and_accepted(example: str, arguments: str, out: str, workplace: Path) -> None:
    command = [str(EXAMPLES / example), *shlex.split(arguments)]
    record = workplace / out
    kill_when(start(*command), (record / "segments" / "00000002.json").exists)
    assert not Record.open(record).sealed()

    output = finish(start(*command))

    opened = Record.open(record)
    assert opened.sealed()
    assert sum(opened.segment(i).resumed for i in range(len(opened))) == 1
    door1 = opened.commitment.closure.door == "recipe"
    assert door1 == ("_loop" not in example)
    if door1:  # these verify themselves, as their last lines show
        assert "ACCEPT" in output
        assert out.replace(".tproof", ".html") in {p.name for p in workplace.iterdir()}
    else:
        report = verify(record, recipe=EXAMPLES / example, arguments=command[1:], policy=Policy.bitwise())
        assert report.verdict is Verdict.ACCEPT, report.headline()


def test_an_unmodified_script_is_recorded_by_the_launcher_and_accepted(workplace: Path) -> None:
    script = EXAMPLES / "plain_script.py"
    assert "trainproof" not in script.read_text().split('"""')[2]
    cli = ["-c", "import sys; from trainproof.cli import main; sys.exit(main())"]
    record = [*cli, *shlex.split("record --out plain.tproof --every 20 --key prover.key --")]
    finish(start(*record, "python", str(script), "--epochs", "1"))
    verify_it = [*cli, *shlex.split("verify plain.tproof --policy bitwise --recipe"), str(script)]
    output = finish(start(*verify_it, "--", "--epochs", "1"))
    assert "ACCEPT" in output


@pytest.mark.parametrize(("file", "name"), [("digits.py", "digits_recipe"), ("exact_digits.py", "exact_recipe")])
def test_the_demo_and_its_example_train_the_same_recipe(file: str, name: str) -> None:
    example = (EXAMPLES / file).read_text()
    body = demo.recipe_text(name).split('"""\n\n', 1)[1].rstrip()
    assert body in example


def test_the_demo_deletes_only_what_it_made(tmp_path: Path) -> None:
    mine = demo.prepare(tmp_path / "demo-out")
    (mine / "old.txt").write_text("old")
    assert not (demo.prepare(mine) / "old.txt").exists()

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="did not make it"):
        demo.prepare(theirs)
    assert (theirs / "thesis.tex").exists()


def test_missing_cifar10_says_where_it_looked_and_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(DatasetError, match=f"not found in {tmp_path}.*set {data.DATA_VARIABLE}"):
        data.cifar10()


@pytest.mark.parametrize("damage", ["truncated", "not an archive", "pickled", "no split"])
def test_a_damaged_cifar10_is_refused(
    damage: str, cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good, bad = (cifar / data.CIFAR10).read_bytes(), tmp_path / data.CIFAR10
    if damage == "truncated":
        bad.write_bytes(good[: len(good) // 2])
    elif damage == "not an archive":
        bad.write_bytes(b"<html>404</html>")
    elif damage == "pickled":
        np.savez(bad, jpeg_train=np.array([{}], dtype=object), offsets_train=[0, 1], y_train=[0])
    else:
        np.savez(bad, other=[1])
    with pytest.raises(DatasetError, match="not a CIFAR-10 archive"):
        data.cifar10("train", tmp_path)
    assert not (tmp_path / "cache").exists()


def test_cifar10_is_decoded_once_and_read_again_the_same(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = data.cifar10("train", cifar)
    (kept,) = (tmp_path / "trainproof").iterdir()
    monkeypatch.setattr(data, "_decode", lambda *_: pytest.fail("decoded again"))
    again = data.cifar10("train", cifar)
    assert all(a.equal(b) for a, b in zip(first.tensors, again.tensors, strict=True))
    assert kept.suffix == ".npz"
    assert first.tensors[0].shape == (512, 3, 32, 32)
