"""What cannot be proven is refused by name, and what can be trained is within the proof's ranges."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from exact_specs import conv, linear, make
from iop_cheating import plain, pooled
from iop_nets import Case
from trainproof.errors import FormatError
from trainproof.exact.spec import Format, Rate, Velocity
from trainproof.reference.iop.identities import limb_columns
from trainproof.reference.iop.layout import Order, Statement
from trainproof.reference.iop.limits import check, sides
from trainproof.reference.iop.proof import Oracle, prove, verify
from trainproof.reference.iop.tensors import Tensors


def spec_of(**fields: Any) -> Any:
    """Default formats and an ordinary net."""
    form = {"activation": Format(10, 18), "weight": Format(16, 18), "error": Format(16, 18)}
    blocks = [conv(6, (5, 5), relu=True, pool="max", window=(2, 2), **form), linear(10, **form)]
    return make((1, 28, 28), *blocks, batch=6, rate=4, **fields)


def statement(**fields: Any) -> Statement:
    given = {"spec": spec_of(), "samples": 60000, "steps": 16, "first": 0, "order": Order(1, 0, 1, 0, 0)}
    return Statement(**{**given, **fields})


def test_an_ordinary_net_can_be_proven() -> None:
    check(statement())
    assert all(side.value < 1 << 60 for side in sides(spec_of()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 3}, "power of two of steps"),
        ({"steps": 0}, "power of two of steps"),
        ({"steps": 1024}, "longer than a pass"),
        ({"samples": (1 << 30) + 1}, "2\\^30 samples"),
        ({"table_bits": 21}, "tables have"),
        ({"steps": 512}, "2\\^27 lookups"),
    ],
)
def test_limits_of_a_chunk(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        check(statement(**fields))


def test_a_side_that_could_wrap() -> None:
    spec = spec_of()
    spec = replace(spec, rate=Rate(exponent=35, pieces=[(0, 1)]))  # s = 51
    with pytest.raises(FormatError, match="could wrap"):
        check(statement(spec=spec))


def test_a_specification_that_cannot_be_trained_cannot_be_proven() -> None:
    given = plain()
    spec = given.statement.spec
    broken = replace(spec, blocks=[replace(spec.blocks[0], relu=True)])
    with pytest.raises(FormatError, match="no logits"):
        check(given.changed(spec=broken).statement)


def test_neither_side_runs_on_what_cannot_be_proven() -> None:
    given = plain()
    oracle = Oracle(given.statement, given.witness())
    proof = prove(given.statement, oracle)
    other = given.changed(table_bits=21).statement
    with pytest.raises(FormatError):
        prove(other, oracle)
    with pytest.raises(FormatError):
        verify(other, oracle, proof)


def largest(given: Case) -> dict[str, int]:
    """The largest value of every virtual sum of an honest chunk."""
    tensors = Tensors(given.statement, given.witness())
    found: dict[str, int] = {}
    for geometry in given.statement.geometry:
        name = geometry.block.name
        cells = range(len(geometry.cells))
        found[f"{name} Z"] = max(abs(x) for i in cells for x in tensors.z(geometry.index, i).flat)
        if geometry.index:
            found[f"{name} D"] = max(abs(x) for x in tensors.d(geometry.index).flat)
    return found


def test_the_bounds_hold_for_values_that_occur() -> None:
    given = pooled(momentum=2)
    bounds = {f"{side.layer} {side.identity}": side.value for side in sides(given.statement.spec)}
    found = largest(given)
    assert set(found) <= set(bounds)
    assert all(value <= bounds[name] for name, value in found.items())


def test_which_ranges_need_limbs_with_tables_of_full_size() -> None:
    assert limb_columns(statement()) == {}
    slow = replace(spec_of(), rate=Rate(exponent=7, pieces=[(0, 1)]))
    kinds = {name.split(" 0")[0].split(" 1")[0] for name in limb_columns(statement(spec=slow))}
    assert kinds == {"weight remainder"}
    velocity = {"weight_velocity": Velocity(20, 17), "bias_velocity": Velocity(20, 7)}
    blocks = [replace(block, **velocity) for block in slow.blocks]
    with_momentum = replace(slow, blocks=blocks, momentum=3)
    assert limb_columns(statement(spec=with_momentum)) == {}
