"""Runs: against the twin, resumed, interrupted, on other threads and instruction sets; snapshots that are refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from exact_specs import conv, linear, make
from trainproof.errors import DatasetError, FormatError, RangeError, RecordError, ResumeError, UsageError
from trainproof.exact.spec import Format, Spec
from trainproof.exact.trainer import Trainer
from trainproof.reference import exact as twin

SEED = bytes(range(32))


def net(momentum: int | None = None) -> Spec:
    return make(
        (2, 6, 6),
        conv(3, (3, 3), padding=(1, 1), pool="max", window=(2, 2)),
        conv(4, (2, 2), pool="avg", window=(2, 2)),
        linear(3),
        pieces=[(0, 1), (4, 3)],
        momentum=momentum,
    )


def data(count: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (count, 2, 6, 6), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(rng.integers(0, 3, count))


def trainer(momentum: int | None = None) -> Trainer:
    return Trainer(net(momentum), *data(), SEED)


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def state(run: Trainer) -> tuple[int, dict[str, Any], dict[str, Any]]:
    return run.steps, run.weights(), run.velocities()


def same_state(a: Trainer, b: Trainer) -> bool:
    return a.steps == b.steps and equal(a.weights(), b.weights()) and equal(a.velocities(), b.velocities())


@pytest.mark.parametrize("momentum", [None, 3])
def test_a_run_is_the_twins(momentum: int | None) -> None:
    spec, (images, labels) = net(momentum), data()
    run = Trainer(spec, images, labels, SEED)
    weights, velocities = twin.initial(spec, SEED), twin.still(spec)
    assert equal(run.weights(), weights)
    for step in range(6):  # the rate changes at 4; the third batch crosses the end of a pass
        chosen = twin.order(SEED, len(images), step * spec.batch_size, spec.batch_size)
        trace = twin.forward(spec, weights, images[chosen].numpy())
        dz = twin.loss(spec, trace.logits, labels[chosen].numpy())
        expected = float(twin.reported_loss(spec, trace.logits, labels[chosen].numpy()))
        gradients = twin.backward(spec, weights, trace, dz)
        weights, velocities = twin.update(spec, weights, velocities, gradients, step)
        assert run.step() == expected
    assert equal(run.weights(), weights)
    assert equal(run.velocities(), velocities)
    assert all(array.dtype == np.int64 for array in run.weights().values())


def test_it_learns() -> None:
    """Three blobs, far apart: the loss falls and the predictions become right."""
    labels = torch.arange(3).repeat(10)
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.integers(0, 60, (30, 2, 6, 6), dtype=np.uint8))
    for label in range(3):
        images[labels == label, :, 2 * label : 2 * label + 2] += 180
    spec = make((2, 6, 6), conv(6, (3, 3), pool="max", window=(2, 2)), linear(3), batch=3, rate=3)
    run = Trainer(spec, images, labels, SEED)
    losses = run.run(60)
    assert np.mean(losses[-5:]) < 0.1 < 0.8 < np.mean(losses[:5])
    assert torch.equal(run.predict(images), labels)


@pytest.mark.parametrize("momentum", [None, 3])
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, momentum: int | None) -> None:
    whole, first = trainer(momentum), trainer(momentum)
    losses = whole.run(7)
    start = first.run(3)
    first.save(tmp_path / "snapshot")
    second = Trainer.load(tmp_path / "snapshot", net(momentum), *data())
    assert same_state(first, second)
    assert start + second.run(4) == losses
    assert same_state(whole, second)
    second.save(tmp_path / "snapshot")  # over the first
    assert Trainer.load(tmp_path / "snapshot", net(momentum), *data()).steps == 7


def test_given_weights_are_taken() -> None:
    given = {name: np.full_like(array, 5) for name, array in trainer().weights().items()}
    run = Trainer(net(), *data(), SEED, weights=given)
    assert equal(run.weights(), given)
    run.step()
    assert all((array == 5).all() for array in given.values())
    assert not equal(run.weights(), given)


def test_progress_is_told_after_each_step() -> None:
    run, told = trainer(), []
    losses = run.run(3, lambda step, loss: told.append((step, loss)))
    assert told == list(enumerate(losses, 1))
    assert run.run(0) == []


@pytest.mark.parametrize("fail", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fail: type) -> None:
    """Wherever in a step it strikes, the state is that after the last whole step."""
    from trainproof.exact import engine

    whole = trainer(3)
    whole.run(4)
    for function in ("forward", "loss", "backward", "update"):
        run = trainer(3)
        run.run(2)
        before = state(run)
        real = getattr(engine, function)

        def broken(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            real(*args, **kwargs)
            raise fail

        monkeypatch.setattr(engine, function, broken)
        with pytest.raises(fail):
            run.run(2)
        monkeypatch.setattr(engine, function, real)
        assert before[0] == run.steps
        assert equal(before[1], run.weights())
        assert equal(before[2], run.velocities())
        run.save(tmp_path / function)
        again = Trainer.load(tmp_path / function, net(3), *data())
        again.run(2)
        assert same_state(whole, again)


def test_a_value_out_of_range_names_the_step() -> None:
    """A net that explodes after a while: the run stops there, and the step is not done."""
    spec = make((2, 6, 6), linear(3, weight=Format(exponent=8, bits=8), initial=20), rate=1)
    run = Trainer(spec, *data(), SEED)
    with pytest.raises(RangeError) as caught:
        run.run(50)
    assert 0 < run.steps < 50
    assert (caught.value.step, caught.value.layer, caught.value.tensor) == (run.steps, "0", "weight")


# -- the same bits everywhere ----------------------------------------------------------------------------------------

PROBE = """
import hashlib, json, sys
import torch
sys.path[:0] = sys.argv[2:]
torch.set_num_threads(int(sys.argv[1]))
import test_exact_trainer as tests
print(json.dumps([torch.backends.cpu.get_cpu_capability(), tests.fingerprint()]))
"""


def fingerprint() -> list[str]:
    """Digests of losses, weights and velocities after 1, 3 and 8 steps of a net wide enough for threads to share."""
    spec = make(
        (3, 16, 16),
        conv(24, (3, 3), padding=(1, 1), pool="max", window=(2, 2), initial=30),
        conv(32, (3, 3), padding=(1, 1), pool="avg", window=(2, 2), initial=12),
        linear(64, initial=12),
        linear(10, initial=12),
        batch=4,
        momentum=3,
    )
    rng = np.random.default_rng(9)
    images = torch.from_numpy(rng.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    run = Trainer(spec, images, torch.from_numpy(rng.integers(0, 10, 40)), SEED)
    found = []
    for steps in (1, 2, 5):
        digest = hashlib.sha256(json.dumps(run.run(steps)).encode())
        for arrays in (run.weights(), run.velocities()):
            for array in arrays.values():
                digest.update(array.tobytes())
        found.append(digest.hexdigest())
    return found


@pytest.mark.parametrize(
    ("threads", "variables"),
    [
        (1, {}),
        (2, {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}),
        (3, {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
    ],
    ids=["one thread", "default", "avx2"],
)
def test_threads_and_instruction_sets_change_nothing(threads: int, variables: dict[str, str]) -> None:
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(threads), str(here.parent), str(here.parents[1])],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    capability, found = json.loads(done.stdout)
    assert found == fingerprint()
    if variables and "AVX2" in torch.backends.cpu.get_cpu_capability():
        assert capability == {"default": "DEFAULT", "avx2": "AVX2"}[variables["ATEN_CPU_CAPABILITY"]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_graphics_card_goes_on_with_a_processors_run(tmp_path: Path) -> None:
    whole, first = trainer(3), trainer(3)
    whole.run(6)
    first.run(3)
    first.save(tmp_path / "snapshot")
    second = Trainer.load(tmp_path / "snapshot", net(3), *data(), device="cuda")
    second.run(3)
    assert same_state(whole, second)


# -- refusals --------------------------------------------------------------------------------------------------------


def edited(path: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    tensors = load_file(path)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def put(tensor: str, value: Any) -> Callable[[dict[str, Any], dict[str, str]], None]:
    def change(tensors: dict[str, Any], _: dict[str, str]) -> None:
        tensors[tensor] = np.full_like(tensors[tensor], value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("weight/1.bias"), "missing or unknown"),
        (lambda t, m: t.pop("velocity/1.bias"), "missing or unknown"),
        (lambda t, m: t.update({"weight/9.bias": np.zeros(3, np.int64)}), "missing or unknown"),
        (lambda t, m: t.update({"weight/1.bias": np.zeros(3, np.int64)}), "dtype or shape"),
        (lambda t, m: t.update({"weight/1.bias": t["weight/1.bias"].astype(np.int32)}), "dtype or shape"),
        (lambda t, m: t.update({"weight/1.bias": t["weight/1.bias"].astype(np.float64)}), "dtype or shape"),
        (put("weight/2.bias", 2**17), "2 bias"),
        (put("weight/2.bias", -(2**17) - 1), "2 bias"),
        (put("velocity/2.bias", 2**25), "2 bias velocity"),
        (put("weight/0.weight", 2**63 - 1), "0 weight"),
        (put("weight/0.weight", -(2**63)), "0 weight"),
        (lambda t, m: m.pop("seed"), "not a snapshot"),
        (lambda t, m: m.update(more="1"), "not a snapshot"),
        (lambda t, m: m.update(version="trainproof.exact.snapshot.v2"), "not a snapshot"),
        (lambda t, m: m.update(seed="00"), "seed"),
        (lambda t, m: m.update(seed="G" * 64), "seed"),
        (lambda t, m: m.update(step="-1"), "step"),
        (lambda t, m: m.update(step="01"), "step"),
        (lambda t, m: m.update(step="9" * 5000), "step"),
        (lambda t, m: m.update(step=""), "step"),
    ],
)
def test_an_altered_snapshot_is_refused(tmp_path: Path, change: Callable[..., Any], message: str) -> None:
    run = trainer(3)
    run.run(2)
    path = tmp_path / "snapshot"
    run.save(path)
    edited(path, change)
    with pytest.raises(RecordError, match=message) as caught:
        Trainer.load(path, net(3), *data())
    assert not isinstance(caught.value, ResumeError)


def test_a_snapshot_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    trainer().save(path)
    images, labels = data()
    other = images.clone()
    other[3, 0, 2, 2] ^= 1
    for spec, given, message in (
        (net(3), (images, labels), "specification"),
        (net(), data(12), "images"),
        (net(), (other, labels), "images"),
        (net(), (images, (labels + 1) % 3), "labels"),
    ):
        with pytest.raises(ResumeError, match=message):
            Trainer.load(path, spec, *given)
    assert Trainer.load(path, net(), images, labels).steps == 0


def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    trainer().save(path)
    whole = path.read_bytes()
    for content in (b"", b"no snapshot", whole[: len(whole) // 2], whole[:-1], whole + b"\0", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(RecordError):
            Trainer.load(path, net(), *data())
    path.unlink()
    save_file({"x": np.zeros(1)}, path)
    with pytest.raises(RecordError, match="not a snapshot"):
        Trainer.load(path, net(), *data())
    with pytest.raises(FileNotFoundError):
        Trainer.load(tmp_path / "none", net(), *data())


def test_a_snapshot_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = trainer()
    run.save(tmp_path / "snapshot")
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]
    with pytest.raises(OSError, match="No such file"):
        run.save(tmp_path / "none" / "snapshot")


def test_what_cannot_be_trained_is_refused() -> None:
    images, labels = data()
    good = trainer().weights()
    for error, match, call in (
        (DatasetError, "images", lambda: Trainer(net(), images.float(), labels, SEED)),
        (DatasetError, "labels", lambda: Trainer(net(), images, labels + 3, SEED)),
        (DatasetError, "labels", lambda: Trainer(net(), images, labels[:-1], SEED)),
        (UsageError, "seed", lambda: Trainer(net(), images, labels, SEED[:-1])),
        (UsageError, "binary64", lambda: Trainer(net(), images, labels, SEED, device="meta")),
        (UsageError, "negative", lambda: trainer().run(-1)),
        (FormatError, "int64", lambda: Trainer(net(), images, labels, SEED, weights={**good, "0.bias": [0, 0, 0]})),
        (FormatError, "missing", lambda: Trainer(net(), images, labels, SEED, weights={})),
        (RangeError, "0 bias", lambda: Trainer(net(), images, labels, SEED, weights=far(good, 2**17))),
        (RangeError, "0 bias", lambda: Trainer(net(), images, labels, SEED, weights=far(good, 2**60))),
        (DatasetError, "images", lambda: trainer().predict(images[:, :1])),
    ):
        with pytest.raises(error, match=match):  # type: ignore[call-overload]
            call()


def far(weights: dict[str, Any], value: int) -> dict[str, Any]:
    return {**weights, "0.bias": np.full_like(weights["0.bias"], value)}
