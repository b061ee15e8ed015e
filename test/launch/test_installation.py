"""What colcon has installed, as `ros2 run` and people find it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from reskill_core.data import DemoDataset

pytest.importorskip("reskill_ros.msg", reason="the workspace is not built, or install/setup.bash is not sourced")

from ament_index_python.packages import get_package_prefix

SOURCES = Path(__file__).parents[2] / "reskill_ros"


@pytest.fixture
def prefix() -> Path:
    return Path(get_package_prefix("reskill_ros"))


def test_every_node_has_an_executable(prefix: Path) -> None:
    nodes = {path.stem for path in (SOURCES / "nodes").glob("*_node.py")}
    assert {path.name for path in (prefix / "lib/reskill_ros").iterdir() if os.access(path, os.X_OK)} == nodes


def test_launch_and_configuration_files_are_shared(prefix: Path) -> None:
    for folder in ("launch", "config"):
        shipped = SOURCES.parent / folder
        files = {path.relative_to(shipped) for pattern in ("*.py", "*.yaml") for path in shipped.rglob(pattern)}
        installed = prefix / "share/reskill_ros" / folder
        assert files
        assert all((installed / file).is_file() for file in files)


def test_no_link_is_left_of_files_that_were_moved(prefix: Path) -> None:
    assert not [path for path in prefix.rglob("*") if path.is_symlink() and not path.exists()]


def test_the_command_line_can_start_worker_processes(prefix: Path, tmp_path: Path) -> None:
    settings = ["collect/block.yaml", "episodes=4", "episodes_per_shard=2", "workers=2", f"out={tmp_path / 'data'}"]
    command = [str(prefix / "bin/reskill"), "collect", *settings]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert DemoDataset.open(tmp_path / "data").num_episodes == 4
