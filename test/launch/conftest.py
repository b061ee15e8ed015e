"""Runs the shipped launch files under the launch packages, each in a process of its own as `ros2 launch` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reskill_core.data import DemoDataset

LAUNCH_FILES = Path(__file__).parents[2] / "launch"
STARTER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService()
pairs = [argument.split(":=", 1) for argument in arguments]
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=pairs)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


class Launched:
    """A running launch file; its nodes are in a session of their own, so that none can be overlooked."""

    def __init__(self, folder: Path, graph: str, *arguments: str) -> None:
        self._log = folder / f"{graph}.log"
        command = [sys.executable, "-c", STARTER, str(LAUNCH_FILES / f"{graph}.launch.py"), *arguments]
        environment = {**os.environ, "ROS_LOG_DIR": str(folder / "ros_log")}
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        """All that the launch and its nodes have printed."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, timeout_s: float = 150.0) -> None:
        """Waits until something is printed."""
        end_s = time.monotonic() + timeout_s
        while text not in self.output:
            assert self._process.poll() is None, f"ended without printing {text!r}:\n{self.output}"
            assert time.monotonic() < end_s, f"waited {timeout_s:g} s for {text!r}:\n{self.output}"
            time.sleep(0.05)

    def wait(self, timeout_s: float = 150.0) -> int:
        """Waits for the end; returns the exit status."""
        return self._process.wait(timeout_s)

    def node_pid(self, name: str) -> int:
        """Process of a node, as launch has announced it: `[sim_node-1]: process started with pid [17]`."""
        self.wait_for(f"[{name}-")
        line = next(line for line in self.output.splitlines() if f"[{name}-" in line and "process started" in line)
        return int(line.rpartition("[")[2].rstrip("]"))

    def interrupt(self) -> None:
        """Sends SIGINT to launch alone, which passes it on."""
        self._process.send_signal(signal.SIGINT)

    def running_processes(self) -> list[int]:
        """Processes of the launch's session that are alive."""
        found = subprocess.run(
            ["ps", "-o", "pid=,stat=", "--sid", str(self._process.pid)], stdout=subprocess.PIPE, text=True, check=False
        )
        rows = (line.split() for line in found.stdout.splitlines())
        return [int(pid) for pid, state in rows if not state.startswith("Z")]

    def close(self) -> None:
        """Ends what is left."""
        for pid in self.running_processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Starts a launch file: ``launched("collect", "task:=block")``."""
    pytest.importorskip("launch_ros", reason="the launch packages are not installed; pip has none")
    started: list[Launched] = []

    def start(graph: str, *arguments: str) -> Launched:
        started.append(Launched(tmp_path, graph, *arguments))
        return started[-1]

    yield start
    for item in started:
        item.close()


@pytest.fixture
def recorded(launched: Callable[..., Launched], tmp_path: Path) -> Path:
    """Data set of two episodes, with a label that would be a date if it were parsed."""
    arguments = ("episodes:=2", "seed:=5", "profile:=fast", "keep_failures:=true", "label:=2026-01-31")
    collect = launched("collect", "dataset:=recorded", *arguments)
    assert collect.wait() == 0, collect.output
    assert DemoDataset.open(tmp_path / "recorded").label.tolist() == ["2026-01-31", "2026-01-31"]
    return tmp_path / "recorded"


@pytest.fixture(scope="session")
def skills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of an untrained skill module for the block task."""
    from reskill_ros.plumbing.served_task import task_spec
    from reskill_ros.tools.bench import untrained_skills

    return untrained_skills(tmp_path_factory.mktemp("skills") / "checkpoint", task_spec("block"))
