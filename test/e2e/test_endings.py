"""However a graph is ended, and whichever of its processes: the robot gets the safe command last, and nothing is left.

``RESKILL_ENDINGS=all`` runs every launcher, target and signal and writes the table to ``runs/endings.md``;
``RESKILL_BUSY_LOOPS=10`` keeps the machine busy beside it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from busy import busy_machine
from commands import Command
from geometry_msgs.msg import TwistStamped
from ros_graph import Graph
from trajectory_msgs.msg import JointTrajectory

from reskill_ros.plumbing import convert

ALL = os.environ.get("RESKILL_ENDINGS") == "all"
BUSY_LOOPS = int(os.environ.get("RESKILL_BUSY_LOOPS", "0"))
TABLE = Path("runs/endings.md")

LAUNCHERS = {
    "reskill-up": [sys.executable, "-m", "reskill_ros.graphs.process_launcher", "policy"],
    "ros2 launch": ["ros2", "launch", "reskill_ros", "policy.launch.py"],
}
NODES = ("command_node", "sim_node", "observation_node", "policy_node", "bag_recorder_node")
# A terminal signals all processes of its group, a person or a service manager one.
TARGETS = ("terminal", "launcher", *NODES)
SIGNALS = ("SIGHUP", "SIGQUIT", "SIGINT", "SIGTERM", "SIGKILL")
# What nobody can catch is the driver's to notice; it is shown in the table all the same.
UNCATCHABLE = ("command_node", "SIGKILL")


@dataclass(frozen=True)
class Case:
    launcher: str
    target: str
    signal: str

    def __str__(self) -> str:
        return "-".join((self.launcher.replace(" ", "_"), self.target, self.signal))


def cases() -> list[Case]:
    if ALL:
        every = [Case(*names) for names in ((a, b, c) for a in LAUNCHERS for b in TARGETS for c in SIGNALS)]
        return [case for case in every if (case.target, case.signal) != ("terminal", "SIGKILL")]
    return [
        Case("reskill-up", "launcher", "SIGKILL"),
        Case("reskill-up", "terminal", "SIGHUP"),
        Case("ros2 launch", "launcher", "SIGKILL"),
        Case("ros2 launch", "terminal", "SIGHUP"),
        Case("ros2 launch", "terminal", "SIGINT"),
    ]


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Lines of the table; written at the end if it is a whole one."""
    lines: list[str] = []
    with busy_machine(BUSY_LOOPS):
        yield lines
    if ALL:
        header = "| launcher | signal | to | last command | all ended after | exit code |\n|---|---|---|---|---|---|\n"
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(header + "\n".join(lines) + "\n")


class Driver:
    """Hears what the robot's driver is told."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.twists = graph.listen(TwistStamped, "command/twist")
        self._fingers = graph.listen(JointTrajectory, "gripper/command")

    def hear_all(self) -> None:
        """Read what has arrived, once nobody is left who could send more."""
        quiet, heard = 0, -1
        while quiet < 20:
            self._graph.spin_for(0.02)
            before, heard = heard, len(self.twists) + len(self._fingers)
            quiet = quiet + 1 if heard == before else 0

    @property
    def moves(self) -> bool:
        """Whether the last command was motion, of the arm or the fingers."""
        told = [*convert.twist_velocity(self.twists[-1])] if self.twists else []
        return any(told) or any(any(item.points[-1].velocities) for item in self._fingers[-1:])


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[tuple[Graph, Driver]]:
    graph = Graph(tmp_path, {})
    yield graph, Driver(graph)
    graph.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_f36_the_robot_stands_and_nothing_is_left(
    case: Case, driver: tuple[Graph, Driver], tmp_path: Path, rows: list[str]
) -> None:
    if case.launcher == "ros2 launch" and find_spec("ros2launch") is None:
        pytest.skip("the launch packages are not installed; pip has none")
    graph, robot = driver
    command = Command(tmp_path, [*LAUNCHERS[case.launcher], f"bag:={tmp_path / 'bag'}"])
    number = getattr(signal, case.signal)
    try:
        # All nodes are up, and the arm moves.
        graph.spin_until(lambda: all(map(command.node, NODES)) and len(robot.twists) > 10, "motion", 200.0)
        graph.spin_until(lambda: robot.moves, "motion")
        start_s = time.monotonic()
        if case.target == "terminal":
            command.signal_group(number)
        else:
            process = command.process if case.target == "launcher" else command.node(case.target)
            assert process is not None
            process.send_signal(number)
        graph.spin_until(lambda: command.process.poll() is not None and not command.running(), "the end of all", 120.0)
        duration_s = time.monotonic() - start_s
        robot.hear_all()
        ends = "motion" if robot.moves else "rest"
        code = command.process.returncode
        rows.append(f"| {case.launcher} | {case.signal[3:]} | {case.target} | {ends} | {duration_s:.1f} s | {code} |")
        assert (case.target, case.signal) == UNCATCHABLE or ends == "rest", command.output
        assert "Traceback" not in command.output
        if case.target in ("terminal", "launcher"):
            assert code in (0, -number, 128 + number), command.output
    finally:
        command.close()


@pytest.fixture(autouse=True)
def _report(rows: list[str]) -> Iterator[None]:
    yield
    print("\n".join(rows[-1:]))
