"""The closure of a recipe: its entry file and every local module that it imports, found without running anything.

A module is local if its source lies outside the installed distributions, the standard library and trainproof itself.
The verifier computes the closure of its own copy by the same rule; equal digests mean equal code.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import zlib
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import RecipeError
from trainproof.recording.chain import digest_of
from trainproof.recording.format import Closure, ClosureFile

ENTRY = "__main__"
_INSTALLED = {"site-packages", "dist-packages"}


def closure_of(path: str | Path, door: str, qualname: str | None = None, arguments: Iterable[str] = ()) -> Closure:
    """Return the closure of the entry file at ``path``.

    Raises RecipeError if a file cannot be read or parsed, or all of them exceed 64 KiB compressed.
    """
    sources = sources_of(Path(path))
    compressed = zlib.compress(b"".join(sources[m] for m in sorted(sources)), 9)
    if len(compressed) > limits.CLOSURE_COMPRESSED_BYTES or len(sources) > limits.CLOSURE_FILES:
        raise RecipeError(
            f"its {len(sources)} files exceed {limits.CLOSURE_COMPRESSED_BYTES} bytes compressed",
            name=str(path),
            value=len(compressed),
            mend="a recipe is code to be read; keep data and weights out of it",
        )
    files = [
        ClosureFile(module=m, size=len(sources[m]), digest=digest_of("source", sources[m])) for m in sorted(sources)
    ]
    rest = [door, qualname, list(arguments), [[f.module, f.size, f.digest] for f in files]]
    digest = digest_of("closure", canonical.encode(rest))
    return Closure(door=door, qualname=qualname, arguments=list(arguments), files=files, digest=digest)  # type: ignore[arg-type]


def sources_of(entry: Path) -> dict[str, bytes]:
    """Return the sources of the entry file (as ``__main__``) and of every local module it reaches, by module name."""
    found: dict[str, bytes] = {}
    search = [str(entry.resolve().parent), *(p for p in sys.path if p and Path(p).is_dir())]
    pending: list[tuple[str, Path]] = [(ENTRY, entry)]
    while pending:
        module, path = pending.pop()
        if module in found:
            continue
        found[module] = source = _read(path)
        for name in _imported(source, module, path):
            pending += _local_files(name, search)
    return found


def packages_of(entry: Path) -> list[str]:
    """Return the top-level third-party modules that the closure imports: their versions matter to the bits."""
    names: set[str] = set()
    search = [str(entry.resolve().parent), *sys.path]
    for module, source in sources_of(entry).items():
        for name in _imported(source, module, entry):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and not _local_files(top, search):
                names.add(top)
    return sorted(names | {"torch", "numpy"})


def undeclared(entry: Path) -> list[str]:
    """Return local modules that are loaded in this process but that the static closure does not reach."""
    known = {str(p.resolve()) for p in paths_of(entry)}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py") or name == ENTRY or not Path(file).is_absolute():
            continue
        path = Path(file).resolve()
        inside = path.is_relative_to(entry.resolve().parent)
        if inside and is_local(path) and str(path) not in known:
            found.append(name)
    return sorted(found)


def paths_of(entry: Path) -> list[Path]:
    """Return the files of the closure."""
    search = [str(entry.resolve().parent), *(p for p in sys.path if p and Path(p).is_dir())]
    paths = [entry]
    for module in sources_of(entry):
        paths += [p for _, p in _local_files(module, search)] if module != ENTRY else []
    return paths


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", name=str(path)) from None


def _imported(source: bytes, module: str, path: Path) -> list[str]:
    """Return the absolute names of every module that ``source`` may import, parents included."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise RecipeError(f"is not Python: {error}", name=str(path)) from None
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".") if package else []
                parents = parts[: len(parts) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names if base)
    return sorted({".".join(n.split(".")[: i + 1]) for n in names if n for i in range(n.count(".") + 1)})


def _local_files(name: str, search: list[str]) -> list[tuple[str, Path]]:
    """Return [(name, source path)] if ``name`` is a local module, else []. Imports nothing."""
    paths: list[str] | None = search
    spec = None
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names:
        return []
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), paths)
        if spec is None:
            return []
        paths = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.has_location or not is_local(Path(spec.origin)):
        return []
    if not spec.origin.endswith(".py"):
        raise RecipeError(
            "is local, but not source that can be committed to", name=name, value=spec.origin, mend="keep it as .py"
        )
    return [(name, Path(spec.origin))]


def is_local(path: Path, folder: Path | None = None) -> bool:
    """Return whether the module file at ``path`` belongs to no installed distribution, not to the standard library and
    not to trainproof. What lies in ``folder`` is local even in a folder that is named like an installed one.
    """
    resolved = path.resolve()
    if any(resolved.is_relative_to(root) for root in _installed()):
        return False
    return (folder is not None and resolved.is_relative_to(folder)) or not _INSTALLED & set(resolved.parts)


@cache
def _installed() -> frozenset[Path]:
    """Return where the standard library, the distributions and trainproof lie."""
    roots = {Path(sysconfig.get_path(k)).resolve() for k in ("stdlib", "platstdlib", "purelib", "platlib")}
    return frozenset(roots | {Path(__file__).resolve().parents[1]})
