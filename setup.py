"""Installs the learning side, reskill_core and reskill_sim; the ROS side is built by colcon (CMakeLists.txt)."""

from pathlib import Path

from setuptools import find_packages, setup

# The same place that colcon installs them to, so that one search finds them: see reskill_core/resources.py.
DESTINATION = Path("share/reskill_ros")


def shipped_files() -> list[tuple[str, list[str]]]:
    """Lists configuration files and trained models as (folder below the installation prefix, files)."""
    files = sorted(path for name in ("config", "models") for path in Path(name).rglob("*") if path.is_file())
    folders = sorted({file.parent for file in files})
    return [(str(DESTINATION / folder), [str(f) for f in files if f.parent == folder]) for folder in folders]


setup(
    packages=[
        *find_packages(include=["reskill_core", "reskill_core.*"]),
        "reskill_sim",
        *(f"reskill_sim.{name}" for name in find_packages("sim")),
    ],
    package_dir={"reskill_sim": "sim"},
    package_data={"reskill_core": ["py.typed", "report/*.jinja"], "reskill_sim": ["py.typed"]},
    data_files=shipped_files(),
)
