"""Confine a replay process: it reads the record, the recipe and the dataset, writes its scratch folder, and nothing
else.

Layers, each independent of the others: Landlock (files, TCP, abstract sockets, signals), a network namespace without
interfaces, a seccomp filter, resource limits, and a Python audit hook that turns most of these refusals into a message.
The audit hook alone confines nothing (native code passes it by), so it never counts towards ``required``.
Sources: landlock(7), unshare(2), https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from trainproof.errors import SandboxError
from trainproof.replay import seccomp

Mode = Literal["required", "best-effort", "off"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
_RULE_PATH_BENEATH, _CREATE_RULESET_VERSION = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG
_IOCTL_DEVICE = 1 << 15
_FILE_ONLY = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEVICE
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # by the ABI that brought them
_TCP, _TCP_ABI = 0b11, 4  # bind and connect
_SCOPES, _SCOPES_ABI = 0b11, 6  # abstract unix sockets and signals

# What Python, torch and the C library read of a system; none of it is about users. No file may be executed: shared
# libraries are mapped, which needs no right to execute.
_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", "/proc/sys/vm", "/sys/devices",
    "/sys/fs/cgroup", "/sys/kernel/mm", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
_WRITABLE_DEVICES = ("/dev/null",)
_ACCELERATORS = ("nvidia*", "dri")  # under /dev: opened for reading and writing, driven by ioctl

_REFUSED_EVENTS = frozenset(
    {
        *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
        *("socket.gethostbyname", "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty"),
        *("os.posix_spawn", "os.spawn", "pty.spawn"),
    }
)
# Events with a path, and whether they change what is there.
_FILE_EVENTS = {"os.listdir": False, "os.scandir": False} | dict.fromkeys(
    ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    True,
)
_TWO_PATHS = frozenset({"os.rename", "os.link"})
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FILES_BY_OS = "landlock"
_NETWORK_BY_OS = ("network namespace", "seccomp")


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def enter(mode: Mode, readable: list[Path], scratch: Path, memory_bytes: int) -> list[str]:
    """Confine this process for good and return the names of the layers that hold.

    ``readable`` are files and folders (missing ones are left out), ``scratch`` the one folder that can be written,
    ``memory_bytes`` the most private memory. Call it before any thread exists. ``off`` does nothing. Raises
    SandboxError if ``required`` and the system cannot confine both files and network.
    """
    if mode == "off":
        return []
    if sys.platform != "linux":
        return _insist(mode, _audit([*readable, *_python_paths()], scratch), {"landlock": "Linux only"})
    why: dict[str, str] = {}
    layers = ["limits"]
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    _limit(memory_bytes)
    readable = [*readable, *_python_paths()]
    _attempt(layers, why, "network namespace", _leave_network)
    _no_new_privileges()
    _attempt(layers, why, _FILES_BY_OS, lambda: _landlock(readable, scratch))
    _attempt(layers, why, "seccomp", seccomp.install)
    return _insist(mode, layers + _audit(None if _FILES_BY_OS in layers else readable, scratch), why)


def available() -> dict[str, str]:
    """Return each layer and 'yes', or why it is not available here: for ``trainproof doctor``. Changes nothing."""
    if sys.platform != "linux":
        return {"landlock": "Linux only", "network namespace": "Linux only", "seccomp": "Linux only"}
    abi = landlock_abi()
    result = {_FILES_BY_OS: f"yes (ABI {abi})" if abi else "not in this kernel"}
    for name, action in (("network namespace", _leave_network), ("seccomp", _try_seccomp)):
        child = os.fork()
        if child == 0:
            code = 0
            try:
                action()
            except OSError as error:
                code = error.errno or 255
            os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        result[name] = "yes" if status == 0 else os.strerror(status) if status > 0 else f"killed by signal {-status}"
    return result


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel has; 0 for none."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)))


def _insist(mode: Mode, layers: list[str], why: dict[str, str]) -> list[str]:
    """Return ``layers`` if they suffice for ``mode``."""
    missing = [] if _FILES_BY_OS in layers else ["files"]
    missing += [] if any(name in layers for name in _NETWORK_BY_OS) else ["network"]
    if mode == "required" and missing:
        reasons = ", ".join(f"{name}: {reason}" for name, reason in why.items())
        raise SandboxError(
            f"this system cannot confine {' and '.join(missing)} of a replay ({reasons})",
            name="sandbox.mode",
            mend='use a Linux kernel with Landlock, or a policy with sandbox.mode = "best-effort"',
        )
    return layers


def _attempt(layers: list[str], why: dict[str, str], name: str, action: Any) -> None:
    try:
        action()
        layers.append(name)
    except OSError as error:
        why[name] = error.strerror or str(error)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _no_new_privileges() -> None:
    _checked(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _try_seccomp() -> None:
    _no_new_privileges()
    seccomp.install()


def _limit(memory_bytes: int) -> None:
    """Bound private memory, file sizes and core dumps; time is bounded by whoever started the process."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_FSIZE, memory_bytes),
    ):
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _leave_network() -> None:
    """Move into a network namespace that has no interface that is up; in a user namespace where that is needed."""
    libc, user, group = _libc(), os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWNET) == 0:
        return
    _checked(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _python_paths() -> list[Path]:
    """Return where this interpreter and its packages lie."""
    import trainproof

    paths = {sys.prefix, sys.base_prefix, sys.exec_prefix, *(p for p in sys.path if p)}
    paths.add(str(Path(trainproof.__file__).parent))
    return [Path(path) for path in paths]


def _landlock(readable: list[Path], scratch: Path) -> None:
    """Allow reading ``readable`` and the system's libraries, writing ``scratch``; nothing else, and no TCP."""
    abi = landlock_abi()
    if abi < 1:
        raise OSError(0, "not in this kernel")
    handled = _HANDLED[max(level for level in _HANDLED if level <= abi)]
    rules = _Ruleset(handled, _TCP if abi >= _TCP_ABI else 0, _SCOPES if abi >= _SCOPES_ABI else 0)
    size = 24 if abi >= _SCOPES_ABI else 16 if abi >= _TCP_ABI else 8
    libc = _libc()
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0))
    try:
        for path in [*readable, *map(Path, _SYSTEM)]:
            _allow(libc, ruleset, path, _READ & handled)
        for path in [scratch, *map(Path, _WRITABLE_DEVICES)]:
            _allow(libc, ruleset, path, _WRITE & handled)
        for path in (device for pattern in _ACCELERATORS for device in Path("/dev").glob(pattern)):
            _allow(libc, ruleset, path, (_READ | _WRITE_FILE | _IOCTL_DEVICE) & handled)
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Add a rule for ``path`` and what is beneath it; a path that does not exist needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        rule = _PathBeneath(rights if path.is_dir() else rights & _FILE_ONLY, descriptor)
        _checked(libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(descriptor)


def _audit(readable: list[Path] | None, scratch: Path) -> list[str]:
    """Refuse network and process events; with ``readable`` (no Landlock), also files outside of it and of
    ``scratch``.
    """
    refused, message = _REFUSED_EVENTS, "a replay may not do this"
    roots = tuple(os.path.realpath(path) for path in [*map(str, readable or ()), *_SYSTEM])
    own = (os.path.realpath(scratch), *_WRITABLE_DEVICES)

    def inside(path: str, allowed: tuple[str, ...]) -> bool:
        return any(path == root or path.startswith(root.rstrip("/") + "/") for root in allowed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in refused:
            raise PermissionError(1, f"{message}: {event}")
        if readable is None or not (event in _FILE_EVENTS or event == "open") or isinstance(arguments[0], int):
            return
        writes = bool(arguments[2] & _WRITE_FLAGS) if event == "open" else _FILE_EVENTS[event]
        for name in arguments[:2] if event in _TWO_PATHS else arguments[:1]:
            path = str(os.path.realpath(os.fsdecode(name if name is not None else ".")))
            if not inside(path, own) and (writes or not inside(path, roots)):
                raise PermissionError(1, f"{message}: {event}", path)

    sys.addaudithook(hook)
    return ["audit hook"]
