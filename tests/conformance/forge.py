"""Honest records, and copies of them that are wrong in one place, chained and signed again with the prover's own key.

A record is taken apart into plain data (a ``Document``), changed by a function of it, and written as a prover who lies
would write it: ``consistent`` recomputes every digest that follows from what was changed (contents of tensors, state
roots, closure, dataset root, seed, update sizes), and in any case the chain and the seal follow.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import random
import runpy
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from trainproof import _core
from trainproof.attest import canonical, dsse
from trainproof.attest.keys import Signer
from trainproof.errors import RecordError
from trainproof.recording import chain
from trainproof.recording.chain import digest_of
from trainproof.recording.format import Commitment, Environment, Segment, StateManifest
from trainproof.recording.norms import distance
from trainproof.recording.reader import COMMITMENT, LEAVES, SEAL, SEGMENTS, STATES, Record, segment_name
from trainproof.recording.recipe import seed_of
from trainproof.recording.train import train
from trainproof.recording.values import raw
from trainproof.recording.writer import itemsize, safetensors_header
from trainproof.replay import reads
from trainproof.replay.job import Job, Unit, UnitResult
from trainproof.replay.pool import failure, variables
from trainproof.verification import replays
from trainproof.verification.policy import Policy
from trainproof.verification.verdict import Report
from trainproof.verification.verify import run

RECIPE = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

import trainproof as tp


class Tiny(tp.Recipe):
    batch_size = 8
    optimizer = tp.SGD(lr=tp.Cosine(0.1, epochs=2), momentum=0.9)

    def build(self):
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3), nn.Linear(3, 3))
        model[4].weight.requires_grad_(False)
        return model

    def dataset(self):
        x = torch.arange(144, dtype=torch.float32).sin().reshape(24, 6)
        return TensorDataset(x, x.argmax(1) % 3)

    def augment(self, sample, rng):
        x, y = sample
        return x + 0.01 * torch.from_numpy(rng.standard_normal(6)).float(), y

    def loss(self, model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)
"""

LOOP = """
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainproof as tp

torch.manual_seed(1)
x = torch.arange(192, dtype=torch.float32).sin().reshape(32, 6)
model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.1), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3))
model[3].weight = model[2].weight
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
loader = DataLoader(TensorDataset(x, x.argmax(1) % 3), batch_size=4, shuffle=True)
out, key = sys.argv[1:]
with tp.record(out, recipe=__file__, model=model, optimizer=optimizer, data_loader=loader, every=2, key=key,
               scheduler=scheduler, scaler=scaler, keep="keyframes:2", anchors=1, self_replay=False, quiet=True) as rec:
    for epoch in range(rec.completed_iterations, 2):
        for i, (a, b) in enumerate(loader):
            if epoch == 0 and i == 6:
                break
            loss = F.cross_entropy(model(a), b) / 2
            scaler.scale(loss).backward()
            if i % 2 == 0:
                continue
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            optimizer.zero_grad()
"""


@dataclass
class Document:
    """A record as plain data. ``tensors`` are those of stored states, else None; ``seal`` holds what overrides the
    statement that follows from the rest.
    """

    commitment: dict[str, Any]
    segments: list[dict[str, Any]]
    tensors: list[dict[str, torch.Tensor] | None]
    leaves: bytes
    seal: dict[str, Any]

    def copy(self) -> Document:
        """Return a copy that shares no mutable part but tensors."""
        tensors = [None if t is None else dict(t) for t in self.tensors]
        plain = copy.deepcopy([self.commitment, self.segments, self.seal])
        return Document(plain[0], plain[1], tensors, self.leaves, plain[2])


def _plain(part: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(part))


class Malformed(Exception):
    """The document does not have the schema; ``file`` and ``data`` are what a reader finds."""

    def __init__(self, file: str, data: bytes) -> None:
        super().__init__(file)
        self.file, self.data = file, data


@dataclass
class Honest:
    """An honest record, its prover's key, the verifier's copy of the recipe, and its document."""

    path: Path
    recipe: str
    arguments: list[str]
    signer: Signer
    document: Document = field(init=False)

    def __post_init__(self) -> None:
        record = Record.open(self.path)
        segments = [record.segment(i) for i in range(len(record))]
        tensors = [record.tensors(s.index) if s.stored else None for s in segments]
        plain = [_plain(s) for s in segments]
        self.document = Document(_plain(record.commitment), plain, tensors, record.leaves(), {})
        replayed = [{"segment": len(segments) - 1, "outcome": "bitwise", "detail": ""}]
        statement = statement_of(self.document, self.signer)
        statement["predicate"]["self_replays"] = replayed
        self.document.seal = statement
        write(self.document, self.path, self.signer, consistent=False)


@contextlib.contextmanager
def as_a_process(*arguments: str) -> Iterator[None]:
    """Run what would have a process of its own: its command line, its path, its warnings, fresh random generators."""
    saved = sys.argv, list(sys.path), list(sys.meta_path)
    generators = random.getstate(), np.random.get_state()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        sys.argv = ["script", *arguments]
        random.seed()
        np.random.seed()
        try:
            yield
        finally:
            sys.argv, sys.path[:], sys.meta_path[:] = saved
            random.setstate(generators[0])
            np.random.set_state(generators[1])


def door_1(folder: Path) -> Honest:
    """Record a recipe: four segments, all stored."""
    folder = folder / "door-1"
    folder.mkdir()
    recipe, signer = folder / "tiny.py", Signer.generate()
    recipe.write_text(RECIPE)
    with as_a_process():
        train(f"{recipe}:Tiny", out=folder / "one", epochs=2, every=2, key=signer, self_replay=False, quiet=True)
    return Honest(folder / "one", f"{recipe}:Tiny", [], signer)


def door_2(folder: Path) -> Honest:
    """Record a loop with tied weights, accumulation, a scheduler, a scaler, a break, keyframes and anchors."""
    folder = folder / "door-2"
    folder.mkdir()
    script, key, signer = folder / "loop.py", folder / "prover.key", Signer.generate("ecdsa-p256")
    script.write_text(LOOP)
    signer.save(key)
    arguments = [str(folder / "two"), str(key)]
    with as_a_process(*arguments):
        runpy.run_path(str(script), run_name="__main__")
    return Honest(folder / "two", str(script), arguments, signer)


# -- writing what a lying prover would write -------------------------------------------------------------------------


def statement_of(document: Document, signer: Signer) -> dict[str, Any]:
    """Return the statement that follows from a document whose parts are valid."""
    last = msgspec.convert(document.segments[-1], Segment)
    commitment = msgspec.convert(document.commitment, Commitment)
    try:
        entries = [e for e in last.state.tensors if e.name.startswith("model/")]
        data = [(e.dtype, e.shape, _fitted(e, (document.tensors[-1] or {})[e.name])) for e in entries]
        hashed = _core.tensor_digests(data, "sha256")
        named = [(e.name, digest) for e, digest in zip(entries, hashed, strict=True)]
        sha256 = _core.state_root(named, "sha256").hex()
    except (KeyError, ValueError, OverflowError):  # no such tensor, dtype or size
        sha256 = "0" * 64
    model = chain.model_root(last.state)
    predicate = {
        "version": 1,
        "commitment": chain.commitment_digest(commitment),
        "chain": last.chain,
        "segments": len(document.segments),
        "steps": last.first_step + len(last.steps),
        "model": model,
        "ended": "complete",
        "self_replays": [],
        "started": "",
        "finished": "",
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://trainproof.dev/attestation/proof-of-learning/v1",
        "subject": [{"name": "model", "digest": {"blake3": model, "sha256": sha256}}],
        "predicate": predicate,
    }


_FOLLOWS = ("commitment", "chain", "segments", "steps", "model")


def write(document: Document, out: Path, signer: Signer, *, consistent: bool, path: tuple[Any, ...] = ()) -> None:
    """Write a record. ``path`` names what was changed: that itself is never recomputed.

    Raises Malformed where the schema does not hold: then nothing after that file can follow from it.
    """
    shutil.rmtree(out, ignore_errors=True)
    for folder in (out, out / SEGMENTS, out / STATES):
        folder.mkdir()
    if consistent:
        _derive(document, path)
    commitment = _typed(document.commitment, Commitment, COMMITMENT)
    (out / COMMITMENT).write_bytes(canonical.encode(commitment))
    (out / LEAVES).write_bytes(document.leaves)
    head = chain.commitment_digest(commitment)
    for index, plain in enumerate(document.segments):
        changed = path[:2] == ("segments", index) and path[2:] in (("previous",), ("chain",))
        name = segment_name(index)
        segment = _typed(plain, Segment, f"{SEGMENTS}/{name}.json")
        if not changed:
            segment = msgspec.structs.replace(segment, previous=head)
            with contextlib.suppress(ValueError):  # names that no state root is defined for
                segment = chain.link(segment)
        document.segments[index] = _plain(segment)
        head = segment.chain
        (out / SEGMENTS / f"{name}.json").write_bytes(canonical.encode(segment))
        tensors = document.tensors[index]
        if tensors is not None:
            (out / STATES / f"{name}.safetensors").write_bytes(_states(segment.state, tensors))
    (out / SEAL).write_bytes(dsse.seal(signer, canonical.encode(_seal(document, signer, path))))


def _seal(document: Document, signer: Signer, path: tuple[Any, ...]) -> dict[str, Any]:
    """Return the statement: what follows from the record, but for what was changed in the seal itself."""
    said = copy.deepcopy(document.seal)
    if path[:1] == ("seal",) or not said:
        return said or statement_of(document, signer)
    found = statement_of(document, signer)
    said["subject"][0]["digest"] = found["subject"][0]["digest"]
    said["predicate"].update({name: found["predicate"][name] for name in _FOLLOWS})
    last = len(document.segments) - 1
    for entry in said["predicate"]["self_replays"]:
        entry["segment"] = last
    return said


def _typed(plain: Any, kind: type, file: str) -> Any:
    try:
        return msgspec.convert(plain, kind, strict=True)
    except (msgspec.ValidationError, RecursionError):
        data = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        raise Malformed(file, data.encode(errors="surrogatepass")) from None


def _derive(document: Document, path: tuple[Any, ...]) -> None:
    """Recompute what follows from the change at ``path``."""
    with contextlib.suppress(msgspec.ValidationError, RecordError, TypeError, KeyError, ValueError, OverflowError):
        if path[0] == "leaves":
            document.commitment["dataset"]["root"] = _core.merkle_root(document.leaves).hex()
            document.commitment["dataset"]["size"] = len(document.leaves) // 32
        if path[:2] == ("commitment", "closure") and path[2:] != ("digest",):
            c = document.commitment["closure"]
            rest = [
                c["door"],
                c["qualname"],
                c["arguments"],
                [[f["module"], f["size"], f["digest"]] for f in c["files"]],
            ]
            c["digest"] = digest_of("closure", canonical.encode(rest))
        if (path[0] in ("commitment", "leaves") and path[1:2] != ("seed",)) or path[1:] == ("seed", "nonce"):
            c = msgspec.convert(document.commitment, Commitment)
            document.commitment["seed"]["seed"] = seed_of(c)
        if path[0] == "tensors" or (path[0] == "segments" and path[2:3] == ("state",) and path[3:] != ("root",)):
            _follow(document, path[1], path)
    if path[0] == "tensors":
        _resize(document)


def _follow(document: Document, index: int, path: tuple[Any, ...]) -> None:
    """Recompute the digests and the root of a state."""
    state, tensors = document.segments[index]["state"], document.tensors[index]
    if tensors is not None and path[-1] != "digest":
        for entry in state["tensors"]:
            if entry["name"] in tensors:
                data = _fitted(entry, tensors[entry["name"]])
                entry["digest"] = _core.tensor_digests([(entry["dtype"], entry["shape"], data)])[0].hex()
    state["root"] = chain.state_root(msgspec.convert(state, StateManifest))


def _resize(document: Document) -> None:
    """Log the update sizes that the stored states have, where both are stored."""
    for index in range(1, len(document.segments)):
        before, after = document.tensors[index - 1], document.tensors[index]
        if before is not None and after is not None:
            with contextlib.suppress(RuntimeError, KeyError, ValueError):
                document.segments[index]["update_norm"] = distance(before, after).hex()


def _fitted(entry: Any, tensor: torch.Tensor) -> Any:
    """Return a tensor's bytes, cut or filled to what the entry says it is."""
    dtype, shape = (entry.dtype, entry.shape) if isinstance(entry, msgspec.Struct) else (entry["dtype"], entry["shape"])
    size = itemsize(dtype)
    for n in shape:
        size *= n
    data = bytes(raw(tensor))
    if size > 1 << 20:
        raise ValueError(size)
    return torch.frombuffer(bytearray(data[:size].ljust(size, b"\0") or b"\0"), dtype=torch.uint8)[:size].numpy()


def _states(manifest: StateManifest, tensors: dict[str, torch.Tensor]) -> bytes:
    """Return a file of a manifest's tensors; an honest file where the manifest is none that can be stored."""
    try:
        data = [_fitted(e, tensors[e.name]) for e in manifest.tensors]
        return safetensors_header(manifest) + b"".join(bytes(d) for d in data)
    except (RecordError, KeyError, ValueError):
        from safetensors.torch import save

        return save({name: tensor.contiguous() for name, tensor in tensors.items()})


# -- verifying them quickly ------------------------------------------------------------------------------------------


class Replayer:
    """Stands in for the pool: the worker's own code, in this process, and each replay only once.

    A replay is a function of what the worker reads: the commitment, the leaves, the start state, the batches, and
    where the end state says that the loop stood. So results are kept by a digest of exactly that.
    """

    def __init__(self, scratch: Path) -> None:
        self.kept: dict[str, tuple[UnitResult, bytes]] = {}
        self.scratch, self.real, self.again = scratch, 0, 0

    def __call__(
        self,
        job: Job,
        units: Sequence[Unit],
        environment: Environment,
        jobs: int,
        unit_seconds: float,
        on_result: Callable[[UnitResult], object],
        *,
        on_ready: Callable[[Any], object] | None = None,
        command: Sequence[str] = (),
    ) -> list[UnitResult]:
        """Do what ``trainproof.replay.pool.replay_units`` does."""
        from trainproof.replay.worker import Worker

        variables(environment, Path(job.scratch))
        results = []
        with as_a_process():
            try:
                worker = Worker(job, ["none"])
            except Exception as error:  # a process that does not get ready
                results = [failure(unit, f"{type(error).__name__}: {error}", 0.0) for unit in units]
                for result in results:
                    on_result(result)
                return results
            if on_ready is not None:
                on_ready(worker.ready())
            for unit in units:
                result = self._result(worker, job, unit)
                results.append(result)
                if on_result(result):
                    break
        torch.set_num_threads(1)
        return results

    def _result(self, worker: Any, job: Job, unit: Unit) -> UnitResult:
        from trainproof.replay.job import initial_file

        key = _inputs(worker, job, unit)
        file = Path(job.scratch) / initial_file(unit.perturb)
        if key in self.kept:
            self.again += 1
            result, built = self.kept[key]
            if unit.kind == "initial" and built:
                file.write_bytes(built)
            return msgspec.structs.replace(result, unit=unit)
        self.real += 1
        worker.opened = set()
        try:
            with as_a_process():
                result = canonical.decode(canonical.encode(worker.run(unit)), UnitResult, "replay process")
        except Exception as error:  # the process would have ended
            result = failure(unit, f"{type(error).__name__}: {error}", 0.0)
        self.kept[key] = result, file.read_bytes() if unit.kind == "initial" and file.exists() else b""
        return result


def _inputs(worker: Any, job: Job, unit: Unit) -> str:
    """Return a digest of everything that a replay of ``unit`` reads; what it only makes is left out."""
    record = worker.record
    asked = [unit.kind, unit.start, unit.end, unit.perturb, unit.cut]
    parts: list[Any] = [msgspec.json.encode(part) for part in (asked, job.recipe, record.commitment)]
    parts.append(worker.leaves)
    if unit.kind == "replay":
        start = record.segment(unit.start)
        parts.append(msgspec.json.encode([start.state, start.index, start.first_step, len(start.steps)]))
        parts.append(record.state_path(unit.start).read_bytes() if record.state_path(unit.start).exists() else b"")
        for index in range(unit.start + 1, unit.end + 1):
            segment = record.segment(index)
            batches = [[[b.iteration, b.indices, b.dropped] for b in step.batches] for step in segment.steps]
            rest = [[b.iteration, b.indices, b.dropped] for b in segment.trailing]
            parts.append(msgspec.json.encode([batches, rest, segment.stored]))
            # The end is compared with: the whole state matters to 'errors', its loader's position to the replay.
            parts.append(msgspec.json.encode(segment.state))
    return digest_of("inputs", b"".join(digest_of("part", p).encode() for p in parts))


class _NoReads:
    """Stands in for the audit hook of a replay process, which a process never gets rid of."""

    def __init__(self, ignored: Any) -> None:
        self.files: set[str] = set()


class Bench:
    """Verifies records of one folder in this process."""

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.replayer = scratch, Replayer(scratch)
        self._saved: Any = None
        ready = Policy.bitwise()
        initial = msgspec.structs.replace(ready.initial, builds=2)
        bounds = msgspec.structs.replace(ready.bounds, skipped_max=1.0)
        self.policy = ready.replace(coverage="all", initial=initial, bounds=bounds)

    def __enter__(self) -> Bench:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        gc.collect()
        gc.freeze()  # recordings look for schedulers among all objects: the test's own are none of theirs
        self._saved = replays.replay_units, replays.capture, reads.Reads, threads
        known: dict[str, Environment] = {}
        capture = replays.capture

        def once(packages: list[str], device: str) -> Environment:
            """The environment of this process does not change; to ask for versions takes a second."""
            key = f"{packages}{device}"
            if key not in known:
                known[key] = capture(packages, device)
            return known[key]

        replays.replay_units, replays.capture = self.replayer, once  # type: ignore[assignment]
        reads.Reads = _NoReads  # type: ignore[assignment, misc]
        return self

    def __exit__(self, *_: object) -> None:
        replays.replay_units, replays.capture, reads.Reads, threads = self._saved  # type: ignore[misc]
        torch.set_num_threads(threads)
        gc.unfreeze()

    def verify(self, honest: Honest, path: Path, **options: Any) -> Report:
        """Verify ``path`` as the verifier of the honest record would."""
        options.setdefault("policy", self.policy)
        return run(path, recipe=honest.recipe, arguments=honest.arguments, jobs=1, **options)
