"""Two proofs of steps, message by message: whatever proves steps must give the same.

`tests/fixtures/step_v1.json` holds, for each, the specification, the statement (docs/identities.md, 3), every column,
what stands for the commitment, and the messages under the transcript of docs/protocol.md. To write it anew, for a new
version only, remove the skip mark and run `pytest tests/unit/test_iop_fixture.py -k regenerate`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exact_specs import conv, linear
from iop_cheating import net
from iop_nets import Case
from trainproof.exact.spec import Spec
from trainproof.reference import exact
from trainproof.reference.iop.channel import Proof, SpongeTranscript
from trainproof.reference.iop.direct import failing
from trainproof.reference.iop.field import Element, signed
from trainproof.reference.iop.layout import Order, Statement
from trainproof.reference.iop.proof import Oracle, column_shapes, numbers, prove, verify

FIXTURE = Path(__file__).parents[1] / "fixtures" / "step_v1.json"
CASES = ("max_pooling_cross_entropy", "average_pooling_squared_error_momentum")


def made(name: str) -> Case:
    if name == CASES[0]:
        block = conv(2, (2, 2), relu=True, pool="max", window=(2, 2), padding=(1, 0))
        order = Order(3, 2, 5, 4, 5)
        return net(block, linear(3), shape=(1, 4, 4), steps=2, samples=7, order=order, m=3, table_bits=8)
    blocks = (
        conv(2, (2, 1), relu=True, pool="avg", window=(1, 2), stride=(2, 1)),
        linear(3, relu=False, bias=False, bias_velocity=None),
        linear(2),
    )
    given = net(*blocks, shape=(2, 4, 3), loss="mean_squared_error", momentum=2, samples=5, table_bits=8, rate=4)
    return given


def written(given: Case) -> dict[str, Any]:
    columns = given.witness()
    oracle = Oracle(given.statement, columns)
    return {
        "specification": json.loads(given.statement.spec.encode()),
        "statement": numbers(given.statement),
        "columns": {
            name: {"shape": list(shape), "values": [signed(x) for x in columns[name].flat]}
            for name, shape in column_shapes(given.statement).items()
        },
        "commitment": oracle.digest().hex(),
        "messages": [
            [label, "".join(f"{x.a:016x}{x.b:016x}" for x in elements)]
            for label, elements in prove(given.statement, oracle, SpongeTranscript)
        ],
    }


def read(entry: dict[str, Any]) -> tuple[Statement, Oracle, Proof]:
    """The fixture as it stands, without the code that made it."""
    spec = msgspec.convert(entry["specification"], Spec)
    samples, steps, first, table_bits, *order = entry["statement"][8:]
    statement = Statement(spec, samples, steps, first, Order(*order), table_bits)
    columns = {
        name: exact.integers(column["values"]).reshape(column["shape"]) for name, column in entry["columns"].items()
    }
    proof = [
        (label, [Element(int(text[i : i + 16], 16), int(text[i + 16 : i + 32], 16)) for i in range(0, len(text), 32)])
        for label, text in entry["messages"]
    ]
    return statement, Oracle(statement, columns), proof


@pytest.mark.parametrize("name", CASES)
def test_the_proofs_of_version_1(name: str) -> None:
    statement, oracle, proof = read(json.loads(FIXTURE.read_text())[name])
    assert numbers(statement) == json.loads(FIXTURE.read_text())[name]["statement"]
    assert failing(statement, oracle.columns(), oracle.columns()) == []
    verify(statement, oracle, proof, SpongeTranscript)
    assert prove(statement, oracle, SpongeTranscript) == proof


@pytest.mark.skip(reason="writes the fixture anew, for a new version only")
def test_regenerate() -> None:
    found = {name: written(made(name)) for name in CASES}
    lines = []
    for name, entry in found.items():
        fields = [f' "{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in entry.items()]
        lines.append(f'"{name}": {{\n' + ",\n".join(fields))
    FIXTURE.write_text("{\n" + "\n},\n".join(lines) + "\n}\n}\n")
