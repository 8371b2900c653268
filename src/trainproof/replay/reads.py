"""Which files a recipe reads beside its own code: no digest in a record covers them, so a report names them.

Weights that lie in a file beside the recipe are not in its closure, and code that loads one in ``loss`` looks like any
other. A Python audit hook sees what is opened through Python; native code that opens files by itself passes it by.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/etc", "/proc", "/sys", "/dev")
_MOST = 1000


class Reads:
    """Collects the files that this process opens for reading, but for ``ignored`` ones, and the system's."""

    def __init__(self, ignored: Iterable[Path]) -> None:
        self.files: set[str] = set()
        installed = (sys.prefix, sys.base_prefix, sys.exec_prefix)
        self._ignored = tuple(os.path.realpath(p).rstrip("/") + "/" for p in (*_SYSTEM, *installed, *map(str, ignored)))
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], (str, bytes)) or len(self.files) >= _MOST:
            return
        flags = arguments[2]
        if isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY:
            return
        path = str(os.path.realpath(os.fsdecode(arguments[0])))
        if not f"{path}/".startswith(self._ignored) and os.path.isfile(path):
            self.files.add(path)
