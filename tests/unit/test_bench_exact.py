"""The benchmark of exact training measures what it says: the same start, the same batches, every figure there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from trainproof.bench import data, exact
from trainproof.cli import main
from trainproof.errors import DatasetError, UsageError
from trainproof.exact.compile import compile_net
from trainproof.exact.trainer import Trainer


def test_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    result = exact.main(json_output=True, quick=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == result
    assert [line.split(":")[0] for line in captured.err.splitlines()[:3]] == ["lenet5", "vgg11", "momentum"]  # the plan
    for name in ("accuracy", "momentum_accuracy"):
        assert abs(result[f"{name}_int"] - result[f"{name}_float"]) < 0.02
    assert result["accuracy_int"] > 0.3  # ten classes
    assert abs(result["loss_int"] / result["loss_float"] - 1) < 0.01
    assert result["seconds_per_iteration"] == round(result["median_seconds"]["vgg11"]["int"], 4)
    for ratio in result["exact_ratio"].values():
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert 1 < result["momentum_largest_velocity_bits"] <= result["momentum_velocity_bits"]


def test_both_sides_take_the_same_batches_from_the_same_weights() -> None:
    """At the start the float network's loss is the integers' up to rounding; after a while it still is."""
    setting = exact.QUICK["lenet5"]
    images, labels = setting.train().tensors
    spec = compile_net(setting.net(), input_shape=(1, 8, 8), batch_size=32, lr=setting.lr)
    trainer = Trainer(spec, images, labels, exact.SEED)
    twin = exact.FloatTwin(setting, spec, images, labels)
    twin.start(trainer)
    for _ in range(5):
        assert abs(trainer.step() - twin.step()) < 1e-3
    assert (trainer.predict(images) == twin.predict(images)).double().mean() > 0.99


def test_the_networks_are_those_named() -> None:
    for net, shape, count in ((exact.lenet5(), (1, 1, 28, 28), 61_706), (exact.vgg11(), (1, 3, 32, 32), 9_225_610)):
        assert sum(p.numel() for p in net.parameters()) == count
        assert net(torch.zeros(shape)).shape == (1, 10)


def test_what_only_records_take_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["--rounds", "3"], ["--out", "folder"]):
        assert main(["bench", "exact", *option]) == 2
        assert f"{option[0]}: is only for record" in capsys.readouterr().err


# -- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.data
def test_mnist_is_read_as_bytes() -> None:
    try:
        images, labels = data.mnist("test").tensors
    except DatasetError as error:
        pytest.skip(str(error))
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (10_000, 1, 28, 28))
    assert (labels.dtype, labels[:3].tolist()) == (torch.int64, [7, 2, 1])


def test_digits_as_bytes() -> None:
    images, labels = data.digits_bytes().tensors
    real, same = data.digits().tensors
    assert images.dtype == torch.uint8
    assert (images.float() / 255 - real).abs().max() < 0.5 / 255 + 1e-6
    assert torch.equal(labels, same)


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        archive(x_train=np.zeros((2, 28, 28), np.uint8)),
        archive(x_train=np.zeros((2, 28, 28)), y_train=np.zeros(2, np.uint8)),
        archive(x_train=np.zeros((2, 28, 27), np.uint8), y_train=np.zeros(2, np.uint8)),
        archive(x_train=np.zeros((2, 28, 28), np.uint8), y_train=np.zeros(3, np.uint8)),
        archive(x_train=np.zeros((2, 28, 28), np.uint8), y_train=np.zeros((2, 1), np.uint8)),
    ],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / data.MNIST).write_bytes(content)
    with pytest.raises(DatasetError, match="not an MNIST archive"):
        data.mnist("train", tmp_path)


def test_other_splits_and_missing_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="split"):
        data.mnist("valid", tmp_path)
    monkeypatch.setenv(data.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(DatasetError, match=data.DATA_VARIABLE):
        data.mnist()
