"""Build a model whose random fills come from the seed, the same on every machine (docs/hashing.md section 7).

torch's own ``randn`` and ``kaiming_uniform_`` differ between instruction sets; a dispatch mode sees every random fill
below whatever layer or initializer makes it, and fills from our integer stream instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trainproof import _core
from trainproof.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def as_seed(seed: int | str | bytes) -> bytes:
    """Return 32 bytes of seed from an integer, a string, or 32 bytes."""
    if isinstance(seed, bytes) and len(seed) == 32:
        return seed
    return hashlib.sha256(f"trainproof.seed.v1:{seed!r}".encode()).digest()


def seeded(build: Callable[[], T], seed: int | str | bytes) -> T:
    """Return ``build()`` with every random number that torch draws in it taken from ``seed``.

    Uniform, normal, integer, Bernoulli and permutation draws are supported; another random operation raises
    UnsupportedError naming it. Random draws by NumPy or Python inside ``build`` are not seen.
    """
    from trainproof.replay import session

    mode = _mode(session.perturbed(as_seed(seed)))
    with mode:
        return build()


def _mode(seed: bytes) -> Any:
    import numpy as np
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    aten = torch.ops.aten

    class SeededFills(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Counts fills; fill c is stream (seed, 'fill', c)."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            base = func.overloadpacket
            if base in (aten.uniform_, aten.normal_, aten.random_, aten.bernoulli_):
                return self.fill(base, args, kwargs)
            if base in (
                aten.rand,
                aten.randn,
                aten.randint,
                aten.randperm,
                aten.normal,
                aten.bernoulli,
                aten.rand_like,
                aten.randn_like,
            ):
                return self.create(func, base, args, kwargs)
            if torch.Tag.nondeterministic_seeded in func.tags:
                raise UnsupportedError(
                    "random operation without a seeded form", name=str(base), mend="initialize by uniform_ or normal_"
                )
            return func(*args, **kwargs)

        def next(self) -> int:
            self.count += 1
            return self.count - 1

        def put(self, tensor: torch.Tensor, values: Any) -> torch.Tensor:
            filled = torch.from_numpy(np.ascontiguousarray(values)).reshape(tensor.shape)
            return tensor.copy_(filled)

        def fill(self, base: Any, args: Any, kwargs: Any) -> torch.Tensor:
            tensor = args[0]
            rest = list(args[1:])
            count, n = self.next(), tensor.numel()
            kind = "float32" if tensor.dtype is torch.float32 else "float64"
            if base is aten.uniform_:
                low = rest[0] if rest else kwargs.get("from", 0.0)
                high = rest[1] if len(rest) > 1 else kwargs.get("to", 1.0)
                return self.put(tensor, _core.fill_uniform(seed, count, n, float(low), float(high), kind))
            if base is aten.normal_:
                mean = rest[0] if rest else kwargs.get("mean", 0.0)
                std = rest[1] if len(rest) > 1 else kwargs.get("std", 1.0)
                return self.put(tensor, _core.fill_normal(seed, count, n, float(mean), float(std), kind))
            if base is aten.bernoulli_:
                p = rest[0] if rest else kwargs.get("p", 0.5)
                if isinstance(p, torch.Tensor):
                    raise UnsupportedError("by a tensor of probabilities has no seeded form", name="bernoulli_")
                return self.put(tensor, _core.fill_bernoulli(seed, count, n, float(p)))
            low, high = (0, rest[0]) if len(rest) == 1 else (rest[0], rest[1]) if len(rest) == 2 else (0, None)
            if high is None:
                limit = 2**24 if tensor.dtype is torch.float32 else 2**53 if tensor.dtype is torch.float64 else None
                high = limit if limit is not None else torch.iinfo(tensor.dtype).max
            return self.put(tensor, _core.fill_integers(seed, count, n, int(low), int(high)))

        def create(self, func: Any, base: Any, args: Any, kwargs: Any) -> torch.Tensor:
            kwargs = {k: v for k, v in kwargs.items() if k != "generator"}
            shape = func(*args, **kwargs)  # the right shape, dtype and device; its contents are replaced
            if base in (aten.rand, aten.rand_like):
                return self.fill(aten.uniform_, (shape,), {})
            if base in (aten.randn, aten.randn_like):
                return self.fill(aten.normal_, (shape,), {})
            if base is aten.randint:
                bounds = [a for a in args if isinstance(a, int)]
                return self.fill(aten.random_, (shape, *bounds), {})
            if base is aten.randperm:
                return self.put(shape, _core.permutation(seed, self.next(), shape.numel()))
            raise UnsupportedError("has no seeded form", name=str(base), mend="use normal_(mean, std) in place")

    return SeededFills()
