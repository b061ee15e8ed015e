"""Where the configuration files and trained models that ship with the package are, however it was installed."""

from __future__ import annotations

from pathlib import Path

from reskill_core.errors import ConfigError

SHARE = Path("share/reskill_ros")


def shipped_folder(name: str) -> Path:
    """Find one of the shipped folders, ``config`` or ``models``.

    In a checkout (also through an editable or a symlinked colcon install) it is the one beside this package; pip and
    colcon both install it as ``share/reskill_ros/<name>`` below their installation prefix, which is above this file.

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
    """Names of the skill modules and agents that ship with the package, such as ``agents/clean_up``."""
    folder = shipped_folder("models")
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/manifest.json"))


def shipped_model(task: str) -> str:
    """Name of what ships for a task: its agent, or else its skill module; empty if there is neither."""
    return next((name for name in shipped_models() if name.split("/")[-1] == task), "")


def find_config(path: Path | str) -> Path:
    """Resolve a configuration file named by a user: a path, or one of the shipped files.

    Args:
        path: a file relative to the current folder or absolute; else one below the shipped ``config/``, with or
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
