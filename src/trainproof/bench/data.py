"""Real data: digits from scikit-learn, MNIST and CIFAR-10 from archives on disk, and text that ships with Python.

All are map-style datasets without randomness: augmentation belongs to the recipe, so that samples can be committed to.
"""

from __future__ import annotations

import io
import itertools
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from trainproof.errors import DatasetError, UsageError

DATA_VARIABLE = "TRAINPROOF_DATA"
CIFAR10 = "cifar10_jpeg.npz"
MNIST = "mnist.npz"
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def digits() -> TensorDataset:
    """Return the 1,797 digits of scikit-learn: x (1, 8, 8) float32 in 0 to 1, y () int64.

    Raises UsageError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UsageError("scikit-learn is not installed", mend="pip install 'trainproof[demo]'") from None
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((images / 16.0).astype(np.float32)).view(-1, 1, 8, 8)
    return TensorDataset(x, torch.from_numpy(labels.astype(np.int64)))


def digits_bytes() -> TensorDataset:
    """Return the digits as bytes: x (1, 8, 8) uint8, y () int64. Raises UsageError if scikit-learn is not installed."""
    x, y = digits().tensors
    return TensorDataset((x * 255.0).round().to(torch.uint8), y)


# -- archives --------------------------------------------------------------------------------------------------------


def data_folder(name: str = CIFAR10) -> Path:
    """Return the folder that holds the archive ``name``: one of $TRAINPROOF_DATA (separated as in PATH), else
    ``../shared/data`` beside the working directory or the source tree.

    Raises DatasetError, saying where it looked, if there is none.
    """
    folders = [Path(entry) for entry in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if entry]
    if not folders:
        folders = [Path.cwd().parent / "shared" / "data", Path(__file__).parents[4] / "shared" / "data"]
    for folder in folders:
        if (folder / name).is_file():
            return folder
    looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise DatasetError(f"not found in {looked}", name=name, mend=f"set {DATA_VARIABLE} to the folder that holds it")


def mnist(split: str = "train", folder: Path | None = None) -> TensorDataset:
    """Return MNIST's ``split`` ("train", 60,000 or "test", 10,000): x (1, 28, 28) uint8, y () int64.

    The archive holds ``x_<split>`` (n, 28, 28) uint8 and ``y_<split>`` (n,) uint8. Raises DatasetError if it is missing
    or malformed, UsageError for another split.
    """
    if split not in ("train", "test"):
        raise UsageError("must be 'train' or 'test'", name="split", value=split)
    archive = (folder or data_folder(MNIST)) / MNIST
    try:
        with archive.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"not an MNIST archive: {error}", name=str(archive)) from None
    if images.dtype != np.uint8 or images.shape != (len(labels), 28, 28) or labels.shape != (len(labels),):
        raise DatasetError("not an MNIST archive: other dtypes or shapes", name=str(archive))
    return TensorDataset(torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))


def cifar10(split: str = "train", folder: Path | None = None) -> TensorDataset:
    """Return CIFAR-10's ``split`` ("train", 50,000 or "test", 10,000): x (3, 32, 32) uint8, y () int64.

    The archive holds JPEG files (``jpeg_<split>`` uint8, ``offsets_<split>`` int64 of n + 1, ``y_<split>`` uint8); what
    they decode to is kept in the user's cache folder. Raises DatasetError if the archive is missing or malformed,
    UsageError if pillow is needed and not installed.
    """
    if split not in ("train", "test"):
        raise UsageError("must be 'train' or 'test'", name="split", value=split)
    archive = (folder or data_folder()) / CIFAR10
    cached = _cache_file(archive, split)
    if cached.is_file():
        with np.load(cached, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    else:
        x, y = _decode(archive, split)
        _keep(cached, x, y)
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


def normalise(x: Tensor) -> Tensor:
    """Return uint8 images (…, 3, 32, 32) as float32 with CIFAR-10's channel means 0 and deviations 1."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    return (x.to(torch.float32) / 255.0 - mean) / std


def _decode(archive: Path, split: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the images (n, 3, 32, 32) uint8 and labels (n,) int64 of ``split``."""
    try:
        from PIL import Image
    except ImportError:
        raise UsageError("pillow is not installed", mend="pip install 'trainproof[bench]'") from None
    try:
        # Opened here: numpy leaves a damaged archive open.
        with archive.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            files, offsets, labels = arrays[f"jpeg_{split}"], arrays[f"offsets_{split}"], arrays[f"y_{split}"]
        images = np.empty((len(labels), 32, 32, 3), np.uint8)
        for index, (begin, end) in enumerate(itertools.pairwise(offsets)):
            with Image.open(io.BytesIO(files[begin:end].tobytes()), formats=("JPEG",)) as image:
                images[index] = np.asarray(image)
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise DatasetError(f"not a CIFAR-10 archive: {error}", name=str(archive)) from None
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64)


def _cache_file(archive: Path, split: str) -> Path:
    """Return where the decoded split is kept. Its name changes when the archive does."""
    home = os.environ.get("XDG_CACHE_HOME")
    root = Path(home) if home else Path.home() / ".cache"
    status = archive.stat()
    return root / "trainproof" / f"cifar10-{split}-{status.st_size}-{status.st_mtime_ns}.npz"


def _keep(path: Path, x: npt.NDArray[np.uint8], y: npt.NDArray[np.int64]) -> None:
    """Write the decoded arrays, whole or not at all. A folder that may not be written only costs the next decoding."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.savez(file, x=x, y=y)
        os.replace(file.name, path)
    except OSError:
        return  # a replay process is confined to reading: it decodes


# -- text ------------------------------------------------------------------------------------------------------------


class TextDataset(Dataset[tuple[Tensor, Tensor]]):
    """Windows over the bytes of ``text``: sample i is (x, y), both (context,) int64, y one byte ahead of x."""

    def __init__(self, text: bytes, context: int, stride: int | None = None) -> None:
        if len(text) <= context:
            raise DatasetError(f"needs more than {context} bytes of text", name="text", value=len(text))
        self.bytes = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        self.context, self.stride = context, stride or context

    def __len__(self) -> int:
        return (len(self.bytes) - self.context - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin = index * self.stride
        window = self.bytes[begin : begin + self.context + 1].to(torch.int64)
        return window[:-1], window[1:]


def python_text() -> bytes:
    """Return about 0.7 MB of English: the language reference that ships with Python for ``help()``."""
    from pydoc_data import topics

    return Path(topics.__file__).read_bytes()
