"""Locations of the shipped configuration files and trained models, for every kind of installation."""

from __future__ import annotations

from pathlib import Path

from reskill_core.errors import ConfigError

SHARE = Path("share/reskill_ros")


def shipped_folder(name: str) -> Path:
    """Find one of the shipped folders, ``config`` or ``models``.

    In a checkout (also through an editable or a symlinked colcon install) it is the one next to this package. pip and
    colcon both install it as ``share/reskill_ros/<name>`` in their installation prefix, a parent of this file.

    Raises:
        ConfigError: the installation is incomplete.
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "package.xml").is_file():
        return checkout / name
    for prefix in Path(__file__).absolute().parents:
        if (prefix / SHARE / name).is_dir():
            return prefix / SHARE / name
    raise ConfigError(
        f"no {SHARE}/{name} above {Path(__file__).parent}: the installation is incomplete, install it again"
    )


def config_folder() -> Path:
    """Find the shipped ``config/`` folder; see :func:`shipped_folder`."""
    return shipped_folder("config")


def shipped_models() -> list[str]:
    """List the names of the shipped skill modules and agents, such as ``agents/clean_up``."""
    folder = shipped_folder("models")
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/manifest.json"))


def shipped_model(task: str) -> str:
    """Return the name of the shipped agent of a task, or else of its skill module; empty if there is neither."""
    return next((name for name in shipped_models() if name.split("/")[-1] == task), "")


def find_config(path: Path | str) -> Path:
    """Resolve a configuration file named by a user: a path, or one of the shipped files.

    Args:
        path: an absolute path, one relative to the current folder, or one relative to the shipped ``config/``, with or
            without that folder's name (``config/skills/block.yaml`` or ``skills/block.yaml``).

    Raises:
        ConfigError: there is no such file; lists the shipped ones.
    """
    shipped = config_folder()
    for candidate in (Path(path), shipped.parent / path, shipped / path):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(str(file.relative_to(shipped.parent)) for file in shipped.rglob("*.yaml")))
    raise ConfigError(f"no configuration file {path}; shipped are: {names}")
