"""A state's memory is its file, whatever the tensors are, and is used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainproof import _core
from trainproof.recording.state import Pool, Snapshot, StateAccess
from trainproof.recording.tensors import load_tensors, safetensors_header
from trainproof.recording.values import raw

# In the file's order: most begin at no multiple of their element size.
ODD: dict[str, torch.Tensor] = {
    "a": torch.tensor([True, False, True]),
    "b": torch.arange(5, dtype=torch.int64),
    "c": torch.tensor(1.5, dtype=torch.float16),
    "d": torch.empty(0, 7, dtype=torch.float64),
    "e": torch.randn(3, 5, dtype=torch.float64),
    "f": torch.randn(70_000).to(torch.bfloat16),
    "g": torch.arange(7, dtype=torch.int16),
    "h": torch.arange(300_000, dtype=torch.int32).view(3, -1),
    "ü": torch.tensor([-3], dtype=torch.int8),
}


class Holder(nn.Module):
    """Holds the tensors as buffers."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.clone())
        self.weight = nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))


def access(tensors: dict[str, torch.Tensor], optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> StateAccess:
    """Return what captures the tensors and a parameter."""
    model = Holder(tensors)
    return StateAccess(model, optimizer([model.weight]))


def step(live: StateAccess) -> None:
    """Train one step."""
    weight: Any = live.model.weight
    weight.grad = torch.ones_like(weight)
    live.optimizer.step()


def written(folder: Path, snapshot: Snapshot) -> bytes:
    """Return the file of a snapshot, which loads and is what its parts would be."""
    assert snapshot.arena is not None
    manifest = snapshot.manifest()
    path = folder / "state"
    _core.write_file(path, [snapshot.arena.file()])
    data = path.read_bytes()
    assert data == safetensors_header(manifest) + b"".join(
        bytes(raw(snapshot.tensors[e.name])) for e in manifest.tensors
    )
    loaded = load_tensors(path, manifest)
    assert all(torch.equal(loaded[n], t) for n, t in snapshot.tensors.items())
    return data


def test_an_arena_is_the_file_of_its_state(tmp_path: Path) -> None:
    live = access(ODD)
    step(live)
    snapshot = live.capture({}, Pool())
    assert snapshot.arena is not None
    assert snapshot.arena.file().ctypes.data % 4096 == 0
    for name, tensor in ODD.items():
        assert torch.equal(snapshot.tensors[f"model/{name}"], tensor)
    plain = live.capture({})
    assert plain.arena is None
    assert plain.manifest() == snapshot.manifest()
    written(tmp_path, snapshot)


def test_an_arena_is_used_again_with_new_contents(tmp_path: Path) -> None:
    live, pool = access(ODD), Pool()
    step(live)
    first = live.capture({}, pool)
    before = written(tmp_path, first)
    pool.give(first)
    step(live)
    live.model.get_buffer("b").fill_(9)
    second = live.capture({}, pool)
    assert second.arena is first.arena
    assert written(tmp_path, second) != before
    assert live.capture({}, pool).arena is not second.arena


def test_new_optimizer_state_gets_a_new_arena(tmp_path: Path) -> None:
    live, pool = access(ODD), Pool()
    first = live.capture({}, pool)
    pool.give(first)
    step(live)
    second = live.capture({}, pool)
    assert second.tensors.keys() > first.tensors.keys()
    written(tmp_path, second)


def test_what_no_file_holds_gets_no_arena() -> None:
    live, pool = access({"a": torch.zeros(3, dtype=torch.complex64)}), Pool()
    first = live.capture({}, pool)
    assert first.arena is None
    pool.give(first)
    second = live.capture({}, pool)
    assert second.tensors["model/a"] is first.tensors["model/a"]


@pytest.mark.parametrize("shift", [0, 1, 8, 4095])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * 4096 + 5, (1 << 20) + 4097, (33 << 20) + 5])
def test_every_alignment_writes_the_same_bytes(tmp_path: Path, size: int, shift: int) -> None:
    memory = np.random.default_rng(size).integers(0, 256, size + 2 * 4096, dtype=np.uint8)
    start = -memory.ctypes.data % 4096 + shift
    data = memory[start : start + size]
    assert _core.write_file(tmp_path / "one", [data]) == size
    assert _core.write_file(tmp_path / "two", [data[: size // 3], data[size // 3 :]]) == size
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == data.tobytes()
