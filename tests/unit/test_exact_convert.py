"""Conversion: integers to a float network and back is the identity, and both predict the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import nn

from trainproof.errors import FormatError
from trainproof.exact import engine
from trainproof.exact.compile import compile_net
from trainproof.exact.convert import from_float, to_float
from trainproof.exact.initial import initial
from trainproof.exact.spec import Format, Spec
from trainproof.exact.trainer import Trainer

Arrays = dict[str, NDArray[np.int64]]


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


def spec_of(bits: int = 18) -> Spec:
    return compile_net(
        net(),
        input_shape=(1, 8, 8),
        batch_size=32,
        lr=1 / 64,
        momentum=0.875,
        input_exponent=7,
        weight=Format(exponent=16, bits=bits),
        error=Format(exponent=16, bits=20),
    )


@pytest.fixture
def one_thread() -> Iterator[None]:
    """A small network is slower on many threads."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def extremes(spec: Spec) -> Arrays:
    """Random weights over the whole range, both ends included."""
    generator = np.random.default_rng(5)
    found = {}
    for p in spec.parameters():
        value = generator.integers(p.format.low, p.format.high + 1, p.shape)
        value.flat[:2] = p.format.low, p.format.high
        found[p.name] = value
    return found


@pytest.mark.parametrize("bits", [2, 18, 25])
def test_there_and_back_is_the_identity(bits: int) -> None:
    spec = spec_of(bits)
    weights = extremes(spec)
    back = from_float(spec, to_float(spec, weights))
    assert list(back) == list(weights)
    for name, value in weights.items():
        assert back[name].dtype == np.int64
        assert np.array_equal(back[name], value), name


def test_the_float_network_is_the_one_that_was_compiled() -> None:
    spec, random = spec_of(), torch.get_rng_state()
    made = to_float(spec, initial(spec, bytes(32)))
    assert torch.equal(torch.get_rng_state(), random)
    assert repr(made) == repr(net()).replace("size=2, stride=2", "size=(2, 2), stride=(2, 2)")
    assert {p.dtype for p in made.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in made.parameters())
    net().load_state_dict(made.state_dict())


def names(net: nn.Module) -> list[tuple[str, str]]:
    return [(n, type(m).__name__) for n, m in net.named_modules() if n and not isinstance(m, nn.Sequential)]


@pytest.mark.parametrize(
    "given",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)),
        nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten()),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Flatten(), nn.Sequential(nn.Linear(8, 2))),
        nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()), nn.Linear(8, 2)),
        nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 2))),
        nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), flatten=nn.Flatten(), relu=nn.ReLU(), head=nn.Linear(8, 2))),
        nn.Sequential(OrderedDict(flat=nn.Flatten(), flatten=nn.Linear(16, 4), conv_relu=nn.Linear(4, 2))),
        nn.Sequential(
            OrderedDict(a=nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2)), f=nn.Flatten(), b=nn.Linear(2, 2))
        ),
    ],
)
def test_linear_layers_keep_their_names_and_the_network_its_function(given: nn.Sequential) -> None:
    spec = compile_net(given, input_shape=(1, 4, 4), batch_size=1, lr=1)
    made = to_float(spec, from_float(spec, given))
    assert list(made.state_dict()) == list(given.state_dict())
    given.load_state_dict(made.state_dict())
    x = torch.randn(3, 1, 4, 4)
    assert torch.equal(made(x), given(x))
    assert compile_net(made, input_shape=(1, 4, 4), batch_size=1, lr=1) == spec


def test_numbered_layers_have_their_numbers() -> None:
    given = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2)), nn.Flatten(), nn.Sequential(nn.Linear(2, 2))
    )
    spec = compile_net(given, input_shape=(1, 4, 4), batch_size=1, lr=1)
    assert names(to_float(spec, from_float(spec, given))) == names(given)


# --- rounding and ranges


def one(value: float, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    made = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False, dtype=dtype))
    nn.init.constant_(made[1].weight, value)
    return made


ONE = compile_net(one(0.0), input_shape=(1, 1, 1), batch_size=1, lr=1)


@given(st.floats(-1.999, 1.999, width=64))
def test_rounding_is_that_of_section_12(value: float) -> None:
    assert int(from_float(ONE, one(value))["1.weight"][0, 0]) == floor(Fraction(value) * 2**16 + Fraction(1, 2))


@pytest.mark.parametrize("z", [0.5, -0.5, 1.5, -1.5, 0.49999999999999994, -0.5000000000000001, -1e-300, 1e-300])
def test_halves_go_up_and_what_is_just_below_does_not(z: float) -> None:
    assert int(from_float(ONE, one(z / 2**16))["1.weight"][0, 0]) == floor(Fraction(z) + Fraction(1, 2))


@pytest.mark.parametrize("value", [2.0, 2 - 2**-18, -2 - 2**-15, float("inf"), float("-inf"), float("nan"), 1e308])
def test_a_weight_out_of_range_is_named(value: float) -> None:
    with pytest.raises(FormatError, match=r"^1\.weight: beyond .*exponent 16, 18 bits\): -2\.0 to 1\.99\S+ \(got"):
        from_float(ONE, one(value))


def test_other_dtypes() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert from_float(ONE, one(0.5, dtype))["1.weight"].tolist() == [[1 << 15], [1 << 15]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(1, 3, bias=False)), "1: outputs is 3, in the specification 2"),
        (nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), "1: bias is True"),
        (nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False), nn.Linear(2, 2)), "has 2 linear layers"),
        (nn.Sequential(OrderedDict(f=nn.Flatten(), x=nn.Linear(1, 2, bias=False))), "x: name is x"),
        (nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False), nn.Dropout()), "Dropout"),
    ],
)
def test_another_network_is_refused(other: nn.Sequential, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        from_float(ONE, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {}, r"^1\.weight: missing or unknown"),
        (lambda w: {**w, "2.weight": w["1.weight"]}, r"^2\.weight: missing or unknown"),
        (lambda w: {"1.weight": w["1.weight"][:1]}, r"^1\.weight: not an int64 array of shape \(2, 1\)"),
        (lambda w: {"1.weight": w["1.weight"].astype(np.float64)}, r"^1\.weight: not an int64 array"),
        (lambda w: {"1.weight": w["1.weight"] + (1 << 17)}, r"^1\.weight: beyond the weight's format .*got 131072"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Callable[[Arrays], Arrays], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        to_float(ONE, change(from_float(ONE, one(0.0))))


def test_a_strangers_names_are_refused() -> None:
    spec = replace(ONE, blocks=[replace(ONE.blocks[0], name="forward")])
    with pytest.raises(FormatError, match="no layer can have this name"):
        to_float(spec, {"forward.weight": np.zeros((2, 1), dtype=np.int64)})


# --- predictions


def test_predictions_agree_on_a_trained_network(one_thread: None) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    images = torch.from_numpy((digits.images * 15).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    spec = spec_of()
    trainer = Trainer(spec, images[:1500], labels[:1500], bytes(32))
    trainer.run(250)
    weights = trainer.weights()
    params = {name: torch.from_numpy(value).double() for name, value in weights.items()}
    whole = engine.forward(spec, params, images).logits
    with torch.no_grad():
        real = to_float(spec, weights)((images.float() - 128) / 128) * 2**10
    correct = float((whole.argmax(1) == labels)[1500:].float().mean())
    agreement = float((whole.argmax(1) == real.argmax(1)).float().mean())
    away = float((whole - real).abs().max())
    print(f"accuracy {correct:.3f}, agreement {agreement:.4f}, logits differ by at most {away:.2f} units")
    assert correct > 0.8
    assert agreement > 0.995
    # Rounding three activations costs a few units of 2^-10 in the logits; beyond that the argmax is the same.
    assert away < 8
    top = whole.topk(2, dim=1).values
    clear = top[:, 0] - top[:, 1] > 2 * 8
    assert float(clear.float().mean()) > 0.95
    assert torch.equal(whole.argmax(1)[clear], real.argmax(1)[clear])
