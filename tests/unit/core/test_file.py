"""Files that are there whole or not at all."""

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainproof import _core

MIB = 1 << 20


@given(st.lists(st.binary(max_size=20) | st.integers(0, 9000).map(bytes)), st.integers(0, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_small_files(tmp_path, chunks, threads):
    path = tmp_path / "file"
    mixed = [np.frombuffer(c, dtype=np.uint8) if i % 2 else c for i, c in enumerate(chunks)]
    assert _core.write_file(path, mixed, threads) == sum(map(len, chunks))
    assert path.read_bytes() == b"".join(chunks)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [MIB - 4, MIB - 3, 2 * MIB, 5 * MIB + 4095])
def test_large_files(tmp_path, size, threads):
    path = tmp_path / "file"
    path.write_bytes(b"older")
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert _core.write_file(str(path), [b"head", data, data[:0], data[: size // 2]], threads) == 4 + size + size // 2
    assert path.read_bytes() == b"head" + data.tobytes() + data[: size // 2].tobytes()
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_without_folder_is_in_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _core.write_file("file", [b"x"])
    assert (tmp_path / "file").read_bytes() == b"x"


def test_missing_folder_keeps_its_errno(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as caught:
        _core.write_file(path, [b"x"])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(path))


def test_a_folder_in_the_way_leaves_no_temporary_file(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        _core.write_file(tmp_path / "folder", [b"x"])
    assert os.listdir(tmp_path) == ["folder"]


def test_rejects_an_array_with_gaps(tmp_path):
    with pytest.raises(ValueError, match="not contiguous"):
        _core.write_file(tmp_path / "file", [np.zeros(8, dtype=np.uint8)[::2]])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [MIB // 2, 3 * MIB])
def test_a_file_that_does_not_fit_keeps_errno_and_older_file(tmp_path, size):
    (tmp_path / "file").write_bytes(b"older")
    script = f"""
        import resource
        from trainproof import _core
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            _core.write_file("file", [bytes({size})], 2)
        except OSError as error:
            print(error.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{errno.EFBIG}\n"
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"older"


@pytest.mark.parametrize("size", [MIB // 2, 3 * MIB])
def test_a_full_disk_keeps_errno_and_older_file(tmp_path, size):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        (tmp_path / "file").write_bytes(b"older")
        with pytest.raises(OSError, match="No space left on device") as caught:
            _core.write_file(tmp_path / "file", [bytes(size)])
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path) == ["file"]
        assert (tmp_path / "file").read_bytes() == b"older"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
