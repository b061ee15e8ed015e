"""Where the configuration files that ship with the package are, however it was installed."""

from __future__ import annotations

from pathlib import Path

from reskill_core.errors import ConfigError

SHARE = Path("share/reskill_ros")


def config_folder() -> Path:
    """Find the shipped ``config/`` folder.

    In a checkout (also through an editable or a symlinked colcon install) it is the one beside this package; pip and
    colcon both install it as ``share/reskill_ros/config`` below their installation prefix, which is above this file.

    Raises:
        ConfigError: the installation is incomplete.
    """
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "package.xml").is_file():
        return checkout / "config"
    for prefix in Path(__file__).absolute().parents:
        if (prefix / SHARE / "config").is_dir():
            return prefix / SHARE / "config"
    raise ConfigError(
        f"no {SHARE}/config above {Path(__file__).parent}: the installation is incomplete, install it again"
    )


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
