"""What a confined process cannot do, proved by a process that tries: from Python, and past Python."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trainproof.errors import SandboxError
from trainproof.replay import sandbox, seccomp

# Tries everything by way of Python and by way of the C library, and reports what succeeded.
PROBE = """
import ctypes, json, os, socket, sys, threading
from pathlib import Path
from trainproof.replay import sandbox

mode, readable, scratch, secret, outside, port = sys.argv[1:]
if sys.argv[1] == "best-effort":
    sandbox._landlock = lambda *_: (_ for _ in ()).throw(OSError(38, "not here"))
layers = sandbox.enter(mode, [Path(readable)], Path(scratch), 4 << 30)
libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        action()
        return True
    except OSError:
        return False

def connect():
    with socket.create_connection(("127.0.0.1", int(port)), 2):
        pass

def spawn():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def thread():
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()

def native(call, *arguments):
    def action():
        if call(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")
    return action

def write(path):
    return lambda: Path(path).write_text("x")

done = {
    "read readable": attempt(lambda: list(Path(readable).iterdir())[0].read_text()),
    "write scratch": attempt(write(Path(scratch) / "file")),
    "import": attempt(lambda: __import__("xml.dom.minidom")),
    "thread": attempt(thread),
    "read secret": attempt(lambda: Path(secret).read_text()),
    "read passwd": attempt(lambda: Path("/etc/passwd").read_text()),
    "read home": attempt(lambda: os.listdir(Path(secret).parent)),
    "native read": attempt(native(libc.open, secret.encode(), 0)),
    "write readable": attempt(write(Path(readable) / "file")),
    "write outside": attempt(write(Path(outside) / "file")),
    "native write": attempt(native(libc.open, f"{outside}/native".encode(), 0o101, 0o600)),
    "remove secret": attempt(lambda: os.unlink(secret)),
    "connect": attempt(connect),
    "native socket": attempt(native(libc.socket, 2, 1, 0)),
    "bind": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "resolve": attempt(lambda: socket.getaddrinfo("localhost", 80)),
    "system": attempt(lambda: native(lambda: -1 if os.system("true") else 0)()),
    "spawn": attempt(spawn),
    "fork": attempt(fork),
    "native fork": attempt(native(libc.fork)),
    "native exec": attempt(native(libc.execv, b"/bin/true", None)),
}
print(json.dumps([layers, done]))
"""

ALLOWED = {"read readable", "write scratch", "import", "thread"}


def probe(mode: str, folder: Path) -> tuple[list[str], dict[str, bool]]:
    """Run the probe in ``mode``; 'best-effort' pretends that the kernel has no Landlock."""
    readable, scratch, outside = (folder / name for name in ("readable", "scratch", "outside"))
    for path in (readable, scratch, outside):
        path.mkdir()
    (readable / "data").write_text("data")
    secret = folder / "secret"
    secret.write_text("secret")
    script = readable / "probe.py"
    script.write_text(PROBE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        arguments = [mode, readable, scratch, secret, outside, port]
        result = subprocess.run(
            [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=60
        )
    assert result.returncode == 0, result.stderr
    assert secret.read_text() == "secret"
    layers, done = json.loads(result.stdout)
    assert [path.name for path in outside.iterdir()] == (["native"] if done["native write"] else [])
    return layers, done


def test_the_probe_can_do_all_of_it_where_nothing_confines_it(tmp_path: Path) -> None:
    """So that what is refused below is refused by the sandbox."""
    readable = tmp_path / "readable"
    readable.mkdir()
    (readable / "data").write_text("data")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = ["off", readable, tmp_path, secret, tmp_path, server.getsockname()[1]]
        # Without the last attempts: an exec would end the probe, a native fork double it.
        source = PROBE.split('    "native fork"')[0] + "}\nprint(json.dumps(done))"
        result = subprocess.run(
            [sys.executable, "-c", source, *map(str, arguments)], capture_output=True, text=True, timeout=60
        )
    assert result.returncode == 0, result.stderr
    done = json.loads(result.stdout)
    assert {name for name, success in done.items() if not success} == set()


def test_a_confined_process_reads_writes_connects_and_starts_nothing_else(tmp_path: Path) -> None:
    if not confines():
        with pytest.raises(AssertionError, match="cannot confine"):
            probe("required", tmp_path)
        return
    layers, done = probe("required", tmp_path)
    assert {name for name, success in done.items() if success} == ALLOWED
    assert {"landlock", "audit hook", "limits"} <= set(layers)
    assert {"network namespace", "seccomp"} & set(layers)


def confines() -> bool:
    """Whether this system has what 'required' asks for."""
    found = sandbox.available()
    return found["landlock"].startswith("yes") and "yes" in (found["network namespace"], found["seccomp"])


def test_without_landlock_python_is_still_held(tmp_path: Path) -> None:
    layers, done = probe("best-effort", tmp_path)
    assert "landlock" not in layers
    # Native code reads and writes files then: that is why 'required' does not accept it.
    native = {name for name in done if name.startswith("native")}
    assert {name for name, success in done.items() if success} - native == ALLOWED


def test_required_is_refused_where_the_system_cannot_confine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing, layers in (("files", ["limits", "seccomp"]), ("network", ["limits", "landlock"])):
        with pytest.raises(SandboxError, match=f"cannot confine {missing}"):
            sandbox._insist("required", layers, {"landlock": "not in this kernel"})
        assert sandbox._insist("best-effort", layers, {}) == layers
    assert sandbox._insist("required", ["landlock", "seccomp"], {}) == ["landlock", "seccomp"]


def test_off_changes_nothing(tmp_path: Path) -> None:
    assert sandbox.enter("off", [], tmp_path, 0) == []
    assert Path("/etc/passwd").exists()


def test_the_doctor_learns_what_there_is() -> None:
    assert set(sandbox.available()) == {"landlock", "network namespace", "seccomp"}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_has_whole_instructions_and_ends_by_allowing(machine: str) -> None:
    code = seccomp.program(machine)
    assert len(code) % 8 == 0
    assert code[-8:] == bytes([6, 0, 0, 0, 0, 0, 0xFF, 0x7F])


def test_another_machine_has_no_filter() -> None:
    with pytest.raises(OSError, match="no seccomp filter"):
        seccomp.program("riscv64")
