"""The plan of a record, printed before step 0: how many states, how large, and whether disk and memory hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainproof.errors import PlanError
from trainproof.recording.state import StateAccess
from trainproof.recording.writer import free_bytes

_SNAPSHOTS = 5  # two queued, one being written, one before it for its update norm, one being copied
_STATE_TENSORS = {"SGD": 1, "Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2, "RMSprop": 2, "Adagrad": 1}
_STATE_TENSORS["ExactSGD"] = 1


@dataclass(frozen=True)
class Plan:
    """``segments`` and ``total_bytes`` are None where the number of steps is not known in advance."""

    state_bytes: int
    segments: int | None
    stored_states: int | None
    total_bytes: int | None
    queue_bytes: int
    free_bytes: int

    def lines(self) -> list[str]:
        """Return the plan in words, a line each."""
        one = f"a state takes {human(self.state_bytes)}, {human(self.queue_bytes)} of memory are used to write them"
        if self.segments is None:
            return [one, f"number of states not known in advance; {human(self.free_bytes)} free on disk"]
        return [
            one,
            f"{self.segments} segments, {self.stored_states} stored states, {human(self.total_bytes or 0)} in all; "
            f"{human(self.free_bytes)} free on disk",
        ]


def human(size: int) -> str:
    """Return a size in decimal units, such as '2.2 MB'."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def state_bytes(access: StateAccess) -> int:
    """Return the bytes of a full state once the optimizer has its own."""
    trained = [p for g in access.optimizer.param_groups for p in g["params"] if p.requires_grad]
    copies = _STATE_TENSORS.get(type(access.optimizer).__name__, 2)
    options = access.optimizer.param_groups[0]
    if type(access.optimizer).__name__ in ("SGD", "ExactSGD") and not options.get("momentum"):
        copies = 0
    if options.get("amsgrad"):
        copies += 1
    model: int = sum(t.numel() * t.element_size() for t in [*access.model.parameters(), *access.model.buffers()])
    extra: int = 0
    for module in access.extra.values():
        if hasattr(module, "parameters"):
            extra += sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])
    moments: int = copies * sum(p.numel() * p.element_size() for p in trained)
    return model + extra + moments


def plan(access: StateAccess, path: Path, *, steps: int | None, every: int, keyframes: int) -> Plan:
    """Return the plan. Raises PlanError if the record cannot fit: in full if ``steps`` is known, else 3 states."""
    one, free = state_bytes(access), free_bytes(path)
    segments = None if steps is None else -(-steps // every)
    stored = None if segments is None else 1 + -(-segments // keyframes)
    total = None if stored is None else stored * one
    found = Plan(one, segments, stored, total, _SNAPSHOTS * one, free)
    needed = 3 * one if total is None else total
    if needed > free:
        raise PlanError(
            f"the record needs {human(needed)}, the disk has {human(free)} free",
            name=str(path),
            mend="raise every=, or store fewer states with keep='keyframes:N'",
        )
    memory = available_memory()
    if memory is not None and found.queue_bytes > memory:
        raise PlanError(
            f"writing states needs {human(found.queue_bytes)} of memory, {human(memory)} are available",
            name=str(path),
            mend="free memory, or record on a larger machine",
        )
    return found


def available_memory() -> int | None:
    """Return the available memory in bytes, or None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def announce(found: Plan, say: Any) -> None:
    """Print the plan through ``say``, a line each."""
    for line in found.lines():
        say(f"plan: {line}")
