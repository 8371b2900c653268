"""From a Sequential to a specification: what it holds, and how everything without an exact form is refused by name."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from math import floor, sqrt
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainproof.attest import canonical
from trainproof.errors import FormatError, RangeError, UsageError
from trainproof.exact import bounds
from trainproof.exact.compile import compile_net
from trainproof.exact.spec import Format, Spec, Velocity


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84, bias=False),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


OPTIONS: dict[str, Any] = {"input_shape": (1, 28, 28), "batch_size": 64, "lr": 0.03125}


def test_lenet() -> None:
    net = lenet()
    spec = compile_net(net, **OPTIONS)
    assert [b.name for b in spec.blocks] == ["0", "3", "7", "9", "11"]
    assert [b.kind for b in spec.blocks] == ["conv", "conv", "linear", "linear", "linear"]
    assert [b.inputs for b in spec.blocks] == [(1, 28, 28), (6, 14, 14), (400, 1, 1), (120, 1, 1), (84, 1, 1)]
    assert [b.result for b in spec.blocks] == [(6, 14, 14), (16, 5, 5), (120, 1, 1), (84, 1, 1), (10, 1, 1)]
    assert [(b.relu, b.pool) for b in spec.blocks] == [(True, "max")] * 2 + [(True, "none")] * 2 + [(False, "none")]
    assert [b.bias for b in spec.blocks] == [True, True, True, False, True]
    assert (spec.batch_size, spec.rate.exponent, spec.rate.pieces, spec.momentum) == (64, 5, [(0, 1)], None)
    assert {p.name: p.shape for p in spec.parameters()} == {n: tuple(p.shape) for n, p in net.named_parameters()}
    assert canonical.decode(spec.encode(), Spec, "spec") == spec
    assert spec == compile_net(lenet(), **OPTIONS)


def test_initial_is_the_formula_of_section_7() -> None:
    for block in compile_net(lenet(), **OPTIONS).blocks:
        kappa = 6 if block.relu else 1
        assert block.initial == floor(sqrt(Fraction(kappa * 4**16, block.fan_in)))
    narrow = compile_net(lenet(), **OPTIONS, weight=Format(exponent=16, bits=8))
    assert {b.initial for b in narrow.blocks} == {127}


def test_nested_and_named_layers() -> None:
    features = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), act=nn.ReLU(), pool=nn.AvgPool2d((2, 4))))
    net = nn.Sequential(OrderedDict(features=features, flat=nn.Flatten(), head=nn.Sequential(nn.Linear(12, 5))))
    spec = compile_net(net, input_shape=(3, 8, 8), batch_size=1, lr=2)
    assert [b.name for b in spec.blocks] == ["features.conv", "head.0"]
    assert (spec.blocks[0].pool, spec.blocks[0].window, spec.blocks[0].area) == ("avg", (2, 4), 3)
    assert spec.input_exponent(1) == 13
    assert (spec.rate.exponent, spec.rate.pieces) == (0, [(0, 2)])
    assert [p.name for p in spec.parameters()] == [n for n, _ in net.named_parameters()]


SHAPES = st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))


@settings(max_examples=40)
@given(SHAPES, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.sampled_from(["none", "max", "avg"]))
def test_shapes_are_those_of_torch(shape: tuple[int, int, int], kernel: int, stride: int, pad: int, pool: str) -> None:
    layers: list[nn.Module] = [nn.Conv2d(shape[0], 2, (kernel, 2), (stride, 1), (pad, 0)), nn.ReLU()]
    if pool != "none":
        layers.append(nn.MaxPool2d((1, 2)) if pool == "max" else nn.AvgPool2d((1, 2)))
    result = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[1:]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(result.numel(), 2))
    spec = compile_net(net, input_shape=shape, batch_size=1, lr=1)
    assert spec.blocks[0].result == tuple(result)


def test_valid_padding_single_windows_and_a_last_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 2, padding="valid"), nn.MaxPool2d(1), nn.Conv2d(2, 3, 3), nn.Flatten())
    spec = compile_net(net, input_shape=(1, 4, 4), batch_size=1, lr=1)
    assert [b.pool for b in spec.blocks] == ["none", "none"]
    assert spec.classes == 3


# --- formats, rates, momentum


def test_overrides_and_default_velocities() -> None:
    chosen = Velocity(bits=24, shift=3)
    spec = compile_net(
        lenet(),
        **OPTIONS,
        momentum=0.9375,
        layers={"3": {"error": Format(exponent=18, bits=20), "bias_velocity": chosen}},
    )
    assert spec.momentum == 4
    assert [b.error.exponent for b in spec.blocks] == [16, 18, 16, 16, 16]
    assert spec.blocks[1].bias_velocity == chosen
    assert spec.blocks[1].weight_velocity == Velocity(bits=20, shift=spec.weight_shift(1) - 4)
    assert spec.blocks[3].bias_velocity is None
    assert all((p.velocity is not None) and p.velocity.shift <= p.shift for p in spec.parameters())
    coarse = compile_net(lenet(), **{**OPTIONS, "batch_size": 1, "lr": 1}, momentum=0.5)
    assert {b.bias_velocity.shift for b in coarse.blocks if b.bias_velocity} == {0}


def test_errors_are_as_wide_as_the_sums_allow() -> None:
    net = nn.Sequential(
        nn.Conv2d(8, 2, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 32 * 32, 10),
    )

    def bits(m: int, error: Format | None = None) -> set[int]:
        spec = compile_net(net, input_shape=(8, 32, 32), batch_size=64, lr=m / 2**12, error=error)
        return {block.error.bits for block in spec.blocks}

    assert [bits(m) for m in (1, 3, 5)] == [{20}, {19}, {18}]
    assert bits(9, Format(exponent=16, bits=12)) == {12}
    with pytest.raises(FormatError, match=r"m·G_weight may reach 2\^53"):  # what 18 bits give
        bits(9)


@settings(max_examples=40)
@given(st.integers(1, (1 << 16) - 1), st.integers(0, 40))
def test_a_rate_is_taken_exactly(m: int, e: int) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    spec = compile_net(net, input_shape=(1, 2, 2), batch_size=1, lr=m / 2**e)
    assert Fraction(spec.rate.multiplier(0), 2**spec.rate.exponent) == Fraction(m, 2**e)


def test_a_schedule_shares_one_exponent() -> None:
    spec = compile_net(lenet(), **{**OPTIONS, "lr": [(0, 0.0625), (100, 0.046875), (200, 1 / 1024)]})
    assert (spec.rate.exponent, spec.rate.pieces) == (10, [(0, 64), (100, 48), (200, 1)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"lr": 0.1},
            r"^lr: .*got 0\.1\); the nearest are 13107/2\*\*17 = 0\.0999984741 and 52429/2\*\*19 = 0\.10000038",
        ),
        ({"lr": 0.1}, r"in short 51/2\*\*9 = 0\.099609375$"),
        ({"lr": 1e6}, r"the largest is 65535"),
        ({"lr": 1e-30}, r"the smallest is 1/2\*\*40"),
        ({"lr": 2.0**-41}, r"the smallest is 1/2\*\*40|the nearest are 1/2\*\*40"),
        ({"lr": 0.0}, r"lr: not a positive number"),
        ({"lr": -0.5}, r"lr: not a positive number"),
        ({"lr": float("nan")}, r"lr: not a positive number"),
        ({"lr": True}, r"lr: not a positive number"),
        ({"lr": "0.5"}, r"lr: neither a rate nor a list"),
        ({"lr": []}, r"lr: neither a rate nor a list"),
        ({"lr": [(0, 0.5), (10, 0.1)]}, r"lr from step 10: not m"),
        ({"lr": [(1, 0.5)]}, r"do not begin at 0 and ascend"),
        ({"lr": [(0, 0.5), (9, 0.25), (9, 0.125)]}, r"do not begin at 0 and ascend"),
        ({"lr": [(0, 1.0), (9, 2.0**-20)]}, r"the pieces share one exponent, and 1\.0 is 1048576·2\^-20"),
        ({"momentum": 0.9}, r"momentum: .*the nearest are 0\.875 and 0\.9375"),
        ({"momentum": 0.9999}, r"the nearest are 0\.9990234375$"),
        ({"momentum": 0.0}, r"momentum: not 1 - 2\^-j .* or None"),
        ({"momentum": 1.5}, r"momentum: not 1 - 2\^-j"),
        ({"batch_size": 100}, r"batch_size: .*use 64 or 128"),
        ({"batch_size": 0}, r"batch_size: not a power of two"),
        ({"batch_size": 1 << 17}, r"up to 65536"),
        ({"input_shape": (28, 28)}, r"input_shape: not \(channels, rows, columns\)"),
        ({"input_shape": (1, 28, 0)}, r"input_shape: not"),
        ({"loss": "hinge"}, r"use cross_entropy or mean_squared_error"),
        ({"input_exponent": 41}, r"not within the schema.*exponent"),
        ({"activation": Format(exponent=9, bits=18)}, r"^11: .*activation of 11 an even exponent from 2 to 16"),
        ({"activation": Format(exponent=18, bits=18)}, r"^11: .*activation of 11 an even exponent from 2 to 16"),
        ({"activation": Format(exponent=16, bits=41)}, r"not within the schema.*bits"),
        ({"loss": "mean_squared_error", "error": Format(exponent=8, bits=18)}, r"^11: .*an exponent of at least 10"),
        ({"weight": Format(exponent=40, bits=18)}, r"^0: the weight is finer .*weight of 0 an exponent of at most 35"),
        ({"layers": {"0": {"activation": Format(exponent=25, bits=18)}}}, r"activation of 0 an exponent of at most 24"),
        ({"layers": {"3": {"error": Format(exponent=33, bits=18)}}}, r"error of 3 an exponent of at most 32"),
        (
            {"layers": {"9": {"error": Format(exponent=16, bits=40)}}},
            r"^9: G_weight may reach 2\^62\.0, 9 bits over 2\^53; .*the error of 9",
        ),
        ({"layers": {"1": {}}}, r"layers: .*got 1\); its linear layers are 0, 3, 7, 9, 11"),
        ({"layers": {"0": {"gradient": Format(exponent=1, bits=2)}}}, r"layers\['0'\]\['gradient'\]: no such format"),
        ({"layers": {"0": {"weight": (16, 18)}}}, r"not a Format"),
        ({"layers": {"0": {"weight_velocity": Velocity(bits=20, shift=0)}}}, r"a velocity without momentum"),
        ({"momentum": 0.5, "layers": {"9": {"bias_velocity": Velocity(bits=20, shift=0)}}}, r"not there"),
        ({"momentum": 0.5, "layers": {"0": {"bias_velocity": Velocity(bits=20, shift=30)}}}, r"a shift of at most 11"),
    ],
)
def test_options_without_an_exact_form_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        compile_net(lenet(), **{**OPTIONS, **change})
    assert isinstance(caught.value, UsageError)


# --- layers


class Residual(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


class Scaled(nn.Linear):
    pass


CONV, HEAD = nn.Conv2d(1, 4, 3, padding=1), (nn.Flatten(), nn.Linear(64, 2))


def hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm2d(4), r"^1: BatchNorm2d has no exact form; leave it out, or fold"),
        (nn.LayerNorm(4), r"LayerNorm"),
        (nn.Dropout(), r"Dropout has no exact form; leave it out"),
        (nn.GELU(), r"GELU has no exact form; use nn\.ReLU"),
        (nn.Tanh(), r"use nn\.ReLU"),
        (nn.Softmax(1), r"the loss contains it"),
        (nn.AdaptiveAvgPool2d(1), r"use nn\.AvgPool2d with its window"),
        (nn.AdaptiveMaxPool2d(1), r"use nn\.MaxPool2d with its window"),
        (nn.ConvTranspose2d(4, 4, 3), r"use nn\.Conv2d"),
        (nn.Upsample(scale_factor=2), r"Upsample has no exact form; use Linear, Conv2d"),
        (Residual(), r"Residual has no exact form; .*residual connections"),
        (Scaled(4, 4), r"Scaled, a subclass of nn\.Linear, .*use nn\.Linear itself"),
        (nn.Conv2d(4, 4, 3, groups=2), r"groups have no exact form \(got 2\)"),
        (nn.Conv2d(4, 4, 3, dilation=2), r"dilation has no exact form"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), r"'zeros'"),
        (nn.Conv2d(4, 4, (3, 5), padding="same"), r"use padding=\(1, 2\)"),
        (nn.Conv2d(4, 4, 2, padding="same"), r"odd kernel"),
        (nn.Conv2d(3, 4, 3), r"1: takes 3 channels, but 0 gives 4×4×4; use nn\.Conv2d\(4, 4"),
        (nn.Conv2d(4, 4, 5), r"the kernel 5×5 does not fit into 4×4 with padding 0×0"),
        (nn.MaxPool2d(2, stride=1), r"overlap or leave gaps \(got 1\); use stride = kernel"),
        (nn.MaxPool2d(2, padding=1), r"MaxPool2d with padding"),
        (nn.MaxPool2d(3, ceil_mode=True), r"ceil_mode"),
        (nn.MaxPool2d(2, dilation=2), r"dilation"),
        (nn.MaxPool2d(2, return_indices=True), r"return_indices"),
        (nn.MaxPool2d(5), r"the window 5×5 does not fit into 4×4×4 from 0"),
        (nn.AvgPool2d(3), r"no power of two"),
        (nn.AvgPool2d(2, divisor_override=3), r"divisor"),
        (nn.AvgPool2d(2, ceil_mode=True), r"ceil_mode"),
        (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2)), r"^1\.1: nn\.AvgPool2d right after nn\.MaxPool2d"),
        (nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), r"^1\.1: nn\.ReLU after nn\.AvgPool2d .*put nn\.AvgPool2d after"),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), r"second nn\.ReLU"),
        (nn.Flatten(2), r"flattens other than whole samples"),
        (nn.Linear(4, 4), r"1: nn\.Linear on 4×4×4 from 0, which is not flattened; put nn\.Flatten\(\) before"),
        (nn.Sequential(nn.Flatten(), nn.MaxPool2d(2)), r"after nn\.Flatten"),
        (nn.Sequential(nn.Flatten(), nn.Conv2d(4, 4, 1)), r"nn\.Conv2d after nn\.Flatten"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(65, 2)),
            r"takes 65 features, but 0 gives 64 = 4×4×4; use nn\.Linear\(64, 2",
        ),
        (hooked(), r"hooks"),
        (CONV, r"takes 1 channels, but 0 gives"),
    ],
)
def test_layers_without_an_exact_form_are_refused_by_name(layer: nn.Module, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        compile_net(nn.Sequential(CONV, layer, *HEAD), input_shape=(1, 4, 4), batch_size=1, lr=1)


TWICE = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Residual(), r"own forward.*got Residual"),
        (nn.Linear(4, 4), r"own forward"),
        (nn.Sequential(), r"no nn\.Linear and no nn\.Conv2d"),
        (nn.Sequential(nn.Flatten()), r"no nn\.Linear and no nn\.Conv2d"),
        (nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(4, 4)), r"^0: nn\.ReLU before the first"),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1, 4)), r"^0: nn\.MaxPool2d before the first"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU()), r"^1: nn\.ReLU after the last"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2), nn.Flatten()), r"^0: pooling after the last"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten()), r"output is 2×2×2, not logits"),
        (nn.Sequential(nn.Conv2d(1, 2, 2)), r"not logits; end with nn\.Flatten"),
        (nn.Sequential(nn.Linear(2, 2)), r"which is not flattened"),
        (nn.Sequential(nn.Flatten(), TWICE, nn.ReLU(), TWICE), r"^3: a layer used twice"),
    ],
)
def test_networks_without_an_exact_form_are_refused(net: nn.Sequential, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        compile_net(net, input_shape=(1, 2, 2), batch_size=1, lr=1)


def test_whatever_compiles_passes_the_check() -> None:
    for momentum in (None, 0.875):
        bounds.check(compile_net(lenet(), **OPTIONS, momentum=momentum))


def test_a_range_error_says_where() -> None:
    error = RangeError("beyond 18 bits", layer="conv1", tensor="error", step=7, value=1 << 20)
    assert (error.layer, error.tensor, error.step) == ("conv1", "error", 7)
    assert str(error) == "conv1 error in step 7: beyond 18 bits (got 1048576)"
    assert str(RangeError("beyond", layer="0", tensor="weight")) == "0 weight: beyond"
