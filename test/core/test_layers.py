"""Who may import whom, as the README says it, and how long a file may get."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
FOLDERS = {"reskill_core": "reskill_core", "reskill_sim": "sim", "reskill_ros": "reskill_ros"}
ROS: tuple[str, ...] = (
    "rclpy",
    "launch",
    "launch_ros",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
)
ROS += (
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
    "visualization_msgs",
    "ament_index_python",
)
SIMULATORS = ("mujoco", "gymnasium", "gymnasium_robotics")
FAMILIES = ("reskill_sim.fetch", "reskill_sim.kitchen", "reskill_sim.maze")

# Modules and packages, each of which may import those of its own line and of the lines above, and no others.
CORE_ORDER = (
    ("text", "arrays", "labels"),
    ("errors", "rotations", "progress"),
    ("files", "parameters", "yaml_text", "command_line", "resources", "workers", "plugins", "frames", "process"),
    ("config", "seeding", "provenance", "rivals"),
    ("spec", "intervals", "lineage", "kinematics"),
    ("environment", "observation", "commanded_place", "gate", "checkpoint", "data", "frame_stacks"),
    ("sensing",),
    # What is trained and what acts: a model exports what acts, and an agent that acts is known by what it learnt with.
    ("models", "runtime", "rl", "policy"),
    ("results", "estimation"),
    ("training",),
    ("report", "bench"),
)
SIM_ORDER = (
    ("kinematics", "engine"),
    ("fetch", "kitchen", "maze"),
    ("families",),
    ("gym", "evaluation"),
    ("experiments",),
    ("cli",),
)
ROS_ORDER = (
    ("msg", "srv"),
    ("plumbing",),
    ("drivers", "recording", "simulation", "viewer"),
    ("nodes",),
    ("graphs",),
    ("tools",),
)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    folder = ROOT / FOLDERS[package]
    for path in sorted(folder.rglob("*.py")):
        yield ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"), path


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{item.name}" for item in node.names}
    return found


def importing(package: str, *forbidden: str) -> list[str]:
    """Modules of a package that import what they must not."""
    return [
        f"{name} imports {other}"
        for name, path in modules(package)
        for other in sorted(imports(path))
        if any(other == one or other.startswith(f"{one}.") for one in forbidden)
    ]


def test_the_learning_side_knows_neither_ros_nor_a_simulator() -> None:
    assert importing("reskill_core", *ROS, *SIMULATORS, "reskill_sim", "reskill_ros") == []


def test_the_simulator_knows_no_ros() -> None:
    """But for some verbs, which are imported where they are called: ``reskill bench ros``, ``doctor``, ``operate``."""
    found = importing("reskill_sim", *ROS, "reskill_ros")
    tools = {"bench": "bench", "doctor": "doctor", "operate": "operator_console"}
    verbs = tuple(f"reskill_sim.cli.{verb} imports reskill_ros.tools.{tool}" for verb, tool in tools.items())
    assert [line for line in found if not line.startswith(verbs)] == []


def test_a_family_is_named_by_the_registry_alone() -> None:
    found = [*importing("reskill_sim", *FAMILIES), *importing("reskill_ros", *FAMILIES)]
    assert [line for line in found if not line.startswith((*FAMILIES, "reskill_sim.families "))] == []


@pytest.mark.parametrize(
    ("package", "order"), [("reskill_core", CORE_ORDER), ("reskill_sim", SIM_ORDER), ("reskill_ros", ROS_ORDER)]
)
def test_layers_import_downwards(package: str, order: tuple[tuple[str, ...], ...]) -> None:
    rank = {name: place for place, layer in enumerate(order) for name in layer}
    unknown, upwards = set(), []
    for name, path in modules(package):
        if name == package:
            continue
        mine = name.split(".")[1]
        unknown |= {mine} - rank.keys()
        for other in imports(path):
            parts = other.split(".")
            if parts[0] == package and len(parts) > 1 and rank.get(parts[1], 0) > rank.get(mine, 0):
                upwards.append(f"{name} imports {other}")
    assert unknown == set(), "give it a place in the order above"
    assert upwards == []


def test_no_file_is_longer_than_a_reader_can_bear() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    long = {
        name: count for name in listed.split() if (count := len((ROOT / name).read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_the_readme_lists_every_folder() -> None:
    table = (ROOT / "README.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
    for package in FOLDERS.values():
        listed = {path.name for path in (ROOT / package).iterdir() if any(path.glob("*.py"))} - {"__pycache__"}
        assert {name for name in listed if f"─ {name}/`" not in table} == set()
