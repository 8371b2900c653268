"""The verifier's policy: strict, documented TOML. Every threshold of a verification comes from here, none from the
record.

``Policy.bitwise()`` replays a sample under the recorded settings, ``Policy.strict()`` everything. The files behind them
lie in ``policies/`` and document each field; ``docs/policy.md`` explains how to choose.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trainproof import limits
from trainproof.errors import PolicyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0, le=1e300)]  # finite: an infinite bound bounds nothing
Small = Annotated[int, Meta(ge=0, le=10_000)]
Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the policy: every field must be written out, none may be unknown."""


class Identity(Table, frozen=True):
    """Who may have signed: key ids as ``trainproof keygen`` prints them. Empty: any key, and the report says so."""

    keys: list[Annotated[str, Meta(pattern=r"^(ed25519|ecdsa-p256):[0-9a-f]{64}\Z")]]


class Pins(Table, frozen=True):
    """Values that must be exactly these; an empty string pins nothing, and the report says so."""

    closure: Hex
    dataset_root: Hex
    model_root: Hex
    nonce: Hex


class Selection(Table, frozen=True):
    """Which units are replayed when coverage is 'sampled' (docs/verification.md, 'How many')."""

    top_q: Annotated[int, Meta(ge=1, le=10_000)]
    optimizer_top_q: Small
    bottom_q: Small
    edges: Annotated[int, Meta(ge=1, le=10_000)]
    displacement: Annotated[float, Meta(gt=0.0, le=1.0)]
    d_ref: Annotated[float, Meta(ge=0.0, le=1e300)]  # 0: unknown, the record's own displacement is used
    miss_probability: Annotated[float, Meta(gt=0.0, lt=1.0)]


class Bounds(Table, frozen=True):
    """Hard bounds on what the recipe may have used, and on how much work there must be."""

    lr_min: Positive
    lr_max: Positive
    momentum_max: Fraction
    beta_max: Fraction
    weight_decay_max: Fraction
    every_max: Annotated[int, Meta(ge=1, le=limits.STEPS_PER_SEGMENT)]
    steps_min: Annotated[int, Meta(ge=1)]
    gradients_min: Annotated[int, Meta(ge=1)]
    resumes_max: Annotated[int, Meta(ge=0, le=limits.RESUMES)]
    skipped_max: Fraction


class Initial(Table, frozen=True):
    """Where W_0 may come from. ``builds`` is how many seeds the constant-weights test takes (door 1)."""

    weak_start: Literal["refuse", "cap"]
    free_seed: Literal["refuse", "accept"]
    builds: Annotated[int, Meta(ge=2, le=64)]
    ks_alpha: Annotated[float, Meta(gt=0.0, le=0.1)]
    spearman_max: Fraction


class CostCap(Table, frozen=True):
    """Verification stops as INCONCLUSIVE before it starts if the plan exceeds these."""

    seconds: Positive
    steps: Annotated[int, Meta(ge=1)]


class Sandbox(Table, frozen=True):
    """How replay processes are confined: 'required' is INCONCLUSIVE where the system cannot."""

    mode: Literal["required", "best-effort"]
    memory_gib: Positive
    unit_seconds: Positive


class Policy(Table, frozen=True):
    """A verifier's policy. Construct by ``bitwise``, ``strict`` or ``load``."""

    version: Literal[1]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    comparison: Literal["bitwise"]
    coverage: Literal["sampled", "all"]
    identity: Identity
    pins: Pins
    selection: Selection
    bounds: Bounds
    initial: Initial
    cost: CostCap
    sandbox: Sandbox

    @classmethod
    def bitwise(cls) -> Policy:
        """Return the ready-made policy: bitwise comparison of a sample of units."""
        return cls._ready("bitwise")

    @classmethod
    def strict(cls) -> Policy:
        """Return the ready-made policy: bitwise comparison of every unit, no weak start, sandbox required."""
        return cls._ready("strict")

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a TOML policy. Raises PolicyError naming the field that is missing, unknown or out of range."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(limits.POLICY_BYTES + 1)  # what has no size, as a pipe, may have no end
            if len(data) > limits.POLICY_BYTES:
                raise PolicyError(f"larger than the limit of {limits.POLICY_BYTES} bytes", name=str(path))
            return cls.parse(data.decode("utf-8").replace("\r\n", "\n"), str(path))
        except OSError as error:
            raise PolicyError(f"cannot be read: {error.strerror}", name=str(path)) from None
        except UnicodeDecodeError:
            raise PolicyError("not UTF-8 text", name=str(path)) from None
        except ValueError:
            raise PolicyError("not the name of a file", name=str(path)) from None

    @classmethod
    def parse(cls, text: str, name: str = "policy") -> Policy:
        """Parse TOML text; ``name`` is what errors call it."""
        try:
            return cls._convert(tomllib.loads(text), name)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"not TOML: {error}", name=name) from None
        except (RecursionError, ValueError):
            raise PolicyError("not TOML: nested too deep, or a number too long", name=name) from None

    @classmethod
    def _convert(cls, plain: dict[str, Any], name: str) -> Policy:
        try:
            policy = msgspec.convert(plain, cls, strict=True)
        except msgspec.ValidationError as error:
            raise PolicyError(f"{error}", name=name, mend="see docs/policy.md for every field") from None
        policy.validate(name)
        return policy

    def validate(self, name: str = "policy") -> None:
        """Raise PolicyError if fields contradict each other."""
        if not self.bounds.lr_min <= self.bounds.lr_max:
            raise PolicyError("bounds.lr_min is above bounds.lr_max", name=name, value=self.bounds.lr_min)

    def replace(self, **changes: Any) -> Policy:
        """Return a copy with other fields, held to the same ranges; ``policy.replace(coverage="all")``."""
        return self._convert(msgspec.to_builtins(self) | msgspec.to_builtins(changes), "policy")

    def digest(self) -> str:
        """Return the digest of the policy's content, for the ledger and the report."""
        from trainproof.recording.chain import digest_of

        return digest_of("policy", msgspec.json.encode(self, order="sorted"))

    @classmethod
    def _ready(cls, name: str) -> Policy:
        text = resources.files("trainproof.verification").joinpath(f"policies/{name}.toml").read_text("utf-8")
        return cls.parse(text, f"{name}.toml")


__all__ = ["Policy"]
