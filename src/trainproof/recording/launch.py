"""``trainproof record -- python train.py``: record a script that does not know of trainproof.

The script runs in this process by ``runpy``. Hooks wait for the first loader that is iterated while an optimizer
exists and gradients are enabled: that is the training loader, the model is the module that owns the optimizer's
parameters. Global seeds are set from the run's own before the script starts, so that its initial weights can be made
again.
"""

from __future__ import annotations

import random
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainproof import _core
from trainproof.errors import RecipeError, TrainproofError, UnsupportedError, UsageError
from trainproof.recording.check import Finding, findings
from trainproof.recording.closure import closure_of
from trainproof.recording.dataset import base_of
from trainproof.recording.instruments import discover
from trainproof.recording.reader import Record
from trainproof.recording.recipe import derive_seed
from trainproof.recording.record import find_scaler
from trainproof.recording.run import Run, Start
from trainproof.recording.state import StateAccess
from trainproof.replay import session as sessions
from trainproof.replay.job import RecipeSource

if TYPE_CHECKING:
    import torch

_REFUSED = {
    "torchrun": "run the script itself, in one process",
    "torch.distributed.run": "run the script itself, in one process",
    "torch.distributed.launch": "run the script itself, in one process",
    "accelerate": "run the script itself, in one process",
    "deepspeed": "run the script itself, in one process",
    "jupyter": "export the notebook to a script",
    "ipython": "run a script",
}


class Launcher:
    """Waits for the training to begin, then calls ``begin(access, loader)`` once, before the loader draws anything."""

    def __init__(self, begin: Callable[[StateAccess, Any], None]) -> None:
        self._begin = begin
        self._optimizers: list[torch.optim.Optimizer] = []
        self._begun = False

    def __enter__(self) -> Launcher:
        import torch
        from torch.utils.data import DataLoader

        self._saved = (torch.optim.Optimizer.__init__, DataLoader.__iter__)
        make, iterate = self._saved
        launcher = self

        def init(this: Any, *args: Any, **kwargs: Any) -> None:
            make(this, *args, **kwargs)
            launcher._optimizers.append(this)

        def iter_(this: Any) -> Iterator[Any]:
            if not launcher._begun and launcher._optimizers and torch.is_grad_enabled():
                launcher._start(this)
                return iter(this)  # its class is swapped now
            return iterate(this)

        torch.optim.Optimizer.__init__ = init  # type: ignore[method-assign, assignment]
        DataLoader.__iter__ = iter_  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        import torch
        from torch.utils.data import DataLoader

        torch.optim.Optimizer.__init__, DataLoader.__iter__ = self._saved  # type: ignore[method-assign]

    @property
    def begun(self) -> bool:
        """Return whether the script began to train."""
        return self._begun

    def _start(self, loader: Any) -> None:
        import torch
        from torch.utils.data import DataLoader

        if len(self._optimizers) > 1:
            raise UnsupportedError("several optimizers are not supported", name="optimizer", mend="use one")
        # The hooks have done their work; the original is what the tap must find and restore.
        torch.optim.Optimizer.__init__, DataLoader.__iter__ = self._saved  # type: ignore[method-assign]
        self._begun = True
        optimizer = self._optimizers[0]
        schedulers, averaged = discover(optimizer)
        extra = {"ema" if i == 0 else f"ema{i}": m for i, m in enumerate(averaged)}
        self._begin(StateAccess(owner_of(optimizer), optimizer, schedulers, find_scaler(), extra), loader)


def owner_of(optimizer: torch.optim.Optimizer) -> torch.nn.Module:
    """Return the one outermost module that owns all of the optimizer's parameters."""
    import gc

    import torch
    from torch.optim.swa_utils import AveragedModel

    wanted = {id(p) for g in optimizer.param_groups for p in g["params"]}
    modules: list[torch.nn.Module] = [
        o for o in gc.get_objects() if issubclass(type(o), torch.nn.Module) and not issubclass(type(o), AveragedModel)
    ]
    children = {id(c) for m in modules for c in m.children()}
    owners = [m for m in modules if id(m) not in children and wanted <= {id(p) for p in m.parameters()}]
    if len(owners) != 1:
        raise UnsupportedError(
            f"{len(owners)} modules own the optimizer's parameters", name="model", mend="use trainproof.record(model=…)"
        )
    return owners[0]


def parse(command: list[str]) -> tuple[Path, list[str]]:
    """Return (script, arguments) of a command line such as ``python train.py --epochs 3``."""
    rest = list(command)
    if not rest:
        raise UsageError("no command given", name="record", mend="trainproof record … -- python train.py")
    program = Path(rest[0]).name
    for refused, mend in _REFUSED.items():
        if refused in (program, *rest[1:2]) or (rest[1:2] == ["-m"] and refused in rest[2:3][0:1]):
            raise UnsupportedError("is not supported", name=refused, mend=mend)
    if program.startswith("python"):
        rest = rest[1:]
    if not rest or rest[0].startswith("-"):
        raise UsageError("expected a script", name=rest[0] if rest else "command", mend="python train.py [arguments]")
    if not rest[0].endswith(".py"):
        raise UnsupportedError("is not a Python script", name=rest[0], mend="export notebooks to a .py file")
    script = Path(rest[0])
    if not script.is_file():
        raise RecipeError("no such script", name=str(script))
    return script, rest[1:]


def run(
    command: list[str],
    *,
    out: str | Path,
    every: int,
    key: str | Path,
    keep: str = "all",
    anchors: int = 0,
    resume: bool = False,
    private: bool = False,
    nonce: str | None = None,
    note: str = "",
    self_replay: bool = True,
    quiet: bool = False,
) -> Record:
    """Run a script and record it. Returns the sealed record.

    With ``resume`` the loader iterations that are complete pass empty, so that the script's own counters are right.
    Raises UnsupportedError, RecipeError, ResumeError or PlanError; a script that never trains is a RecipeError.
    """
    script, arguments = parse(command)
    source = RecipeSource(path=str(script.resolve()), qualname=None, arguments=arguments)
    closure = closure_of(script, "script", None, arguments)
    start = Start(out, None, every=every, key=key, resume=resume, private=private, nonce=nonce, anchors=anchors)
    seed_script(start.script_seed(closure))
    made: list[Run] = []

    def begin(access: StateAccess, loader: Any) -> None:
        for finding in findings(access, loader):
            raise UnsupportedError(finding.problem, name=finding.name, mend=finding.mend)
        start.commit_to(base_of(loader.dataset))
        recording = Run(
            start,
            source=source,
            closure=closure,
            access=access,
            loader=loader,
            keep=keep,
            schedule=[type(s).__name__ for s in access.scheduler],
            skip_iterations=True,
            note=note,
            self_replay=self_replay,
            quiet=quiet,
        )
        recording.start()
        made.append(recording)

    try:
        with Launcher(begin):
            _run_file(script, arguments)
    except BaseException:
        if made:
            made[0].abandon()
        raise
    if not made:
        raise RecipeError(
            "never iterated a loader with an optimizer in place", name=str(script), mend="use trainproof.record"
        )
    return made[0].finish()


def run_script(script: Path, session: sessions.Session) -> None:
    """Re-enter an unmodified script in a replay."""
    commitment = session.commitment
    seed = derive_seed("0" * 64, commitment.closure.digest, commitment.key, commitment.every, commitment.seed.nonce)
    seed_script(sessions.perturbed(bytes.fromhex(seed)))
    with Launcher(session.attach):
        runpy.run_path(str(script), run_name="__main__")
    session.leave()


def seed_script(seed: bytes) -> None:
    """Set the global generators before a script starts."""
    import numpy as np
    import torch

    words = _core.stream_words("script", seed, 0, 0, 3)
    torch.manual_seed(int(words[0]) >> 1)
    np.random.seed(int(words[1]) & 0xFFFFFFFF)
    random.seed(int(words[2]))


def _run_file(script: Path, arguments: list[str]) -> None:
    """Run the script as Python would: its folder first on the path, its own arguments."""
    saved_argv, saved_path = sys.argv, list(sys.path)
    sys.argv, sys.path[0] = [str(script), *arguments], str(script.resolve().parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            raise RecipeError(f"exited with {error.code}", name=str(script)) from None
    finally:
        sys.argv, sys.path[:] = saved_argv, saved_path


def check_command(command: list[str]) -> list[Finding]:
    """Run the script up to its first training batch and return what could not be recorded there."""
    found: list[Finding] = []

    def begin(access: StateAccess, loader: Any) -> None:
        found.extend(findings(access, loader))
        raise sessions.Finished

    try:
        script, arguments = parse(command)
        closure_of(script, "script", None, arguments)
        with Launcher(begin) as launcher:
            _run_file(script, arguments)
        if not launcher.begun:
            found.append(
                Finding(str(script), "never iterated a loader with an optimizer in place", "use trainproof.record")
            )
    except sessions.Finished:
        pass
    except TrainproofError as error:
        found.append(Finding(error.name or "command", str(error), error.mend or "see docs/record.md"))
    return found
