"""Run replay units in worker processes that may hang, crash, flood their output or lie about what they are.

A worker gets its own process group, an environment of named variables only, one line of input at a time, and a limit on
every line it answers. Whatever goes wrong in it is a failure of its unit, never an exception and never a wait without
end.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainproof import limits
from trainproof.attest import canonical
from trainproof.errors import RecordError, SandboxError, UsageError, shorten
from trainproof.recording.environment import CAPABILITIES, process_variables
from trainproof.recording.format import Environment
from trainproof.replay.job import Cut, Job, Ready, Unit, UnitResult

WORKER = (sys.executable, "-m", "trainproof.replay.worker")
START_SECONDS = 600.0  # from the process's start to its Ready line: importing torch from a cold disk
_STARTS = 2  # workers in a row that do not get ready before the rest of the units is given up
_STDERR_BYTES = 64 * limits.KIB
_READ_BYTES = 1 << 16
_LINKS = 10_000

# Every value that ONEDNN_MAX_CPU_ISA may be set to on a record's word.
ONEDNN_ISAS = frozenset(
    {"", "ALL", "DEFAULT", "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI",
     "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16"}
)  # fmt: skip
# What a worker inherits: where things are, never what the user keeps in variables.
_INHERITED = (
    *("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TZ"),
    *("CUDA_VISIBLE_DEVICES", "TRAINPROOF_DATA"),
)


class _Broken(Exception):
    """The worker is of no more use; the text says why."""


def variables(environment: Environment, scratch: Path) -> dict[str, str]:
    """Return the whole environment of a worker that shall compute as ``environment`` says.

    Raises UsageError if the record names a setting that is not on the lists of allowed values.
    """
    if environment.cpu_capability not in CAPABILITIES:
        raise UsageError(
            "is not a setting that can be replayed", name="cpu_capability", value=environment.cpu_capability
        )
    if environment.onednn_isa.upper() not in ONEDNN_ISAS:
        raise UsageError("is not a setting that can be replayed", name="onednn_isa", value=environment.onednn_isa)
    if not 1 <= environment.threads <= limits.THREADS:
        raise UsageError(f"must lie between 1 and {limits.THREADS}", name="threads", value=environment.threads)
    found = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    found |= {"HOME": str(scratch), "TMPDIR": str(scratch), "USER": "replay", "LOGNAME": "replay"}
    found |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
    return found | process_variables(environment)


@dataclass
class _Shared:
    """What the threads of one call share; ``lock`` guards all of it."""

    job: Job
    environment: dict[str, str]
    command: Sequence[str]
    unit_seconds: float
    on_result: Callable[[UnitResult], object]
    on_ready: Callable[[Ready], object] | None
    pending: list[Unit]
    results: list[UnitResult]
    lock: threading.Lock
    stopped: bool = False
    failed_starts: int = 0
    error: BaseException | None = None

    def take(self) -> Unit | None:
        """Return the next unit, lowest first; None when there is no more to do."""
        with self.lock:
            return None if self.stopped or not self.pending else self.pending.pop(0)

    def give(self, result: UnitResult) -> None:
        """Hand over a result; a true answer of ``on_result`` means that no further unit is wanted."""
        with self.lock:
            self.results.append(result)
            if self.on_result(result):
                self.stopped = True


def replay_units(
    job: Job,
    units: Sequence[Unit],
    environment: Environment,
    jobs: int,
    unit_seconds: float,
    on_result: Callable[[UnitResult], object],
    *,
    on_ready: Callable[[Ready], object] | None = None,
    command: Sequence[str] = WORKER,
) -> list[UnitResult]:
    """Replay ``units`` in ``jobs`` processes and return their results in the order given.

    ``on_result`` is called with each result, one at a time, from other threads; if it returns something true, units
    that have not been started are left out, and every unit before the one it saw has been. ``on_ready`` is called
    with each worker's Ready line. A unit takes at most ``unit_seconds``; a crash, a timeout or an unreadable answer
    is a result with ``failure``. Raises SandboxError if a worker cannot be confined as the job asks, and whatever a
    callback raises.
    """
    scratch = Path(job.scratch)
    _furnish(scratch, Path(job.recipe.path).parent)
    shared = _Shared(
        job,
        variables(environment, scratch),
        command,
        unit_seconds,
        on_result,
        on_ready,
        list(units),
        [],
        threading.Lock(),
    )
    workers = [_Runner(shared) for _ in range(max(1, min(jobs, len(units))))]
    threads = [threading.Thread(target=worker.run, name=f"replay-{i}") for i, worker in enumerate(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # so that a keyboard interrupt is seen
    finally:
        with shared.lock:
            shared.stopped = True
        for worker in workers:
            worker.kill()
        for thread in threads:
            thread.join()
    if shared.error is not None:
        raise shared.error
    order = {unit: i for i, unit in enumerate(_hashable(u) for u in units)}
    return sorted(shared.results, key=lambda result: order[_hashable(result.unit)])


def _furnish(scratch: Path, folder: Path) -> None:
    """Link what lies beside the recipe into scratch, which is a worker's current folder.

    So a recipe finds ``data/…`` where it did when it was recorded, and what it newly writes goes to scratch.
    """
    for entry in sorted(folder.iterdir())[:_LINKS]:
        link = scratch / entry.name
        if not entry.name.startswith(".") and entry.resolve() != scratch.resolve() and not os.path.lexists(link):
            link.symlink_to(entry.resolve())


def _hashable(unit: Unit) -> tuple[str, int, int, int, Cut | None]:
    return unit.kind, unit.start, unit.end, unit.perturb, unit.cut


class _Runner:
    """Serves units from one thread, with one worker process after another."""

    def __init__(self, shared: _Shared) -> None:
        self.shared = shared
        self.process: subprocess.Popen[bytes] | None = None
        self._output, self._errors = bytearray(), bytearray()
        self._killed = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Work until no unit is left. An exception stops all."""
        try:
            while (unit := self.shared.take()) is not None:
                self.shared.give(self._attempt(unit))
        except BaseException as error:  # re-raised by replay_units, on the caller's thread
            with self.shared.lock:
                self.shared.stopped = True
                self.shared.error = self.shared.error or error
        finally:
            self._close()

    def kill(self) -> None:
        """End the process and everything it started, now and for good."""
        with self._lock:
            self._killed = True
            if self.process is not None:
                _end_group(self.process)

    def _attempt(self, unit: Unit) -> UnitResult:
        began = time.perf_counter()
        try:
            self._start()
            self._write(canonical.encode(unit))
            line = self._line(time.monotonic() + self.shared.unit_seconds)
            if line is None:
                raise _Broken(self._obituary())
            result = canonical.decode(line, UnitResult, "replay process")
            if _hashable(result.unit) != _hashable(unit):
                raise _Broken("it answered another request")
            return result
        except (_Broken, RecordError, OSError) as error:
            self._close()
            return failure(unit, f"the replay process failed: {error}", time.perf_counter() - began)

    def _start(self) -> None:
        """Start a worker unless one is there, and wait for its Ready line."""
        if self.process is not None and self._exit_code(0.0) is None:
            return
        self._close()
        shared = self.shared
        if shared.failed_starts >= _STARTS:
            raise _Broken("no replay process gets ready")
        with self._lock:
            if self._killed:
                raise _Broken("stopped")
            self.process = subprocess.Popen(
                shared.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=shared.environment,
                cwd=shared.job.scratch,
                start_new_session=True,
                bufsize=0,
            )
        self._write(canonical.encode(shared.job))
        line = self._line(time.monotonic() + START_SECONDS)
        if line is None:
            if self._exit_code(5.0) == SandboxError.exit_code:
                raise SandboxError(self._last_words(), name="sandbox")
            with shared.lock:
                shared.failed_starts += 1
            raise _Broken(self._obituary())
        ready = canonical.decode(line, Ready, "replay process")
        with shared.lock:
            shared.failed_starts = 0
            if shared.on_ready is not None:
                shared.on_ready(ready)

    def _write(self, data: bytes) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data + b"\n")
        except BrokenPipeError:
            raise _Broken(self._obituary()) from None

    def _line(self, deadline: float) -> bytes | None:
        """Return the next line of output without its end; None if the process ended. Raises _Broken when it is too
        late.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        searched = 0
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            selector.register(self.process.stderr, selectors.EVENT_READ)
            while True:
                end = self._output.find(b"\n", searched)
                if end >= 0:
                    line = bytes(self._output[:end])
                    del self._output[: end + 1]
                    return line
                searched = len(self._output)
                if searched > limits.WORKER_LINE_BYTES:
                    raise _Broken(f"it answered more than {limits.WORKER_LINE_BYTES} bytes")
                remaining = deadline - time.monotonic()
                ready = selector.select(remaining) if remaining > 0 else []
                if not ready:
                    raise _Broken("it took longer than it may (sandbox.unit_seconds)")
                for key, _ in ready:
                    chunk = os.read(key.fd, _READ_BYTES)
                    if key.fileobj is self.process.stderr:
                        self._heard(chunk)
                    elif chunk:
                        self._output += chunk
                    if not chunk:
                        selector.unregister(key.fileobj)
                        if key.fileobj is self.process.stdout:
                            return None

    def _heard(self, chunk: bytes) -> None:
        """Keep the end of what the process writes to standard error."""
        self._errors += chunk
        del self._errors[:-_STDERR_BYTES]

    def _exit_code(self, seconds: float) -> int | None:
        """Return the process's exit code (negative: a signal) without reaping it, so that its group can still be
        killed.
        """
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while True:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.01)

    def _obituary(self) -> str:
        code = self._exit_code(5.0)
        how = (
            "it closed its output" if code is None else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        )
        words = self._last_words()
        return f"{how}: {words}" if words else how

    def _last_words(self) -> str:
        """Return the last line of standard error, made safe to show."""
        assert self.process is not None
        assert self.process.stderr is not None
        stream = self.process.stderr
        os.set_blocking(stream.fileno(), False)
        while chunk := stream.read(_READ_BYTES):
            self._heard(chunk)
        lines = bytes(self._errors).decode(errors="replace").strip().splitlines()
        return shorten(lines[-1]) if lines else ""

    def _close(self) -> None:
        """End the worker and what it started, reap it, and forget what it said."""
        with self._lock:
            process, self.process = self.process, None
            if process is not None:
                _end_group(process)
                process.wait()
        if process is not None:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._output.clear()
        self._errors.clear()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not been reaped, and its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def failure(unit: Unit, why: str, seconds: float) -> UnitResult:
    """Return the result of a unit that no process answered."""
    return UnitResult(
        unit=unit,
        segments=[],
        opened=0,
        bad_samples=[],
        bad_order=None,
        errors=[],
        summaries=[],
        load_seconds=seconds,
        step_seconds=0.0,
        failure=why,
        layers=[],
    )
