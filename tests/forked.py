"""A server that has torch imported and forks a fresh process for every request: a process start costs no five seconds.

``python tests/forked.py`` reads one JSON request a line and answers one JSON line. A request names a function below and
its arguments; the child runs it in the folder ``cwd`` with its output in a file. ``Forks`` is the client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Exit code (negative: killed by that signal), what the function returned, and what was printed."""

    code: int
    value: Any
    output: str


def run_script(path: str, arguments: list[str]) -> None:
    """Run a script as Python would."""
    import runpy

    sys.argv = [path, *arguments]
    sys.path[0] = str(Path(path).parent)
    runpy.run_path(path, run_name="__main__")


def launch(path: str, arguments: list[str], options: dict[str, Any]) -> None:
    """Record an unmodified script (door 3)."""
    from trainproof.recording import launch

    launch.run(["python", path, *arguments], self_replay=False, quiet=True, **options)


def call(path: str, function: str, arguments: list[Any]) -> Any:
    """Call a function of a Python file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("called", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["called"] = module
    spec.loader.exec_module(module)
    return getattr(module, function)(*arguments)


def replay(record: str, path: str, qualname: str | None, arguments: list[str]) -> list[list[Any]]:
    """Replay every unit of a record in this one process; return [start, end, outcome, detail] of each."""
    from trainproof.recording.reader import Record
    from trainproof.recording.self_replay import compare
    from trainproof.replay.job import Job, RecipeSource, Unit
    from trainproof.replay.worker import Worker

    opened = Record.open(record)
    source = RecipeSource(path=path, qualname=qualname, arguments=arguments)
    secret = Path(record + ".secret")
    salts = str(secret) if secret.exists() else None
    scratch = tempfile.mkdtemp()
    job = Job(record=record, recipe=source, scratch=scratch, readable=[], sandbox="off", memory_bytes=0, salts=salts)
    worker = Worker(job, [])
    stored = opened.stored()
    found = []
    for start, end in pairwise(stored):
        result = worker.run(Unit(kind="replay", start=start, end=end, perturb=0))
        found.append([start, end, *compare(opened, result)])
    return found


FUNCTIONS = {f.__name__: f for f in (run_script, launch, call, replay)}


def serve() -> None:
    """Answer requests until standard input ends."""
    _warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(tempfile.mkdtemp(prefix="forked-"))
        child = os.fork()
        if child == 0:
            _work(request, folder)
        _, status = os.waitpid(child, 0)
        value = folder / "value"
        answer = {
            "code": os.waitstatus_to_exitcode(status),
            "value": json.loads(value.read_text()) if value.exists() else None,
            "output": (folder / "output").read_text(errors="replace"),
        }
        print(json.dumps(answer), flush=True)


def _warm_up() -> None:
    """Import what every child needs, but start no threads."""
    import sklearn.datasets
    import torch
    import torch._dynamo
    import torch.optim.swa_utils

    import trainproof.recording.launch
    import trainproof.recording.train
    import trainproof.replay.worker  # noqa: F401

    torch.set_num_threads(1)
    sklearn.datasets.load_digits()


def _work(request: dict[str, Any], folder: Path) -> None:
    """Run a request and end the process."""
    code = 1
    try:
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(request.pop("cwd"))
        os.environ.update(request.pop("variables", {}))
        value = FUNCTIONS[request.pop("do")](**request)
        (folder / "value").write_text(json.dumps(value))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Forks:
    """The client: one server process."""

    def __init__(self) -> None:
        variables = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )

    def __call__(self, do: str, cwd: Path, **arguments: Any) -> Answer:
        """Run one of the functions above in a fresh process."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"do": do, "cwd": str(cwd), **arguments}) + "\n")
        self._server.stdin.flush()
        return Answer(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


if __name__ == "__main__":
    serve()
