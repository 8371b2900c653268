"""The benchmark measures what it says: every side trains the same, and every figure is there."""

from __future__ import annotations

import json

import pytest

from trainproof.bench import record
from trainproof.errors import UsageError


def test_the_sides_train_the_same_weights_and_every_figure_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    result = record.main(json_output=True, quick=True, rounds=1)

    assert json.loads(capsys.readouterr().out) == result
    assert set(result["same_weights"].values()) == {True}
    for name in ("overhead_ratio", "reference_overhead_ratio"):
        assert set(result[name]) == {"20", "100"}
    for name in ("large_state_overhead_ratio", "large_state_reference_ratio", "verify_ratio"):
        assert result[name]["low"] <= result[name]["median"] <= result[name]["high"]
    assert result["verify_ratio"]["low"] > 0
    assert all(0.9 < ratio < 1.6 for ratio in result["bytes_per_state_ratio"].values())  # small states: headers show


def test_no_rounds_are_refused() -> None:
    with pytest.raises(UsageError, match="rounds"):
        record.main(rounds=0)
