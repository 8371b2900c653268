"""The settings that decide a computation's bits: read them, compare them, and say how to set them for a new process."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import msgspec

from trainproof.recording.format import Environment

# Ascending: a machine can be told to use less than it has, never more.
CAPABILITIES = ("DEFAULT", "AVX2", "AVX512")


def _cpu() -> tuple[str, str]:
    """Return (vendor, model name) of the processor."""
    vendor, model = "", platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "vendor_id":
                    vendor = value.strip()
                elif key.strip() == "model name":
                    model = value.strip()
                elif not line.strip():
                    break
    except OSError:
        pass
    return vendor, model


def capture(packages: list[str] | None = None, device: str = "cpu") -> Environment:
    """Return this process's environment; ``packages`` are third-party modules whose versions matter to it."""
    import numpy as np
    import torch

    vendor, model = _cpu()
    cuda = torch.cuda.is_available() and device.startswith("cuda")
    cudnn = torch.backends.cudnn.version() if cuda else None  # type: ignore[no-untyped-call]
    return Environment(
        trainproof=metadata.version("trainproof"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        numpy=np.__version__,
        packages=versions(packages or []),
        machine=platform.machine(),
        cpu_vendor=vendor,
        cpu_model=model,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        onednn_isa=os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if cuda else "cpu",
        cuda=torch.version.cuda if cuda else None,
        cudnn=str(cudnn) if cudnn is not None else None,
        deterministic=torch.are_deterministic_algorithms_enabled(),
        tf32=bool(torch.backends.cuda.matmul.allow_tf32) if cuda else False,
        matmul_precision=torch.get_float32_matmul_precision(),
        default_dtype=str(torch.get_default_dtype()).removeprefix("torch."),
    )


def versions(packages: list[str]) -> list[tuple[str, str]]:
    """Return (distribution, version) of each third-party module in ``packages``, ascending, without duplicates."""
    if not packages:
        return []  # to ask who owns what reads every installed distribution: half a second of a replay's start
    owners = metadata.packages_distributions()
    found = {d for p in packages for d in owners.get(p, [])}
    return sorted((d, metadata.version(d)) for d in found if d != "trainproof")


def process_variables(environment: Environment) -> dict[str, str]:
    """Return the environment variables that make a new process compute as ``environment`` says."""
    variables = {
        "OMP_NUM_THREADS": str(environment.threads),
        "MKL_NUM_THREADS": str(environment.threads),
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
    if environment.cpu_capability in CAPABILITIES:
        variables["ATEN_CPU_CAPABILITY"] = environment.cpu_capability.lower()
    if environment.onednn_isa:
        variables["ONEDNN_MAX_CPU_ISA"] = environment.onednn_isa
    return variables


def apply(environment: Environment) -> None:
    """Set in this process what is not set by variables: threads, determinism, precision."""
    import torch

    torch.set_num_threads(environment.threads)
    torch.use_deterministic_algorithms(environment.deterministic)
    torch.set_float32_matmul_precision(environment.matmul_precision)


def own_settings() -> Environment:
    """Return this process's environment as settings that a new process can be given: for exact arithmetic, which any
    settings suit.
    """
    here = capture()
    known = here.cpu_capability if here.cpu_capability in CAPABILITIES else "DEFAULT"
    return msgspec.structs.replace(here, cpu_capability=known, onednn_isa="")


def exact_differences(recorded: Environment, here: Environment) -> list[str]:
    """Return, a line each, why a replay of an exact recipe could go another way: not by its arithmetic, but by other
    data or another way of recording.
    """
    found = []
    if recorded.trainproof != here.trainproof:
        found.append(f"trainproof: recorded {recorded.trainproof}, here {here.trainproof}")
    ours, theirs = ([p for p in e.packages if p[0] not in ("torch", "numpy")] for e in (here, recorded))
    if ours != theirs:
        found.append(f"packages: recorded {theirs}, here {ours}")
    return found


def differences(recorded: Environment, here: Environment) -> list[str]:
    """Return, a line each, why a replay here under the recorded settings could not be bit-equal; empty if it can."""
    found = []
    for field in ("torch", "numpy", "packages", "machine", "cpu_vendor", "device", "cuda", "cudnn", "trainproof"):
        a, b = getattr(recorded, field), getattr(here, field)
        if a != b:
            found.append(f"{field}: recorded {a}, here {b}")
    if recorded.device == "cpu" and recorded.tf32:
        found.append("tf32: recorded True, but a CPU has none")
    if recorded.python.rsplit(".", 1)[0] != here.python.rsplit(".", 1)[0]:
        found.append(f"python: recorded {recorded.python}, here {here.python}")
    if recorded.cpu_capability not in CAPABILITIES or here.cpu_capability not in CAPABILITIES:
        if recorded.cpu_capability != here.cpu_capability:
            found.append(f"cpu_capability: recorded {recorded.cpu_capability}, here {here.cpu_capability}")
    elif CAPABILITIES.index(recorded.cpu_capability) > CAPABILITIES.index(here.cpu_capability):
        found.append(f"cpu_capability: recorded {recorded.cpu_capability}, this machine has {here.cpu_capability}")
    return found
