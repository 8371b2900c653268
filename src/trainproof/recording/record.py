"""Door 2: ``with trainproof.record(…)`` around the user's own, unchanged loop. Replay re-enters that loop."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trainproof.errors import RecipeError, RecordError, UsageError
from trainproof.recording.check import require
from trainproof.recording.closure import closure_of, undeclared
from trainproof.recording.dataset import base_of
from trainproof.recording.format import Parent
from trainproof.recording.instruments import discover
from trainproof.recording.reader import Record
from trainproof.recording.run import Run, Start
from trainproof.recording.state import StateAccess
from trainproof.replay import session as sessions
from trainproof.replay.job import RecipeSource

if TYPE_CHECKING:
    import torch

    from trainproof.attest.keys import Signer


def record(
    out: str | Path,
    *,
    recipe: str | Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    data_loader: torch.utils.data.DataLoader[Any],
    every: int,
    key: str | Path | Signer,
    scheduler: Any = None,
    scaler: Any = None,
    ema: torch.nn.Module | None = None,
    extra: dict[str, Any] | None = None,
    keep: str = "all",
    anchors: int = 0,
    epochs: int | None = None,
    resume: bool = False,
    private: bool = False,
    nonce: str | None = None,
    parent: str | Path | None = None,
    note: str = "",
    self_replay: bool = True,
    quiet: bool = False,
) -> Recording:
    """Record the training that happens inside the ``with`` block into the folder ``out``.

    ``recipe`` is the script itself (``__file__``): its source, local imports and arguments are committed, and a
    verifier re-enters its own copy. ``every`` is the number of optimizer steps between states, ``anchors`` the number
    between states that are only hashed (0: none), ``key`` the prover's private key file. Schedulers, a gradient scaler
    and an averaged model are found by themselves or given; other state goes into ``extra`` (modules, or objects with
    ``state_dict``). ``epochs`` only serves the plan. With ``resume`` an unsealed record is continued: skip the loader
    iterations that ``completed_iterations`` counts.

    Raises UnsupportedError, PlanError, ResumeError or RecipeError before anything is trained.
    """
    schedulers, averaged = discover(optimizer)
    for given in scheduler if isinstance(scheduler, (list, tuple)) else [scheduler]:
        if given is not None and not any(given is s for s in schedulers):
            schedulers.append(given)
    extras = dict(extra or {})
    for module in [ema, *averaged]:
        if module is not None and not any(module is m for m in extras.values()):
            extras["ema" if "ema" not in extras else f"ema{len(extras)}"] = module
    access = StateAccess(model, optimizer, schedulers, scaler or find_scaler(), extras)
    require(access, data_loader)
    session = sessions.active()
    if session is not None:
        return Recording(None, access, data_loader)
    entry = Path(recipe)
    missing = undeclared(entry)
    if missing:
        raise RecipeError(
            "is loaded but not imported by a plain import statement", name=missing[0], mend="import it at the top"
        )
    source = RecipeSource(path=str(entry.resolve()), qualname=None, arguments=sys.argv[1:])
    start = Start(
        out,
        base_of(data_loader.dataset),
        every=every,
        key=key,
        resume=resume,
        private=private,
        nonce=nonce,
        anchors=anchors,
    )
    run = Run(
        start,
        source=source,
        closure=closure_of(entry, "loop", None, source.arguments),
        access=access,
        loader=data_loader,
        keep=keep,
        schedule=[type(s).__name__ for s in schedulers],
        skip_iterations=True,
        steps=None if epochs is None else epochs * len(data_loader),
        parent=parent_of(parent),
        note=note,
        self_replay=self_replay,
        quiet=quiet,
    )
    return Recording(run, access, data_loader)


class Recording:
    """The context manager. ``record`` and ``root`` are empty in a replay, ``completed_iterations`` is not."""

    def __init__(self, run: Run | None, access: StateAccess, loader: torch.utils.data.DataLoader[Any]) -> None:
        self._run, self._access, self._loader = run, access, loader
        self.record: Record | None = None

    @property
    def completed_iterations(self) -> int:
        """Return how many loader iterations a resumed record has behind it: begin the epoch loop there.

        A replay says how many lie before its unit, so that what a loop does by its epoch's number is done again. If a
        loop does not ask, these iterations pass with an empty loader.
        """
        session = sessions.active()
        if session is not None:
            return session.counts_from()
        return 0 if self._run is None else self._run.recorder.counts_from()

    @property
    def root(self) -> str | None:
        """Return the record's final chain value, once it is sealed: publish this."""
        return None if self.record is None else self.record.root

    def __enter__(self) -> Recording:
        session = sessions.active()
        if session is not None:
            session.attach(self._access, self._loader)
        elif self._run is not None:
            self._run.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = sessions.active()
        if session is not None:
            if kind is None:
                session.leave()
        elif self._run is not None:
            if kind is not None:
                self._run.abandon()
                return
            try:
                self.record = self._run.finish()
            except RecordError as failure:
                if self._run.recorder.error is None:
                    raise
                print(f"trainproof: {failure}", file=sys.stderr)  # a full disk never ends a script


def find_scaler() -> Any:
    """Return the one enabled gradient scaler of this process, or None. Raises UsageError if there are several."""
    import gc

    import torch

    found = [o for o in gc.get_objects() if issubclass(type(o), torch.amp.GradScaler) and o.is_enabled()]
    if len(found) > 1:
        raise UsageError(f"{len(found)} gradient scalers exist", name="scaler", mend="pass the one that is used")
    return found[0] if found else None


def parent_of(path: str | Path | None) -> Parent | None:
    """Return the commitment's reference to the record that a warm start comes from."""
    if path is None:
        return None
    from trainproof.recording.chain import model_root

    parent = Record.open(path)
    if not parent.sealed():
        raise UsageError("is not sealed", name=str(path), mend="finish the parent's record first")
    return Parent(chain=parent.root, model=model_root(parent.segment(len(parent) - 1).state))
