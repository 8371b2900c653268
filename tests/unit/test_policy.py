"""Policies: every field written out, none unknown, nothing that checks nothing; documented field by field."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trainproof
from trainproof import limits
from trainproof.errors import PolicyError
from trainproof.verification.policy import Policy, Table

FOLDER = Path(trainproof.__file__).parent / "verification" / "policies"
TEXT = (FOLDER / "bitwise.toml").read_text("utf-8")
FIELD = re.compile(r"^(\w+) = ", re.MULTILINE)


def changed(line: str, to: str) -> str:
    """The ready-made policy with the field of ``line`` given another value."""
    text, count = re.subn(rf"^{line} = \S+", f"{line} = {to}", TEXT, flags=re.MULTILINE)
    assert count == 1, line
    return text


def test_ready_made_policies_are_what_they_are_called() -> None:
    bitwise, strict = Policy.bitwise(), Policy.strict()
    assert (bitwise.name, bitwise.coverage, bitwise.initial.weak_start) == ("bitwise", "sampled", "cap")
    assert (strict.name, strict.coverage, strict.initial.weak_start) == ("strict", "all", "refuse")
    assert (bitwise.sandbox.mode, strict.sandbox.mode) == ("best-effort", "required")
    assert bitwise.digest() != strict.digest()


@pytest.mark.parametrize("name", ["bitwise", "strict"])
def test_every_field_has_a_comment(name: str) -> None:
    table = ""
    for line in (FOLDER / f"{name}.toml").read_text("utf-8").splitlines():
        table = line if line.startswith("[") else table
        obvious = line.startswith(("lr_max", "weight_decay_max"))
        if FIELD.match(line) and not obvious:
            assert re.search(r"\s# \S", line) or "#" in table, line


def test_every_field_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "policy.md"
    text = page.read_text("utf-8")
    for name in FIELD.findall(TEXT):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", FIELD.findall(TEXT))
def test_refuses_a_missing_field(name: str) -> None:
    text = re.sub(rf"^{name} = .*\n", "", TEXT, flags=re.MULTILINE)
    with pytest.raises(PolicyError, match=f"missing required field `{name}`"):
        Policy.parse(text)


@pytest.mark.parametrize("table", re.findall(r"^\[(\w+)\]", TEXT, re.MULTILINE))
def test_refuses_unknown_fields_and_missing_tables(table: str) -> None:
    with pytest.raises(PolicyError, match="unknown field `tolerance`"):
        Policy.parse(TEXT.replace(f"\n[{table}]", f"\n[{table}]\ntolerance = 1.0 #"))
    without = re.sub(rf"^\[{table}\].*?(?=^\[|\Z)", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    with pytest.raises(PolicyError, match=f"missing required field `{table}`"):
        Policy.parse(without)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "2"),
        ("version", "true"),
        ("name", '""'),
        ("comparison", '"none"'),
        ("comparison", '"tolerance"'),
        ("coverage", '"none"'),
        ("top_q", "0"),
        ("top_q", "-1"),
        ("top_q", "2.0"),
        ("edges", "0"),
        ("displacement", "0.0"),
        ("displacement", "1.5"),
        ("displacement", "nan"),
        ("displacement", "inf"),
        ("d_ref", "-1.0"),
        ("d_ref", "nan"),
        ("d_ref", "inf"),
        ("miss_probability", "0.0"),
        ("miss_probability", "1.0"),
        ("miss_probability", "nan"),
        ("lr_min", "0.0"),
        ("lr_min", "-0.1"),
        ("lr_max", "inf"),
        ("lr_max", "nan"),
        ("momentum_max", "1.5"),
        ("momentum_max", "nan"),
        ("beta_max", '"0.9"'),
        ("every_max", "0"),
        ("steps_min", "0"),
        ("gradients_min", "0"),
        ("resumes_max", "21"),
        ("skipped_max", "1.1"),
        ("weak_start", '"accept"'),
        ("free_seed", "true"),
        ("builds", "1"),
        ("ks_alpha", "0.0"),
        ("ks_alpha", "0.5"),
        ("spearman_max", "nan"),
        ("seconds", "0.0"),
        ("seconds", "inf"),
        ("steps", "0"),
        ("mode", '"off"'),
        ("memory_gib", "0"),
        ("memory_gib", "inf"),
        ("unit_seconds", "-1"),
        ("closure", '"abc"'),
        ("dataset_root", '"' + "A" * 64 + '"'),
        ("model_root", '"' + "0" * 64 + '\\n"'),
        ("keys", '["anyone"]'),
        ("keys", '["ed25519:' + "0" * 64 + '\\n"]'),
    ],
)
def test_refuses_values_that_check_nothing_or_are_out_of_range(field: str, value: str) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(changed(field, value))


def test_refuses_bounds_that_contradict_each_other() -> None:
    with pytest.raises(PolicyError, match=r"above bounds\.lr_max"):
        Policy.parse(changed("lr_min", "100.0"))
    policy = Policy.bitwise()
    with pytest.raises(PolicyError, match=r"above bounds\.lr_max"):
        policy.replace(bounds=msgspec.structs.replace(policy.bounds, lr_min=100.0))


def test_replace_is_held_to_the_same_ranges() -> None:
    policy = Policy.bitwise()
    assert policy.replace(coverage="all").coverage == "all"
    for changes in (
        {"coverage": "none"},
        {"selection": msgspec.structs.replace(policy.selection, top_q=0)},
        {"selection": msgspec.structs.replace(policy.selection, displacement=float("nan"))},
        {"unheard_of": 1},
    ):
        with pytest.raises(PolicyError):
            policy.replace(**changes)


def test_a_pin_and_a_key_are_accepted() -> None:
    policy = Policy.parse(
        changed("closure", '"' + "0" * 64 + '"').replace("keys = []", f'keys = ["ed25519:{"1" * 64}"]')
    )
    assert policy.pins.closure == "0" * 64
    assert policy.digest() != Policy.bitwise().digest()


@pytest.mark.parametrize("text", ["", "version = 1", "version = 1\nversion = 1", "[", "\0", "version = 1 2"])
def test_refuses_what_is_not_a_policy(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(text)


@given(st.text(max_size=200))
def test_parsing_never_raises_anything_untyped(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(text)


def test_refuses_files_that_cannot_be_read(tmp_path: Path) -> None:
    large = tmp_path / "large.toml"
    large.write_text("#" * (limits.POLICY_BYTES + 1))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "\xe9"')
    deep = tmp_path / "deep.toml"
    deep.write_text("x = " + "[" * 30_000)
    for path in (large, latin, deep, tmp_path, tmp_path / "missing.toml", Path("nul\0byte")):
        with pytest.raises(PolicyError):
            Policy.load(path)


def test_loads_the_file_it_ships(tmp_path: Path) -> None:
    assert Policy.load(FOLDER / "strict.toml") == Policy.strict()
    assert isinstance(Policy.strict().bounds, Table)
