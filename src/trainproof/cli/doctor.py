"""``trainproof doctor``: what this machine can record and replay."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from trainproof.cli.terminal import Json, Result, console, rows
from trainproof.verification.printable import size

PACKAGES = ("torch", "numpy", "safetensors", "cryptography", "securesystemslib", "msgspec", "rfc8785")


def doctor(*, json: Json = False) -> Result:
    """Show versions, processor settings, confinement, disk and limits of this machine.

    A replay needs the versions and processor settings that the record names; other ones are inconclusive.
    """
    import torch

    from trainproof import __version__, limits
    from trainproof.recording import environment
    from trainproof.replay import sandbox
    from trainproof.verification.ledger import default_path

    here = environment.capture()
    # Asking torch for its settings starts threads; the sandbox probe forks, so it comes last and only calls the kernel.
    disk = shutil.disk_usage(Path.cwd())
    ledger = default_path()
    facts: dict[str, Any] = {
        "trainproof": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "processor": {
            "vendor": here.cpu_vendor,
            "model": here.cpu_model,
            "cores": os.cpu_count(),
            "capability": here.cpu_capability,
            "onednn_isa": here.onednn_isa,
            "threads": here.threads,
        },
        "cuda": [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        "sandbox": sandbox.available(),
        "disk": {"folder": str(Path.cwd()), "free": disk.free, "total": disk.total},
        "ledger": {"path": str(ledger), "exists": ledger.exists()},
        "limits": limits.table(),
    }
    if not json:
        _print(facts)
    return 0, facts


def _print(facts: dict[str, Any]) -> None:
    processor, disk, ledger = facts["processor"], facts["disk"], facts["ledger"]
    rows(
        [
            ("trainproof", facts["trainproof"]),
            ("Python", facts["python"]),
            ("packages", [f"{name} {version}" for name, version in facts["packages"].items()]),
            ("processor", f"{processor['model'] or processor['vendor']}, {processor['cores']} cores"),
            ("  capability", f"{processor['capability']} (ATEN_CPU_CAPABILITY)"),
            ("  oneDNN ISA", processor["onednn_isa"] or "chosen by the processor (ONEDNN_MAX_CPU_ISA)"),
            ("  threads", processor["threads"]),
            ("GPUs", facts["cuda"] or "none"),
            ("confinement", [f"{layer}: {state}" for layer, state in facts["sandbox"].items()]),
            ("disk", f"{size(disk['free'])} free of {size(disk['total'])} at {disk['folder']}"),
            ("ledger", f"{ledger['path']}{'' if ledger['exists'] else ' (none yet)'}"),
        ]
    )
    console().print("\nlimits on input")
    rows(
        [(f"{name.lower().replace('_', ' ')}", f"{limit:,}") for name, limit in facts["limits"].items() if limit > 0],
        "  ",
    )
