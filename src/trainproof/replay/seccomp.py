"""A seccomp filter for replay processes: no sockets, no new programs, no new processes, no looking into others.

A forbidden call fails with EPERM, so that a library which tries one falls back or says so. Threads stay possible:
``clone`` needs CLONE_THREAD, and ``clone3``, whose flags a filter cannot read, answers ENOSYS, on which the C library
uses ``clone``. Sources: seccomp(2), https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# System call numbers by machine: (x86_64, aarch64); None where there is none.
_FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
}
_CLONE, _CLONE3 = (56, 220), 435
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000  # the x32 calls of x86_64 have the same architecture and other numbers

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def program(machine: str) -> bytes:
    """Return the filter for ``machine`` ('x86_64' or 'aarch64') as BPF. Raises OSError (ENOSYS) for others."""
    if machine not in _AUDIT_ARCH:
        raise OSError(errno.ENOSYS, "no seccomp filter for this machine")
    column = 0 if machine == "x86_64" else 1
    refuse = _op(_RETURN, _ERRNO | errno.EPERM)
    ops = [_op(_LOAD, _ARCHITECTURE), _op(_EQUAL, _AUDIT_ARCH[machine], 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER)]
    if machine == "x86_64":
        ops += [_op(_AT_LEAST, _X32, 0, 1), refuse]
    for numbers in _FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            ops += [_op(_EQUAL, number, 0, 1), refuse]
    ops += [_op(_EQUAL, _CLONE3, 0, 1), _op(_RETURN, _ERRNO | errno.ENOSYS)]
    ops += [_op(_EQUAL, _CLONE[column], 0, 3), _op(_LOAD, _FIRST_ARGUMENT), _op(_HAS_BITS, _CLONE_THREAD, 1, 0), refuse]
    ops += [_op(_RETURN, _ALLOW)]
    return b"".join(ops)


def install() -> None:
    """Apply the filter to this thread and all that it starts; needs PR_SET_NO_NEW_PRIVS. Raises OSError if it
    cannot.
    """
    code = program(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(argument), 0, 0) != 0:
        code_ = ctypes.get_errno()
        raise OSError(code_, os.strerror(code_))
