"""The wheel and the source distribution are complete, and the extension needs neither torch nor the rest."""

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CRATES = sorted(path.parent.name for path in ROOT.glob("crates/*/Cargo.toml"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(*arguments: str | Path, cwd: Path) -> None:
    run(sys.executable, "-m", "maturin", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    build("sdist", "--out", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_source_distribution_has_every_crate_and_the_lock(source):
    assert sorted(path.parent.name for path in source.glob("crates/*/Cargo.toml")) == CRATES
    assert (source / "Cargo.lock").read_bytes() == (ROOT / "Cargo.lock").read_bytes()
    for name in ("pyproject.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT", "src/trainproof/py.typed"):
        assert (source / name).is_file(), name


def test_wheel_built_from_the_source_distribution_imports_without_torch(source, tmp_path):
    # A new target: the archive's files are all of one date, by which an older build would pass for this one.
    build("build", "--release", "--locked", "--target-dir", tmp_path / "target", "--out", tmp_path, cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp310-abi3-" in wheel.name
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    script = (
        "import sys; from trainproof import _core; print(_core.__version__, _core.salt(bytes(32), 0).hex());"
        "assert 'torch' not in sys.modules"
    )
    version, salt = run(python, "-c", script, cwd=tmp_path).split()
    assert (version, len(salt)) == ("0.1.0", 64)
    files = run(python, "-m", "pip", "show", "--files", "trainproof", cwd=tmp_path)
    for name in ("_core.pyi", "py.typed", "LICENSE-APACHE", "LICENSE-MIT", "reference/hashing.py"):
        assert name in files
