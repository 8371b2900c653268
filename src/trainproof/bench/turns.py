"""The process in which the sides of a comparison take turns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainproof.bench.side import TURNS
from trainproof.errors import ReplayError


class Sides:
    """A running ``trainproof.bench.side``: ``block`` lets every side compute one block."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.log = log
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        environment = {**os.environ, TURNS: f"{read_there},{write_there}"}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trainproof.bench.side", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(read_there, write_there),
            )
        os.close(read_there)
        os.close(write_there)
        self._reader, self._writer = os.fdopen(read_here), os.fdopen(write_here, "w", buffering=1)

    def ready(self) -> None:
        """Wait until all are set up, and everything before step 0 is done."""
        self._receive()

    def block(self) -> dict[str, float]:
        """Let each compute one block; return wall times in seconds, waiting for the recorder's writer included."""
        return dict(self._tell("go"))

    def finish(self) -> dict[str, str]:
        """Let all end; return the SHA-256 of each one's parameters."""
        weights = dict(self._tell("stop"))
        self.process.wait()
        self.close()
        return weights

    def close(self) -> None:
        """End the process, if it still runs, and close the pipes."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._reader.close()
        self._writer.close()

    def _tell(self, word: str) -> dict[str, Any]:
        self._writer.write(word + "\n")
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        line = self._reader.readline()
        if not line:
            self.process.wait()
            tail = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ReplayError(f"the measurement ended early: {' '.join(tail)}", name=str(self.log))
        answer: dict[str, Any] = json.loads(line)
        return answer
