"""Where a data set or checkpoint came from: code version and library versions, nothing about the machine's paths."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("reskill-ros", "numpy", "torch", "mujoco", "gymnasium-robotics", "h5py")


@cache
def provenance() -> dict[str, Any]:
    """Git commit (with ``-dirty`` when files differ from it; None outside a checkout), versions and platform."""
    return {
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


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
