"""A replay process, ``python -m trainproof.replay.worker``: Job line in, Ready line out; a UnitResult for every Unit.

It runs the verifier's own recipe, confined by ``trainproof.replay.sandbox``, and decides nothing. What the recipe
prints goes to standard error.
"""

from __future__ import annotations

import math
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import RecordError, ReplayError, SandboxError, TrainproofError, shorten
from trainproof.replay.job import Job, Ready, TensorError, TensorSummary, Unit, UnitResult, initial_file


def main() -> int:
    """Serve one job until standard input ends."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    stdin = sys.stdin.buffer
    job = canonical.decode(_line(stdin), Job, "job")
    from trainproof.replay import sandbox

    readable = [Path(p) for p in job.readable]
    try:
        layers = sandbox.enter(job.sandbox, readable, Path(job.scratch), job.memory_bytes)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return SandboxError.exit_code
    worker = Worker(job, layers)
    _send(channel, worker.ready())
    while line := _line(stdin):
        _send(channel, worker.run(canonical.decode(line, Unit, "unit")))
    return 0


def _line(stream: BinaryIO) -> bytes:
    return stream.readline(limits.WORKER_LINE_BYTES).rstrip(b"\n")


def _send(channel: BinaryIO, value: Any) -> None:
    channel.write(canonical.encode(value) + b"\n")
    channel.flush()


class Worker:
    """Serves the units of one job: the record and its dataset leaves are opened once."""

    def __init__(self, job: Job, layers: list[str]) -> None:
        import trainproof
        from trainproof._core import merkle_root
        from trainproof.recording import environment
        from trainproof.recording.closure import paths_of, sources_of
        from trainproof.recording.dataset import NO_SECRET
        from trainproof.recording.reader import Record
        from trainproof.replay.imports import restrict
        from trainproof.replay.reads import Reads

        self.job, self.layers = job, layers
        restrict(sources_of(Path(job.recipe.path)), Path(job.recipe.path).parent)
        secrets = [] if job.salts is None else [Path(job.salts)]
        own = [Path(job.record), Path(job.scratch), Path(trainproof.__file__).parent, *secrets]
        self.reads = Reads([*own, *paths_of(Path(job.recipe.path))])
        self.record = Record.open(job.record)
        if job.commitment not in ("", self.record.commitment_digest):
            raise RecordError("changed while it was being verified", name="commitment.json")
        self.leaves = self.record.leaves()
        self.leaves_root = merkle_root(self.leaves).hex()
        self.secret = NO_SECRET
        if job.salts is not None:
            self.secret = canonical.read_bytes(Path(job.salts), 32, "salt secret")
        self.opened: set[int] = set()
        self.dataset: Any = None
        self.settings = job.environment or self.record.commitment.environment
        environment.apply(self.settings)
        self.here = environment.capture()

    def ready(self) -> Ready:
        """Return what this process runs under."""
        facts = {k: str(v) for k, v in msgspec.structs.asdict(self.here).items()}
        return Ready(environment=facts, layers=self.layers)

    def run(self, unit: Unit) -> UnitResult:
        """Replay one unit; whatever goes wrong in the recipe becomes ``failure``.

        Iterations before the unit pass empty, unless the loop cannot bear that: then it is entered as if they had been.
        """
        self.record.expected.update(enumerate(unit.digests, unit.start))
        result, started = self._attempt(unit, skip=self.record.commitment.closure.door != "recipe")
        if result.failure is not None and not started and unit.kind == "replay":
            result, _ = self._attempt(unit, skip=False)
        return result

    def _attempt(self, unit: Unit, skip: bool) -> tuple[UnitResult, bool]:
        from trainproof.recording import environment
        from trainproof.replay import session as sessions

        environment.apply(self.settings)
        try:
            session = sessions.Session(self.record, unit, self.leaves, self.secret, self.opened, skip)
        except RecordError as error:  # a state that does not say where the loop stood
            from trainproof.replay.pool import failure as failed

            return msgspec.structs.replace(failed(unit, str(error), 0.0), refuted=True), True
        sessions.activate(session)
        failure: str | None = None
        refuted = False
        try:
            with _perturbed_seeds(unit.perturb):
                self._enter(session)
            failure, refuted = "the recipe ended without training", True
        except sessions.Finished:
            pass
        except TrainproofError as error:
            failure, refuted = str(error), isinstance(error, (RecordError, ReplayError))
        except SystemExit as error:
            failure = f"the recipe exited with {shorten(error.code)}"
        except Exception as error:
            failure = f"{type(error).__name__}: {shorten(str(error))}"
        finally:
            session.detach()
            sessions.activate(None)
        if unit.kind == "initial" and session.final is not None:
            _leave_model(session, Path(self.job.scratch) / initial_file(unit.perturb))
        result = UnitResult(
            unit=unit,
            segments=session.results,
            opened=session.newly_opened,
            bad_samples=session.bad_samples[:1000],
            bad_order=session.bad_order,
            errors=[] if failure else self._errors(session),
            summaries=_summaries(session) if unit.kind == "initial" else [],
            load_seconds=session.load_seconds or time.perf_counter() - session._created,
            step_seconds=session.step_seconds,
            failure=failure,
            layers=self.layers,
            refuted=refuted,
            made=session.made if unit.kind == "initial" and unit.perturb == 0 else None,
            files=tuple(sorted(self.reads.files)),
        )
        return result, session.started

    def _enter(self, session: Any) -> None:
        """Run the recipe from its beginning."""
        if session.unit.kind == "replay" and self.leaves_root != self.record.commitment.dataset.root:
            raise RecordError("do not hash to the committed root", name="dataset.leaves")
        recipe, door = self.job.recipe, self.record.commitment.closure.door
        path = Path(recipe.path)
        if door == "recipe":
            from trainproof.recording.recipe import load_recipe
            from trainproof.recording.train import reenter

            instance = load_recipe(f"{path}:{recipe.qualname}")
            if self.dataset is None:
                # Once a process: it is the same each time, or its samples do not hash to their leaves.
                self.dataset = instance.dataset()
            reenter(instance, self.dataset, session)
            return
        sys.argv = [str(path), *recipe.arguments]
        sys.path.insert(0, str(path.parent))
        if door == "script":
            from trainproof.recording.launch import run_script

            run_script(path, session)
        else:
            runpy.run_path(str(path), run_name="__main__")

    def _errors(self, session: Any) -> list[TensorError]:
        """Compare the end state with the stored one, tensor by tensor, if they differ."""
        unit = session.unit
        if unit.kind != "replay" or session.final is None or unit.cut is not None:
            return []
        recorded = self.record.segment(unit.end)
        if not recorded.stored or session.results[-1].state.root == recorded.state.root:
            return []
        end, start = self.record.tensors(unit.end), self.record.tensors(unit.start)
        replayed = {e.name: e.digest for e in session.results[-1].state.tensors}
        found = []
        for entry in recorded.state.tensors:
            if replayed.get(entry.name) != entry.digest and entry.name in session.final.tensors:
                found.append(
                    _tensor_error(entry.name, session.final.tensors[entry.name], end[entry.name], start.get(entry.name))
                )
        return found


def _tensor_error(name: str, replayed: Any, recorded: Any, before: Any) -> TensorError:
    import torch

    if replayed.shape != recorded.shape:
        inf = math.inf.hex()
        return TensorError(name=name, l1=inf, l2=inf, linf=inf, cosine="nan", relative=inf)
    a, b = replayed.double().reshape(-1), recorded.double().reshape(-1)
    difference = a - b
    update = b if before is None or before.shape != recorded.shape else b - before.double().reshape(-1)
    l2, moved = float(torch.linalg.vector_norm(difference)), float(torch.linalg.vector_norm(update))
    norms = float(torch.linalg.vector_norm(a)) * float(torch.linalg.vector_norm(b))
    return TensorError(
        name=name,
        l1=float(difference.abs().sum()).hex(),
        l2=l2.hex(),
        linf=(float(difference.abs().max()) if difference.numel() else 0.0).hex(),
        cosine=(1.0 - float(a @ b) / norms if norms else math.nan).hex(),
        relative=(l2 / moved if moved else math.inf if l2 else 0.0).hex(),
    )


def _leave_model(session: Any, path: Path) -> None:
    """Write the built model's tensors for the verifier's statistics, as a state's are."""
    from trainproof.recording.tensors import safetensors_header
    from trainproof.recording.values import raw

    state = session.results[-1].state
    model = msgspec.structs.replace(state, tensors=[e for e in state.tensors if e.name.startswith("model/")])
    with path.open("wb") as file:
        file.write(safetensors_header(model))
        for entry in model.tensors:
            file.write(raw(session.final.tensors[entry.name]).data)


def _summaries(session: Any) -> list[TensorSummary]:
    """Describe each tensor of the built model."""
    if session.final is None:
        return []
    found = []
    for entry in session.results[-1].state.tensors:
        if not entry.name.startswith("model/"):
            continue
        flat = session.final.tensors[entry.name].double().reshape(-1)
        constant = bool(flat.numel() == 0 or (flat == flat[0]).all())
        mean = float(flat.mean()) if flat.numel() else 0.0
        std = float(flat.std(unbiased=False)) if flat.numel() else 0.0
        found.append(
            TensorSummary(name=entry.name, constant=constant, mean=mean.hex(), std=std.hex(), digest=entry.digest)
        )
    return found


class _perturbed_seeds:
    """Replace every seed that the recipe gives to torch, NumPy or Python by one derived from it and ``number``.

    A negative number leaves these as they are and only sets what the recipe finds: what it does not seed differs then.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> None:
        import random

        import numpy as np
        import torch

        self._saved = (torch.manual_seed, np.random.seed, random.seed)
        if self.number == 0:
            return

        def shift(seed: Any) -> int:
            import hashlib

            digest = hashlib.sha256(f"{seed!r}:{self.number}".encode()).digest()
            return int.from_bytes(digest[:4], "little")

        torch_seed, numpy_seed, python_seed = self._saved
        if self.number > 0:
            torch.manual_seed = lambda seed: torch_seed(shift(seed))
            np.random.seed = lambda seed=None: numpy_seed(shift(seed))
            random.seed = lambda a=None, version=2: python_seed(shift(a), version)
        torch_seed(shift("before the recipe"))
        numpy_seed(shift("before the recipe"))
        python_seed(shift("before the recipe"))

    def __exit__(self, *_: object) -> None:
        import random

        import numpy as np
        import torch

        torch.manual_seed, np.random.seed, random.seed = self._saved


if __name__ == "__main__":
    sys.exit(main())
