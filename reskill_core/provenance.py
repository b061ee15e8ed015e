"""Provenance of data sets and checkpoints: code and library versions, but no paths of the machine."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

SIMULATOR = "mujoco"
_PACKAGES = ("reskill-ros", "numpy", "torch", SIMULATOR, "gymnasium-robotics", "h5py")


@cache
def provenance() -> dict[str, Any]:
    """Return git commit (with ``-dirty`` for modified files; None outside a checkout), versions and platform."""
    return {
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def simulator_version() -> str | None:
    """Return the installed simulator, such as ``mujoco 3.11.0``; None if there is none."""
    return simulator_of(provenance())


def simulator_of(document: Any) -> str | None:
    """Read the simulator from a provenance document; None if it is not recorded."""
    packages = document.get("packages") if isinstance(document, Mapping) else None
    version = packages.get(SIMULATOR) if isinstance(packages, Mapping) else None
    return f"{SIMULATOR} {version}" if version else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
