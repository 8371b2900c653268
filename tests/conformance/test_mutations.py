"""Change any one thing in an honest record, chain and sign it again with the prover's own key: it is never accepted.

The fields are not listed here: they are enumerated from the records themselves, so that a new one is tested as soon as
a recorder writes it. What may change without a refusal is listed, with the reason.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.forge import Bench, Document, Honest, Malformed, door_1, door_2, write
from trainproof.attest.keys import Signer, key_id
from trainproof.errors import RecordError, UsageError
from trainproof.verification.verdict import Verdict

At = tuple[Any, ...]

# What a replay does not decide, and a refusal would be wrong for: every entry says why. A star is one step of a path.
FREE: dict[str, str] = {
    "commitment/note": "free text, shown and never interpreted",
    "seal/subject/0/name": "free text: what the prover calls the model",
    "seal/predicate/started": "free text: a time that the prover claims",
    "seal/predicate/finished": "free text: a time that the prover claims",
    "seal/predicate/self_replays": "the prover's word about its own replays; none, or 'not run', costs a caveat",
    "seal/predicate/self_replays/0/detail": "free text",
    "seal/predicate/self_replays/0/outcome": "the prover's word; 'not run' costs a caveat, 'differs' is inconclusive",
    "seal/predicate/self_replays/0/segment": "the prover's word, about any stored segment",
    "commitment/environment/cpu_model": "descriptive: vendor and instruction set are compared; another costs a caveat",
    "commitment/environment/python": "descriptive in its last number: bits do not depend on a patch release",
    "commitment/seed/source": "the prover's word unless the policy pins the nonce; 'freely chosen' is said in any case",
    "segments/*/resumed": "the prover's word: true only has more replayed, and counts against the policy's bound",
}

# A loop seeds itself, so this changes nothing that it does: the mutant is what an honest prover writes who drew another
# nonce.
FREE_IN_A_LOOP = {"commitment/seed/nonce": "the prover's to choose, and in no use"}

# A replay under another of these settings may give the same bits: then the record is true of that setting too. Where
# the setting cannot be had, the verdict is INCONCLUSIVE.
SETTINGS = ("threads", "matmul_precision", "deterministic", "onednn_isa", "cpu_capability")

# Where INCONCLUSIVE is right: the verifier cannot run, or was not given, what the record says it needs.
UNDECIDED = (
    r"commitment/environment(/.*)?",
    r"commitment/dataset/private",
    r"seal/predicate/self_replays/0/outcome",
)

ENUMS = {
    "parameter": "buffer", "frozen": "parameter", "buffer": "frozen", "recipe": "script", "loop": "script",
    "seeded": "loader", "loader": "seeded", "free": "verifier", "complete": "disk full", "bitwise": "not run",
    "ed25519": "ecdsa-p256", "ecdsa-p256": "ed25519", "float32": "int32", "int64": "float64", "uint8": "int8",
}  # fmt: skip


# -- what can be changed, and into what ------------------------------------------------------------------------------


def places(value: Any, at: At = ()) -> Iterator[At]:
    """Yield the path of every part of plain data, containers included."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def all_places(document: Document) -> list[At]:
    """Return the path of every part of a record."""
    found = [("commitment", *at) for at in places(document.commitment)]
    found += [("segments", *at) for at in places(document.segments)]
    found += [("seal", *at) for at in places(document.seal)]
    for index, tensors in enumerate(document.tensors):
        found += [("tensors", index, name) for name in tensors or ()]
    return [*found, *(("leaves", i) for i in range(len(document.leaves) // 32)), ("segments",)]


def selected(document: Document) -> list[At]:
    """Return the places that the quick sweep visits: every field of every part.

    What a state holds (a tensor, a value in its tree, an optimizer's option) is visited in one of the segments, by
    turns. Of things of one kind (a batch's indices, leaves, the nodes that hold the values) the last and one other
    are.
    """
    groups: dict[tuple[bool, str], list[At]] = {}
    for at in all_places(document):
        held = at[0] == "tensors" or at[-1] == "digest" or (at[-1] == "v" and isinstance(_get(document, at), str))
        steps = (at[0], "*", *at[2:]) if held and at[0] != "commitment" else at if held else _starred(at)
        groups.setdefault((held, name_of(steps)), []).append(at)
    found = []
    for turn, ((held, _), alike) in enumerate(groups.items()):
        one = turn % len(alike)
        found += [alike[i] for i in sorted({one} if held else {one, len(alike) - 1})]
    return found


def _starred(at: At) -> At:
    return tuple("*" if isinstance(key, int) else key for key in at)


def changes(value: Any) -> dict[str, Any]:
    """Return what a part may be changed into, smallest change first."""
    if isinstance(value, bool):
        return {"flip": not value}
    if isinstance(value, int):
        return {"+1": value + 1, "-1": value - 1, "zero": 0, "huge": 2**53 - 1, "text": str(value)}
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return {
            "a text": "x",
            "a number": 1,
            "a parent": {"chain": "1" * 64, "model": "2" * 64},
            "an order": [0, 1],
            "a list": [],
        }
    if isinstance(value, dict):
        first = next(iter(value), None)
        found = {"unknown": value | {"unknown": 0}, "dropped": {k: v for k, v in value.items() if k != first}}
        if "t" in value and isinstance(value.get("v"), str):
            found = {"retagged": value | {"t": "t" if value["t"] == "s" else "s"}} | found
        return found
    if isinstance(value, list | tuple):
        items = list(value)
        found = {"shorter": items[:-1], "reversed": items[::-1], "twice": [*items, *items[-1:]], "empty": []}
        found |= {"first gone": items[1:], "rotated": items[1:] + items[:1]}
        return {name: new for name, new in found.items() if new != items} or {"longer": [0]}
    raise TypeError(value)


def _text(value: str) -> dict[str, Any]:
    if re.fullmatch(r"[0-9a-f]{64,}", value):
        return {"bit": value[:-1] + f"{int(value[-1], 16) ^ 1:x}", "zeros": "0" * len(value), "short": value[:-1]}
    if re.fullmatch(r"(-?0x[01]\.[0-9a-f]+p[+-][0-9]+)|nan|-?inf", value):
        number = float.fromhex(value)
        near = torch.nextafter(torch.tensor(number, dtype=torch.float64), torch.tensor(9e99, dtype=torch.float64))
        found = {"ulp": float(near).hex(), "sign": (-number).hex(), "zero": (0.0).hex(), "one": (1.0).hex()}
        found |= {"nan": "nan", "inf": "inf", "tiny": (number * 1e-9).hex(), "0x1p0": "0x1p0"}
        return {name: new for name, new in found.items() if new != value}
    if re.fullmatch(r"-?[0-9]{1,19}", value):
        return {"+1": str(int(value) + 1), "-1": str(int(value) - 1), "negative": "-7", "huge": "9" * 40}
    found = {"other": ENUMS[value]} if value in ENUMS else {}
    return found | {"longer": value + "x", "empty": "", "long": "x" * 600, "control": value + "\n"}


def tensor_changes(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what a stored tensor may be changed into."""
    found: dict[str, torch.Tensor] = {}
    raw = tensor.clone().contiguous().reshape(-1)
    if raw.numel() == 0:
        return {}
    bits = raw.view(torch.uint8).clone()
    bits[0] ^= 1
    found["bit"] = bits.view(raw.dtype).reshape(tensor.shape)
    if tensor.dtype.is_floating_point:
        for name, number in (("nan", float("nan")), ("inf", float("inf")), ("zero", 0.0), ("huge", 1e30)):
            found[name] = raw.clone().index_fill(0, torch.tensor([0]), number).reshape(tensor.shape)
        found["sign"] = -tensor
        found["scaled"] = tensor * 1.001
    found["rolled"] = raw.roll(1).reshape(tensor.shape)
    same = raw.view(torch.uint8)
    return {name: new for name, new in found.items() if not torch.equal(new.reshape(-1).view(torch.uint8), same)}


def choices(document: Document, at: At) -> dict[str, Any]:
    """Return what the part at a place may be changed into, by name."""
    if at[0] == "tensors":
        return tensor_changes(document.tensors[at[1]][at[2]])  # type: ignore[index]
    if at[0] == "leaves":
        first, leaves = 32 * at[1], document.leaves
        flipped = leaves[:first] + bytes([leaves[first] ^ 1]) + leaves[first + 1 :]
        gone = leaves[:first] + leaves[first + 32 :]
        return {"bit": flipped, "gone": gone, "twice": leaves + leaves[first : first + 32], "cut": leaves[:-1]}
    if at == ("segments",):
        return segment_orders(len(document.segments))
    old = _get(document, at)
    return {name: new for name, new in changes(old).items() if type(new) is not type(old) or new != old}


def change(document: Document, at: At, kind: str) -> Document:
    """Return a copy in which one part is changed."""
    changed, new = document.copy(), choices(document, at)[kind]
    if at[0] == "tensors":
        changed.tensors[at[1]][at[2]] = new  # type: ignore[index]
    elif at[0] == "leaves":
        changed.leaves = new
    elif at == ("segments",):
        changed.segments = [copy.deepcopy(document.segments[i]) for i in new]
        changed.tensors = [document.tensors[i] for i in new]
        if kind.endswith("renumbered"):
            for index, segment in enumerate(changed.segments):
                first = changed.segments[index - 1] if index else None
                segment["index"] = index
                segment["first_step"] = 0 if first is None else first["first_step"] + len(first["steps"])
    else:
        _get(changed, at[:-1])[at[-1]] = copy.deepcopy(new)
    return changed


def segment_orders(count: int) -> dict[str, list[int]]:
    """Return whole segments swapped, gone, or twice; as they are, and with their numbers put right."""
    inner = list(range(count))
    swapped = [inner[0], inner[2], inner[1], *inner[3:]]
    found = {"swapped": swapped, "one gone": [0, *inner[2:]], "one twice": [0, 1, *inner[1:]], "last gone": inner[:-1]}
    if count > 4:
        found |= {"unit gone": inner[:-2], "unit twice": [0, 1, 2, *inner[1:]]}
    return found | {f"{name}, renumbered": order for name, order in found.items()}


def _get(document: Document, at: At) -> Any:
    value: Any = getattr(document, at[0])
    for key in at[1:]:
        value = value[key]
    return value


# -- verdicts --------------------------------------------------------------------------------------------------------


def name_of(at: At) -> str:
    """Return a path as text."""
    return "/".join(str(key) for key in at)


def is_free(at: At, honest: Honest) -> bool:
    """Return whether a change here may be accepted, for a reason that is written down."""
    loop = honest.document.commitment["closure"]["door"] == "loop"
    patterns = [*FREE, *(FREE_IN_A_LOOP if loop else ())]
    setting = at[:2] == ("commitment", "environment") and at[2:3] and at[2] in SETTINGS
    return bool(setting) or any(re.fullmatch(p.replace("*", "[^/]+"), name_of(at)) for p in patterns)


class Bureau:
    """Makes mutants of one honest record, has them verified, and counts what happened."""

    def __init__(self, honest: Honest, bench: Bench, folder: Path) -> None:
        self.honest, self.bench, self.folder = honest, bench, folder
        self.counts: Counter[str] = Counter()
        self.deciding: Counter[str] = Counter()
        self.wrong: list[str] = []

    def judge(self, at: At, kind: str, *, consistent: bool) -> None:
        """Make one mutant, verify it, count the outcome; what should not be is kept in ``wrong``."""
        document = change(self.honest.document, at, kind)
        path = self.folder / "mutant"
        try:
            write(document, path, self.honest.signer, consistent=consistent, path=at)
        except Malformed as error:
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(self.honest.path, path)
            (path / error.file).write_bytes(error.data)
        outcome, why = self._verdict(path, at)
        self.counts["tried"] += 1
        self.counts[outcome] += 1
        if outcome in ("accepted", "escaped") or (outcome == "inconclusive" and not _may_be_undecided(at)):
            self.wrong.append(f"{outcome}: {name_of(at)} ({kind}, {'consistent' if consistent else 'plain'}): {why}")

    def _verdict(self, path: Path, at: At) -> tuple[str, str]:
        try:
            report = self.bench.verify(self.honest, path)
        except RecordError as error:
            return "malformed", str(error)
        except UsageError as error:
            # The record says that it came through another door than the verifier's recipe has.
            return "misfit" if at[:2] == ("commitment", "closure") else "escaped", str(error)
        except Exception as error:
            return "escaped", f"{type(error).__name__}: {error}"
        if report.verdict is Verdict.REJECT:
            assert report.failed is not None
            self.deciding[report.failed.id] += 1
            return "rejected", report.headline()
        if report.verdict is Verdict.INCONCLUSIVE:
            return "inconclusive", report.headline()
        if is_free(at, self.honest):
            return "free", report.headline()
        if at[:2] == ("commitment", "environment") and at[2:3] and at[2] in SETTINGS:
            return "free", report.headline()
        return "accepted", report.headline()

    def summary(self) -> str:
        """Return the counts in one line."""
        names = ("tried", "rejected", "malformed", "inconclusive", "free", "misfit", "escaped", "accepted")
        checks = ", ".join(f"{name} {count}" for name, count in sorted(self.deciding.items()))
        return ", ".join(f"{self.counts[name]} {name}" for name in names) + f" (decided by {checks})"


def _may_be_undecided(at: At) -> bool:
    return any(re.fullmatch(pattern, name_of(at)) for pattern in UNDECIDED)


# -- tests -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bureaus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bureau]]:
    folder = tmp_path_factory.mktemp("mutations")
    made = {"recipe": door_1(folder), "loop": door_2(folder)}
    with Bench(folder) as bench:
        yield {name: Bureau(honest, bench, folder) for name, honest in made.items()}


@pytest.mark.parametrize("door", ["recipe", "loop"])
def test_the_honest_record_is_accepted(door: str, bureaus: dict[str, Bureau], tmp_path: Path) -> None:
    bureau = bureaus[door]
    path = tmp_path / "copy"
    write(bureau.honest.document.copy(), path, bureau.honest.signer, consistent=False)
    for record in (bureau.honest.path, path):
        assert bureau.bench.verify(bureau.honest, record).verdict is Verdict.ACCEPT


@pytest.mark.timeout(900)
@pytest.mark.parametrize("door", ["recipe", "loop"])
def test_no_change_of_any_field_is_accepted(
    door: str, bureaus: dict[str, Bureau], capsys: pytest.CaptureFixture[str]
) -> None:
    bureau = bureaus[door]
    sweep = Bureau(bureau.honest, bureau.bench, bureau.folder)
    document = bureau.honest.document
    for at in selected(document):
        for kind in list(choices(document, at))[: None if at == ("segments",) else 1]:
            sweep.judge(at, kind, consistent=True)
    with capsys.disabled():
        print(f"\nmutants of a {door}'s record: {sweep.summary()}")
    assert not sweep.wrong, "\n".join(sweep.wrong)
    assert sweep.counts["rejected"] > 250
    assert {"V0", "V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V11"} <= sweep.deciding.keys()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", ["recipe", "loop"])
def test_no_change_of_any_kind_is_accepted(
    door: str, bureaus: dict[str, Bureau], capsys: pytest.CaptureFixture[str]
) -> None:
    bureau = bureaus[door]
    deep = Bureau(bureau.honest, bureau.bench, bureau.folder)
    document = bureau.honest.document
    everywhere = [at for at in all_places(document) if choices(document, at)]

    @settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(at=st.sampled_from(everywhere), data=st.data(), consistent=st.booleans())
    def sweep(at: At, data: st.DataObject, consistent: bool) -> None:
        kind = data.draw(st.sampled_from(list(choices(document, at))))
        deep.judge(at, kind, consistent=consistent)
        assert not deep.wrong, deep.wrong

    sweep()
    with capsys.disabled():
        print(f"\nmutants of a {door}'s record, any kind: {deep.summary()}")
    assert deep.counts["rejected"] > 500


def test_a_recipes_record_signed_by_another_key_is_rejected(bureaus: dict[str, Bureau], tmp_path: Path) -> None:
    honest, bench = bureaus["recipe"].honest, bureaus["recipe"].bench
    report = bench.verify(honest, _stolen(honest, tmp_path))
    assert report.verdict is Verdict.REJECT
    assert report.failed is not None
    assert (report.failed.id, "what the seed gives" in report.failed.evidence) == ("V3", True), report.headline()


def test_a_loops_record_signed_by_another_key_is_rejected_where_the_policy_names_the_key(
    bureaus: dict[str, Bureau], tmp_path: Path
) -> None:
    """A loop's weights do not come from the key: who signed is the only thing that says whose training it was."""
    honest, bench = bureaus["loop"].honest, bureaus["loop"].bench
    stolen = _stolen(honest, tmp_path)
    assert any("signed a copy" in caveat for caveat in bench.verify(honest, stolen).caveats)
    identity = msgspec.structs.replace(bench.policy.identity, keys=[key_id(honest.signer.public)])
    report = bench.verify(honest, stolen, policy=bench.policy.replace(identity=identity))
    assert report.verdict is Verdict.REJECT
    assert "which the policy does not name" in report.headline()


def _stolen(honest: Honest, folder: Path) -> Path:
    thief, document = Signer.generate(), honest.document.copy()
    document.commitment["key"] = msgspec.to_builtins(thief.public)
    write(document, folder / "stolen", thief, consistent=True, path=("commitment", "key", "key"))
    return folder / "stolen"
