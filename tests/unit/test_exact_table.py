"""The table of a specification: complete, narrow, and in agreement with the bounds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact.bounds import EXACT, bounds
from trainproof.exact.compile import compile_net
from trainproof.exact.spec import Spec
from trainproof.exact.table import table


def vgg11(momentum: float | None = 0.9375) -> Spec:
    layers: list[nn.Module] = []
    channels = 3
    for outputs in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if outputs:
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, device="meta"), nn.ReLU()]
            channels = outputs
        else:
            layers.append(nn.MaxPool2d(2))
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10, device="meta"))
    return compile_net(
        net, input_shape=(3, 32, 32), batch_size=128, lr=[(0, 0.0625), (9000, 0.03125)], momentum=momentum
    )


def small(loss: str = "mean_squared_error", pieces: int = 1) -> Spec:
    net = nn.Sequential(
        nn.Conv2d(1, 2, (3, 1), stride=2, padding=(1, 0)), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 2)
    )
    lr = [(step, 0.5) for step in range(pieces)]
    return compile_net(net, input_shape=(1, 4, 4), batch_size=1, lr=lr, loss=loss)  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [None, 0.9375])
def test_vgg11(momentum: float | None) -> None:
    spec = vgg11(momentum)
    text = table(spec)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    assert spec.digest() in text
    assert "9,225,610 in 18 tensors" in text
    assert "4·2^-6" not in text
    assert "2·2^-5 = 0.0625" in text
    assert "1·2^-5 = 0.03125 from step 9,000" in text
    for block in spec.blocks:
        assert sum(line.split()[:1] == [block.name] for line in lines) == 3
    assert ("weight vel." in text) == (momentum is not None)


def test_bounds_are_those_of_the_specification() -> None:
    spec = vgg11()
    text = table(spec)
    found = bounds(spec)
    for bound in found:
        if bound.accumulator in ("Z", "G_weight", "G_bias", "D"):
            row = next(line for line in reversed(text.splitlines()) if line.split()[:1] == [bound.layer])
            assert f"{bound.value.bit_length()} ({53 - bound.value.bit_length()})" in row
    tightest = min((b for b in found if b.limit == EXACT), key=lambda b: b.margin)
    assert f"tightest: {tightest.layer}, {tightest.accumulator}, {tightest.margin} bit" in text


def test_all_kinds_are_spelled_out() -> None:
    text = table(small())
    assert "conv 3×1, stride 2, padding 1×0" in text
    assert "avg 2×2" in text
    assert "mean-squared error of 2 classes" in text
    assert "window" in text
    assert "cross-entropy of 2 classes, two tables of 128 entries" in table(small("cross_entropy"))


def test_what_is_long_is_cut() -> None:
    spec = small(pieces=1000)
    assert "and 994 more pieces" in table(spec)
    blocks = [replace(block, name=f"{'x' * 200}{i}") for i, block in enumerate(spec.blocks)]
    text = table(replace(spec, blocks=blocks))
    assert max(map(len, text.splitlines())) <= 120
    assert f"…{'x' * 18}1" in text


def test_an_invalid_specification_has_no_table() -> None:
    with pytest.raises(FormatError, match="not the tables"):
        table(replace(small(), loss=replace(small().loss, kind="cross_entropy")))
