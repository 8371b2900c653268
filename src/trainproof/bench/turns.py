"""Processes that take turns: each computes one block while the others sleep, so that noise meets all of them alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainproof.bench.side import TURNS
from trainproof.errors import ReplayError


class Side:
    """A running ``trainproof.bench.side``: ``block`` lets it compute one block and returns the seconds that it took."""

    def __init__(self, arguments: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
        self.log = log
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        environment = {**os.environ, **variables, TURNS: f"{read_there},{write_there}"}
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
        """Wait until it is set up, and everything before step 0 is done."""
        self._receive()

    def block(self) -> float:
        """Let it compute one block; return its wall time in seconds, waiting for the recorder's writer included."""
        return float(self._tell("go")["seconds"])

    def finish(self) -> str:
        """Let it end; return the SHA-256 of its parameters."""
        weights = str(self._tell("stop")["weights"])
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
            raise ReplayError(f"a side of the measurement ended early: {' '.join(tail)}", name=str(self.log))
        answer: dict[str, Any] = json.loads(line)
        return answer
