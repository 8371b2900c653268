"""Forgeries of exact training and of its disputes: records and networks that once passed for what they are not."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conformance.forge import Bench, Document, _follow, write
from conformance.test_dispute import EXACT, Court, nudge
from trainproof.errors import DisputedRecordError, FormatError
from trainproof.exact.compile import compile_net
from trainproof.exact.module import ExactNet
from trainproof.exact.order import AffineOrder
from trainproof.recording.norms import distance
from trainproof.recording.optimizers import Pieces
from trainproof.recording.train import Loop
from trainproof.verification.verdict import Verdict


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """Provers of one task of exact training: 6 steps an epoch, all states hashed."""
    folder = tmp_path_factory.mktemp("exact-court")
    (folder / "exact.py").write_text(EXACT)
    with Bench(tmp_path_factory.mktemp("bench")) as bench:
        yield Court(folder, bench)


def options(court: Court, **more: Any) -> dict[str, Any]:
    return {"recipe": f"{court.folder / 'exact.py'}:Whole", "every": 4, "anchors": None, **more}


def rewritten(court: Court, document: Document, signer: Any, out: Path) -> Path:
    write(document, out, signer, consistent=False)
    return out


# -- verification ----------------------------------------------------------------------------------------------------


def huge_rate(document: Document) -> None:
    schedule = {key["v"]: value for key, value in document.commitment["optimizer"]["schedule"]["v"]}
    next(pair for pair in schedule["lr"]["v"] if pair[0]["v"] == "lr")[1] = {"t": "i", "v": "1" + "0" * 400}


def huge_momentum(document: Document) -> None:
    group = document.segments[1]["hypers"][0]["v"][0]["v"]
    next(pair for pair in group if pair[0]["v"] == "momentum")[1] = {"t": "i", "v": "1" + "0" * 400}


@pytest.mark.parametrize("change", [huge_rate, huge_momentum])
def test_an_integer_that_no_float_holds_is_refused(
    court: Court, tmp_path: Path, change: Callable[[Document], None]
) -> None:
    honest = court.train("honest", **options(court))
    report = court.bench.verify(honest, court.forged(honest, tmp_path / "forged", change))
    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert report.failed.id == "V2", report.headline()


def test_a_schedule_of_many_pieces_is_not_read_as_a_whole_for_every_step() -> None:
    class Once(tuple[tuple[int, float], ...]):
        closed = False

        def __iter__(self) -> Iterator[tuple[int, float]]:
            assert not self.closed, "a record of a million steps asks a million times"
            return super().__iter__()

    pieces = Once((3 * i, 2.0**-i) for i in range(40))
    schedule = Pieces(1.0, pieces)
    pieces.closed = True
    rates = [schedule.at(step, 1) for step in (0, 2, 3, 4, 5, 6, 117, 1000)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 2.0**-39, 2.0**-39]


# -- disputes --------------------------------------------------------------------------------------------------------


def test_made_up_packages_do_not_evade_a_dispute(court: Court, tmp_path: Path) -> None:
    honest = court.train("honest", **options(court))
    liar = court.train("liar", {9: nudge(1.0)}, **options(court, keep="all"))
    document = liar.document.copy()
    document.commitment["environment"]["packages"] = [["scikit-learn", "0.0.1"]]
    forged = rewritten(court, document, liar.signer, tmp_path / "forged")
    for pair, outcome in (((honest, forged), "B wrong"), ((forged, honest), "A wrong")):
        found = court.decide(*pair, recipe=options(court)["recipe"])
        assert (found.outcome, found.step) == (outcome, 9), found.evidence


def test_another_version_of_trainproof_is_incomparable_whichever_record_is_entered(
    court: Court, tmp_path: Path
) -> None:
    honest, other = court.train("honest", **options(court)), court.train("liar", {9: nudge(1.0)}, **options(court))
    document = other.document.copy()
    document.commitment["environment"]["trainproof"] = "0.0.0"
    forged = rewritten(court, document, other.signer, tmp_path / "forged")
    for pair in ((honest, forged), (forged, honest)):
        found = court.decide(*pair, recipe=options(court)["recipe"])
        assert (found.outcome, found.field) == ("incomparable", "environment.trainproof")


@pytest.mark.parametrize("every", [2, 3])
def test_the_size_of_the_last_update_is_compared_where_the_other_record_goes_on(
    court: Court, tmp_path: Path, every: int
) -> None:
    short = court.train(f"short-{every}", **options(court, epochs=1, every=every))
    long = court.train(f"long-{every}", **options(court, every=every))
    assert court.decide(short, long, recipe=options(court)["recipe"]).outcome == "agree"
    document = short.document.copy()
    document.segments[-1]["update_norm"] = (1e9).hex()
    forged = rewritten(court, document, short.signer, tmp_path / "forged")
    found = court.decide(forged, long, recipe=options(court)["recipe"])
    assert (found.outcome, found.step) == ("A wrong", 5), found.evidence
    document = long.document.copy()
    document.segments[6 // every]["update_norm"] = (1e9).hex()
    forged = rewritten(court, document, long.signer, tmp_path / "forged")
    found = court.decide(short, forged, recipe=options(court)["recipe"])
    assert (found.outcome, found.step) == ("B wrong", 5), found.evidence


def cut_short(document: Document, tensors: dict[str, torch.Tensor]) -> None:
    """Let a record of 6 steps in segments of 4 end after the fifth, in ``tensors``, without saying it is complete."""
    last = document.segments[-1]
    root = last["anchors"][0]["root"]
    tree = {key["v"]: value for key, value in last["state"]["tree"]["v"]}
    loader = {key["v"]: value for key, value in tree["loader"]["v"]}
    loader["ended"]["v"], loader["position"]["v"] = False, "5"
    del last["steps"][1:], last["anchors"][:]
    before, stored = document.tensors[-2], document.tensors[-1]
    assert before is not None
    assert stored is not None
    stored.update(tensors)
    last["update_norm"] = distance(before, stored).hex()
    document.seal["predicate"]["ended"] = "disk full"
    _follow(document, 2, ("segments", 2, "state"))
    assert last["state"]["root"] == root


def test_an_anchor_at_the_end_does_not_stand_for_the_last_state(court: Court, tmp_path: Path) -> None:
    """Both records end within a segment; one hashes its last state twice, the second time another one."""
    kept: dict[str, torch.Tensor] = {}

    def keep(loop: Loop) -> None:
        names = {id(parameter): name for name, parameter in loop.model.named_parameters()}
        for number, parameter in enumerate(loop.optimizer.param_groups[0]["params"]):
            kept[f"model/{names[id(parameter)]}"] = parameter.detach().clone()
            kept[f"optimizer/{number}/momentum_buffer"] = loop.optimizer.state[parameter]["momentum_buffer"].clone()

    short = court.train("cut", {4: keep}, **options(court, epochs=1, keep="all"))
    honest = short.document.copy()
    cut_short(honest, kept)
    ours = rewritten(court, honest, short.signer, tmp_path / "ours")
    for number, change in enumerate((with_another_state, with_another_size)):
        document = honest.copy()
        document.segments[-1]["anchors"] = [{"steps": 1, "root": document.segments[-1]["state"]["root"]}]
        theirs = rewritten(court, document, short.signer, tmp_path / "twice")
        assert court.decide(ours, theirs, recipe=options(court)["recipe"]).outcome == "agree"
        change(document)
        theirs = rewritten(court, document, short.signer, tmp_path / f"theirs-{number}")
        for pair, outcome in (((ours, theirs), "B wrong"), ((theirs, ours), "A wrong")):
            found = court.decide(*pair, recipe=options(court)["recipe"])
            assert (found.outcome, found.step) == (outcome, 4), found.evidence


def with_another_state(document: Document) -> None:
    tensors = document.tensors[-1]
    assert tensors is not None
    tensors["model/4.bias"] = tensors["model/4.bias"] + 1.0
    _follow(document, 2, ("tensors", 2, "model/4.bias"))


def with_another_size(document: Document) -> None:
    document.segments[-1]["update_norm"] = (1e9).hex()


def test_a_huge_batch_is_refused_before_its_order_is_computed(
    court: Court, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def indices(_: AffineOrder, start: int, count: int) -> list[int]:
        raise AssertionError(f"{count} indices were asked for")

    paths = []
    for name in ("honest", "other"):
        honest = court.train(name, **options(court))
        document = honest.document.copy()
        document.commitment["loader"] |= {"batch_size": 1 << 35, "drop_last": False}
        document.commitment["epochs"] = 12
        paths.append(rewritten(court, document, honest.signer, tmp_path / name))
    monkeypatch.setattr(AffineOrder, "indices", indices)
    with pytest.raises(DisputedRecordError, match="whole batches"):
        court.decide(*paths, recipe=options(court)["recipe"])


# -- networks --------------------------------------------------------------------------------------------------------


def net() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def own_forward(layers: nn.Sequential) -> None:
    layers[1].forward = types.MethodType(lambda self, x: 0 * x, layers[1])


def forward_of_the_whole(layers: nn.Sequential) -> None:
    layers.forward = types.MethodType(lambda self, x: x[:, :10], layers)  # type: ignore[method-assign]


def tied(layers: nn.Sequential) -> None:
    layers[3].weight = layers[1].weight


def frozen(layers: nn.Sequential) -> None:
    layers[3].weight.requires_grad_(False)


def hooked(layers: nn.Sequential) -> None:
    layers[3].weight.register_hook(lambda gradient: 0 * gradient)  # type: ignore[operator]


def reshaped(layers: nn.Sequential) -> None:
    layers[5].weight = nn.Parameter(torch.zeros(5, 64))


def broadcast(layers: nn.Sequential) -> None:
    layers[5].bias = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (own_forward, "forward of its own"),
        (forward_of_the_whole, "forward of its own"),
        (tied, "shared weights"),
        (frozen, "frozen"),
        (hooked, "hooks"),
        (reshaped, r"of shape \(10, 64\)"),
        (broadcast, r"of shape \(10,\)"),
    ],
)
def test_a_network_that_computes_something_else_is_not_compiled(
    change: Callable[[nn.Sequential], None], words: str
) -> None:
    layers = net()
    compile_net(layers, input_shape=(1, 8, 8), batch_size=4, lr=2**-6)
    change(layers)
    with pytest.raises(FormatError, match=words):
        compile_net(layers, input_shape=(1, 8, 8), batch_size=4, lr=2**-6)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(1, 2, 3, stride=0), nn.MaxPool2d(0), nn.MaxPool2d((2, 2, 2)), nn.MaxPool2d(2.0)],  # type: ignore[arg-type]
    ids=["stride 0", "window 0", "three sides", "a float"],
)
def test_sizes_that_are_none_are_named(layer: nn.Module) -> None:
    layers = nn.Sequential(nn.Conv2d(1, 1, 1), layer, nn.Flatten(), nn.Linear(16, 10))
    with pytest.raises(FormatError, match="is not one or two integers"):
        compile_net(layers, input_shape=(1, 8, 8), batch_size=4, lr=2**-6)


def test_one_size_in_a_tuple_is_that_of_both_sides() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d((2,)), nn.Flatten(), nn.Linear(16, 10))
    assert layers(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert compile_net(layers, input_shape=(1, 8, 8), batch_size=4, lr=2**-6).blocks[0].window == (2, 2)


@pytest.mark.parametrize("name", ["spec", "loss", "values"])
def test_a_layer_may_have_any_name(name: str) -> None:
    layers = nn.Sequential(OrderedDict([("flat", nn.Flatten()), (name, nn.Linear(64, 10))]))
    spec = compile_net(layers, input_shape=(1, 8, 8), batch_size=4, lr=2**-6)
    made = ExactNet(spec, bytes(32))
    assert list(made.values()) == [f"{name}.weight", f"{name}.bias"]
    assert made.spec is spec
