"""Tap a DataLoader: see each batch at delivery, with the indices it came from, without changing the user's loop.

The instance's class is swapped for a subclass. Sampler output is not delivery (prefetching runs ahead, an early
``break`` drops batches), so indices are queued where the sampler yields them and paired with batches where those are
delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from trainproof.errors import UnsupportedError

if TYPE_CHECKING:
    import torch


class SampleIndex(int):
    """A sample index that knows its loader iteration, through pickling into worker processes."""

    epoch: int

    def __new__(cls, value: int, epoch: int) -> SampleIndex:
        index = super().__new__(cls, value)
        index.epoch = epoch
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleIndex, (int(self), self.epoch)


class Sink(Protocol):
    """What a tap reports to."""

    def iterate(self, tap: LoaderTap, real: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Return the iterator that the loop shall use; ``real`` makes the loader's own."""
        ...


class LoaderTap:
    """The tap on one loader. ``iteration`` counts ``iter(loader)`` from 0, ``position`` its delivered batches."""

    def __init__(self, loader: torch.utils.data.DataLoader[Any], sink: Sink) -> None:
        self.loader, self.sink = loader, sink
        self.original = type(loader)
        self.iteration, self.position = -1, 0
        self.start_rng: torch.Tensor | None = None
        self.generators = generators_of(loader)
        self.start_generators: list[torch.Tensor] = []
        self.queue: deque[list[int]] = deque()
        self.live: object | None = None
        self.override: Iterator[Any] | None = None

    def attach(self) -> None:
        """Swap the loader's class."""
        tap = self
        original = self.original

        def iterate(loader: Any) -> Iterator[Any]:
            return tap.sink.iterate(tap, lambda: original.__iter__(loader))

        def index_sampler(loader: Any) -> Any:
            return _IndexTap(original._index_sampler.fget(loader), tap)  # type: ignore[attr-defined]

        swapped = type(
            f"Recorded{original.__name__}",
            (original,),
            {"__iter__": iterate, "_index_sampler": property(index_sampler)},
        )
        self.loader.__class__ = swapped

    def detach(self) -> None:
        """Give the loader its own class back."""
        self.loader.__class__ = self.original

    def begin(self) -> None:
        """Note the beginning of an iteration: random states before the loader and its sampler draw anything."""
        import torch

        self.iteration += 1
        self.position = 0
        self.start_rng = torch.get_rng_state()
        self.start_generators = [g.get_state() for g in self.generators]
        self.queue = deque()

    def state(self, ended: bool = False) -> dict[str, Any]:
        """Return the loader's position as part of a training state. ``ended``: the run delivers nothing after it."""
        return {
            "iteration": self.iteration,
            "position": self.position,
            "ended": ended,
            "rng": self.start_rng,
            "generators": list(self.start_generators),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back the counters and the random states of the iteration's beginning; the caller skips the rest."""
        self.iteration, self.position = int(state["iteration"]), int(state["position"])
        self.start_rng = state["rng"]
        self.start_generators = list(state["generators"])

    def rewind(self) -> None:
        """Set torch's generator and the loader's own to the beginning of the restored iteration."""
        import torch

        if self.start_rng is not None:
            torch.set_rng_state(self.start_rng)
        for generator, state in zip(self.generators, self.start_generators, strict=True):
            generator.set_state(state)

    def redraw(self) -> _Ahead:
        """Return what the loader's own sampler draws in the present iteration, from the position on.

        Call it with the random states of the iteration's beginning. The loader draws a base seed for its workers
        whenever it makes an iterator, before the sampler's first draw, and then asks the sampler again; persistent
        workers keep theirs.
        """
        import torch

        sampler = self.original._index_sampler.fget(self.loader)  # type: ignore[attr-defined]
        inner: Iterator[Any] = iter(sampler)
        if self.iteration == 0 or not self.loader.persistent_workers:
            torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
            inner = iter(sampler) if self.loader.num_workers > 0 else inner
        drawn = _Ahead(inner, self.ahead)
        for _ in range(self.position):
            next(drawn, None)
        return drawn

    @property
    def ahead(self) -> int:
        """Return how many items the loader draws from its sampler before the first is due."""
        return self.loader.num_workers * (self.loader.prefetch_factor or 0)

    def reenter(self, real: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Return the loader's own iterator over the rest of a restored iteration.

        It is drawn as the loader would have drawn it, and handed to the loader, whose own draws are then undone: a new
        process makes workers where the old one had them already.
        """
        import torch

        self.rewind()
        self.queue = deque()
        rest = self.redraw()
        self.override = chain(rest.drawn, rest.inner)
        rng, states = torch.get_rng_state(), [g.get_state() for g in self.generators]
        inner = real()  # worker iterators ask the sampler twice, so the rest stays in place until here
        self.override = None
        torch.set_rng_state(rng)
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
        return inner


class _Ahead:
    """Yields what a sampler draws, with ``ahead`` draws before they are due: as many as loader workers have queued."""

    def __init__(self, inner: Iterator[Any], ahead: int) -> None:
        self.inner = inner
        self.drawn = deque(islice(inner, ahead))

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Any:
        self.drawn += islice(self.inner, 1)
        if not self.drawn:
            raise StopIteration
        return self.drawn.popleft()


class _IndexTap:
    """Wraps the loader's index sampler: queues what it yields and marks each index with the iteration."""

    def __init__(self, sampler: Any, tap: LoaderTap) -> None:
        self.sampler, self.tap = sampler, tap

    def __iter__(self) -> Iterator[Any]:
        drawn = self.tap.override
        return self._run(iter(self.sampler if drawn is None else drawn), self.tap.queue, self.tap.iteration)

    def _run(self, inner: Iterator[Any], queue: deque[list[int]], iteration: int) -> Iterator[Any]:
        for item in inner:
            indices = as_indices(item)
            queue.append(indices)
            marked = [SampleIndex(i, iteration) for i in indices]
            yield marked if isinstance(item, (list, tuple)) else marked[0]

    def __len__(self) -> int:
        return len(self.sampler)


def as_indices(item: Any) -> list[int]:
    """Return a sampler's item as a list of plain indices. Raises UnsupportedError for anything but integers."""
    items = item if isinstance(item, (list, tuple)) else [item]
    try:
        return [int(i.__index__()) for i in items]
    except AttributeError:
        raise UnsupportedError(
            "the sampler must yield integers",
            name="sampler",
            value=item,
            mend="use a map-style dataset with integer indices",
        ) from None


def generators_of(loader: Any) -> list[torch.Generator]:
    """Return the private generators that the loader and its samplers draw from, without duplicates."""
    import torch

    found: list[torch.Generator] = []
    for owner in (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator) and not any(generator is g for g in found):
            found.append(generator)
    return found
