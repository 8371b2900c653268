"""Let a replay import no local code but the closure's: what was committed is what runs.

The closure is found by reading import statements; Python finds modules in its own way. Between the two there is room:
a file beside the recipe that has the name of a module which the standard library or a distribution imports later, an
extension module or bytecode in place of a source, a ``__pycache__`` that says something else than the source beside it.
Any of these runs inside the replay and can make it report anything. So local modules are compiled here from the very
bytes that the closure holds, and every other local one is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from trainproof.errors import RecipeError
from trainproof.recording.closure import is_local


class SourceLoader(SourceFileLoader):
    """Compiles ``source``, or what the file holds; never reads bytecode, never writes it."""

    def __init__(self, name: str, path: str, source: bytes | None = None) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code."""
        source = self.get_data(self.path) if self._source is None else self._source
        code: CodeType = self.source_to_code(source, self.path)
        return code


class ClosureFinder(MetaPathFinder):
    """Finds local modules in ``sources`` (by module name, as ``closure.sources_of`` returns them) and nowhere else."""

    def __init__(self, sources: Mapping[str, bytes], folder: Path) -> None:
        self.sources, self.folder = sources, folder.resolve()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the closure, None for what is not local.

        Raises RecipeError for a local module that the closure does not hold, or holds with other contents.
        """
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or not found.has_location or found.origin is None or not self._is_local(Path(found.origin)):
            return None
        source = self.sources.get(fullname)
        if source is None or not found.origin.endswith(".py") or Path(found.origin).read_bytes() != source:
            raise RecipeError(
                "would be imported, but is not in the recipe's closure",
                name=fullname,
                value=found.origin,
                mend="import it by a plain statement, as source; rename a file that hides a module of Python or of a "
                "package",
            )
        return spec_from_file_location(
            fullname,
            found.origin,
            loader=SourceLoader(fullname, found.origin, source),
            submodule_search_locations=found.submodule_search_locations,
        )

    def _is_local(self, origin: Path) -> bool:
        return is_local(origin, self.folder)


def restrict(sources: Mapping[str, bytes], folder: Path) -> None:
    """Make this process import local modules from ``sources`` only; ``folder`` is the recipe's. For good."""
    sys.meta_path.insert(0, ClosureFinder(sources, folder))
