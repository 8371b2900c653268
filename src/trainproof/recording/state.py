"""A full training state: capture it, digest it, restore it.

A state is everything that the next step depends on: parameters, all buffers, optimizer, scheduler, gradient scaler,
registered extras (EMA), random generators, and the loader's position. What is not in it must not matter; the recorder's
self-replay is the test of that.
"""

from __future__ import annotations

import random
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from trainproof import _core
from trainproof.errors import RecordError, UnsupportedError
from trainproof.recording import chain
from trainproof.recording.format import StateManifest, TensorEntry, Tree
from trainproof.recording.tensors import Arena, storable
from trainproof.recording.tree import from_tree, to_tree
from trainproof.recording.values import dtype_name, raw

if TYPE_CHECKING:
    import torch

_SECTIONS = {"optimizer", "groups", "schedulers", "scaler", "extra", "rng", "loader"}


@dataclass
class Snapshot:
    """A copy of a state, independent of the training: row-major CPU tensors by name, memory orders, aliases, tree."""

    tensors: dict[str, torch.Tensor]
    orders: dict[str, list[int]]
    aliases: list[tuple[str, str]]
    tree: Tree
    digests: dict[str, bytes] = field(default_factory=dict)  # of those tensors that were hashed as they were copied
    arena: Arena | None = None  # what the tensors lie in, if they do

    def manifest(self) -> StateManifest:
        """Return the manifest: hashes what is not hashed yet (off the training thread)."""
        return manifest_of(self.tensors, self.orders, self.aliases, self.tree, self.digests)

    @property
    def nbytes(self) -> int:
        """Return the size of all tensors in bytes."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


def manifest_of(
    tensors: AnyMapping[str, torch.Tensor],
    orders: AnyMapping[str, list[int]],
    aliases: list[tuple[str, str]],
    tree: Tree,
    digests: AnyMapping[str, bytes] | None = None,
) -> StateManifest:
    """Return the manifest of row-major CPU ``tensors``: digests by BLAKE3, names ascending by their UTF-8 bytes.

    ``digests`` are those that are known already.
    """
    names = sorted(tensors, key=lambda n: n.encode())
    known = dict(digests or {})
    rest = [n for n in names if n not in known]
    fresh = _core.tensor_digests([(dtype_name(tensors[n]), list(tensors[n].shape), raw(tensors[n])) for n in rest])
    known.update(zip(rest, fresh, strict=True))
    entries = [
        TensorEntry(
            name=n,
            dtype=dtype_name(tensors[n]),
            shape=list(tensors[n].shape),
            order=orders.get(n),
            digest=known[n].hex(),
        )
        for n in names
    ]
    manifest = StateManifest(tensors=entries, aliases=sorted(aliases), tree=tree, root="0" * 64)
    return msgspec.structs.replace(manifest, root=chain.state_root(manifest))


def check_tensors(tensors: AnyMapping[str, torch.Tensor], manifest: StateManifest) -> str | None:
    """Return the name of the first tensor whose contents do not hash to the manifest's digest, or None."""
    entries = [e for e in manifest.tensors if e.name in tensors]
    hashed = _core.tensor_digests([(e.dtype, e.shape, raw(tensors[e.name])) for e in entries])
    for entry, digest in zip(entries, hashed, strict=True):
        if digest.hex() != entry.digest:
            return entry.name
    return None


def memory_order(tensor: torch.Tensor, name: str) -> list[int] | None:
    """Return the dimensions from slowest to fastest in memory, or None if row-major.

    Raises UnsupportedError for expanded or overlapping memory, which an optimizer cannot update in place.
    """
    if tensor.is_contiguous():
        return None
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda d: (-strides[d], d))
    if not tensor.permute(order).is_contiguous():
        raise UnsupportedError(
            "has gaps or overlaps in memory", name=name, mend="make it contiguous() before recording"
        )
    return order


def in_order(tensor: torch.Tensor, order: list[int] | None, device: torch.device) -> torch.Tensor:
    """Return a copy of a row-major ``tensor`` on ``device`` laid out as ``order`` says."""
    if order is None:
        return tensor.to(device).clone()
    if sorted(order) != list(range(tensor.dim())):
        raise RecordError("memory order is not a permutation of its dimensions", name="order", value=order)
    inverse = [order.index(d) for d in range(tensor.dim())]
    return tensor.permute(order).to(device).contiguous().permute(inverse)


@dataclass
class Pool:
    """Finished snapshots, whose memory is reused: fresh memory costs page faults on the training thread."""

    free: list[Snapshot] = field(default_factory=list)

    def take(self, live: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], Arena | None]:
        """Return buffers to copy ``live`` into, and the arena that they are in. Buffers may be missing, or not fit."""
        used = self.free.pop() if self.free else None
        # Pinned memory, which copies from a GPU need, comes tensor by tensor.
        if not all(t.device.type == "cpu" and storable(dtype_name(t)) for t in live.values()):
            return (used.tensors if used else {}), None
        names = sorted(live, key=lambda n: n.encode())
        layout = [(n, dtype_name(live[n]), list(live[n].shape)) for n in names]
        arena = used.arena if used else None
        if arena is None or arena.layout != layout:
            arena = Arena(layout)
        return arena.tensors, arena

    def give(self, snapshot: Snapshot) -> None:
        """Return a snapshot that is no longer needed."""
        self.free.append(snapshot)


@dataclass
class StateAccess:
    """The live objects whose state is recorded. The loader's position is given to ``capture``."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: list[Any] = field(default_factory=list)
    scaler: Any | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._aliases: list[tuple[str, str]] = []
        self._named = self._name_model()

    def _name_model(self) -> dict[str, torch.Tensor]:
        named: dict[str, torch.Tensor] = {}
        seen: dict[int, str] = {}
        modules: list[tuple[str, Any]] = [("model", self.model)]
        modules += [(f"extra/{k}", m) for k, m in self.extra.items()]
        for prefix, module in modules:
            if not hasattr(module, "named_parameters"):
                continue
            tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
            for name, tensor in tensors:
                full = f"{prefix}/{name}"
                if id(tensor) in seen:
                    self._aliases.append((full, seen[id(tensor)]))
                else:
                    seen[id(tensor)] = full
                    named[full] = tensor
        return named

    def _live(self, loader: dict[str, Any]) -> tuple[dict[str, torch.Tensor], Tree]:
        """Return the live tensors by name and the tree of everything else."""
        self._named.update(self._refreshed_buffers())
        tensors = dict(self._named)
        states: list[Any] = []
        for group in self.optimizer.param_groups:
            states += [self.optimizer.state.get(p, {}) for p in group["params"]]
        value = {
            "optimizer": states,
            "groups": self.group_options(),
            "schedulers": [s.state_dict() for s in self.scheduler],
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "extra": {k: x.state_dict() for k, x in self.extra.items() if not hasattr(x, "named_parameters")},
            "rng": rng_state(),
            "loader": loader,
        }
        trees = {name: to_tree(item, name, tensors) for name, item in value.items()}
        return tensors, to_tree_of(trees)

    def _refreshed_buffers(self) -> dict[str, torch.Tensor]:
        """Return buffers that the model has replaced by new tensors since the last look (``self.buffer = …``)."""
        now: dict[str, torch.Tensor] = {}
        known = {id(t) for t in self._named.values()}
        aliased = {name for name, _ in self._aliases}
        for name, tensor in self.model.named_buffers(remove_duplicate=False):
            if id(tensor) not in known and f"model/{name}" not in aliased:
                now[f"model/{name}"] = tensor
        return now

    def group_options(self) -> list[dict[str, Any]]:
        """Return each parameter group's options without its parameters."""
        return [{k: v for k, v in g.items() if k not in ("params", "param_names")} for g in self.optimizer.param_groups]

    def capture(self, loader: dict[str, Any], pool: Pool | None = None) -> Snapshot:
        """Copy the state. On return the training may go on; nothing in the snapshot shares its memory."""
        import torch

        live, tree = self._live(loader)
        buffers, arena = pool.take(live) if pool else ({}, None)
        orders: dict[str, list[int]] = {}
        copies: dict[str, torch.Tensor] = {}
        here: list[tuple[str, tuple[str, list[int], Any, Any]]] = []
        cuda = False
        with torch.no_grad():
            for name, tensor in live.items():
                order = memory_order(tensor, name)
                if order is not None:
                    orders[name] = order
                target = buffers.get(name)
                if target is None or target.shape != tensor.shape or target.dtype != tensor.dtype:
                    pinned = tensor.is_cuda
                    target = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
                copies[name] = target
                if order is None and tensor.device.type == "cpu":
                    # One pass over memory copies and hashes; a GPU's copy is hashed later, off this thread.
                    shape = list(tensor.shape)
                    here.append((name, (dtype_name(tensor), shape, raw(tensor), raw(target))))
                else:
                    cuda = cuda or tensor.is_cuda
                    target.copy_(tensor, non_blocking=True)
        digests = dict(zip([n for n, _ in here], _core.copy_digests([item for _, item in here]), strict=True))
        if cuda:
            # The copies are asynchronous: they must end before the next step changes what they read.
            torch.cuda.current_stream().synchronize()
        return Snapshot(copies, orders, list(self._aliases), tree, digests, arena)

    def restore(self, manifest: StateManifest, tensors: AnyMapping[str, torch.Tensor]) -> dict[str, Any]:
        """Load a state into the live objects and return its loader position. Random generators are set last.

        Raises RecordError if the state does not fit the model, or its tree is malformed.
        """
        import torch

        tensors = dict(tensors)
        orders = {e.name: e.order for e in manifest.tensors}
        value = from_tree(manifest.tree, tensors)
        if not isinstance(value, dict) or value.keys() != _SECTIONS:
            raise RecordError("does not have the parts of a state", name="tree")
        live = self._named | self._refreshed_buffers()
        with torch.no_grad():
            for name, tensor in live.items():
                if name not in tensors or tensors[name].shape != tensor.shape:
                    raise RecordError("the recorded state has no such tensor of this shape", name=name)
                tensor.copy_(tensors[name])
        self._restore_optimizer(value["optimizer"], value["groups"], orders, tensors)
        if len(value["schedulers"]) != len(self.scheduler):
            raise RecordError("number of schedulers differs", name="schedulers", value=len(value["schedulers"]))
        for scheduler, state in zip(self.scheduler, value["schedulers"], strict=True):
            scheduler.load_state_dict(_like(state, scheduler.state_dict()))
        if self.scaler is not None and value["scaler"]:
            self.scaler.load_state_dict(value["scaler"])
        for name, state in value["extra"].items():
            if name not in self.extra:
                raise RecordError("was recorded, but the recipe does not register it", name=f"extra/{name}")
            self.extra[name].load_state_dict(state)
        set_rng_state(value["rng"])
        position = value["loader"]
        if not isinstance(position, dict):
            raise RecordError("not a position", name="loader")
        return position

    def _restore_optimizer(
        self, states: Any, groups: Any, orders: AnyMapping[str, list[int] | None], tensors: dict[str, torch.Tensor]
    ) -> None:
        import torch

        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        if len(states) != len(parameters) or len(groups) != len(self.optimizer.param_groups):
            raise RecordError("its parameters are not the recipe's", name="optimizer")
        names = {id(t): n for n, t in tensors.items()}
        for group, options in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(options)
        self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            on_host = not (group.get("fused") or group.get("capturable"))
            for parameter in group["params"]:
                state = states.pop(0)
                for key, item in state.items():
                    if isinstance(item, torch.Tensor):
                        device = torch.device("cpu") if key == "step" and on_host else parameter.device
                        state[key] = in_order(item, orders[names[id(item)]], device)
                if state:
                    self.optimizer.state[parameter] = state


def to_tree_of(trees: dict[str, Tree]) -> Tree:
    """Return a mapping tree with string keys over finished trees."""
    from trainproof.recording.format import Leaf, Mapping

    return Mapping(v=[(Leaf(v=name), tree) for name, tree in trees.items()])


def _like(state: Any, current: Any) -> Any:
    """Give dicts in ``state`` the dict subclass that ``current`` has there (MultiStepLR counts on a Counter)."""
    if isinstance(state, dict) and isinstance(current, dict):
        items = {k: _like(v, current.get(k)) for k, v in state.items()}
        return items if type(current) is dict else type(current)(items)
    return state


def rng_state() -> dict[str, Any]:
    """Return the states of torch's, CUDA's, NumPy's and Python's global random generators as plain data and tensors."""
    import numpy as np
    import torch

    version, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = legacy
    cuda = []
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        cuda = [torch.cuda.get_rng_state(d) for d in range(torch.cuda.device_count())]
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [str(kind), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
    }


def set_rng_state(state: Any) -> None:
    """Set the generators. Raises RecordError if ``state`` is not one that ``rng_state`` returns."""
    import numpy as np
    import torch

    try:
        torch.set_rng_state(state["torch"])
        for device, item in enumerate(state["cuda"]):
            torch.cuda.set_rng_state(item, device)
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words.tolist()), gauss))
        kind, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    except (
        KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, AssertionError, IndexError
    ) as error:  # fmt: skip
        raise RecordError(f"not a state of the random generators: {error}", name="rng") from None
