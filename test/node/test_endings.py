"""However a process ends that commands a robot, its last command is the safe one."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from geometry_msgs.msg import TwistStamped
from ros_graph import Graph, MakeGraph
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_core.process import LAUNCHER
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import SkillAction
from reskill_ros.plumbing import convert

STILL = [0.0, 0.0, 0.0]


def patient_driver(folder: Path) -> Path:
    """A driver file with a long time-out, because the machine may be busy."""
    document = config_to_dict(load_driver("sim"))
    document["gate"] |= {"command_timeout_s": 5.0, "resume_after": 1}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


class MovingNode:
    """A command_node in a process of its own, kept in motion; the test's graph is its policy and its driver."""

    def __init__(self, graph: Graph, folder: Path, *program: str) -> None:
        self.graph = graph
        self.twists = graph.listen(TwistStamped, "command/twist")
        graph.listen(JointTrajectory, "gripper/command")
        arguments = [
            "--ros-args",
            "--log-level",
            "warn",
            "-p",
            f"driver:={patient_driver(folder)}",
            "-p",
            "auto_arm:=true",
        ]
        self.process = subprocess.Popen([sys.executable, *program, *arguments], stderr=subprocess.PIPE, text=True)
        actions = graph.publisher(SkillAction, "skill_action")
        action = SkillAction(action=array("f", [0.5, 0, 0, 0]))

        def act() -> None:
            action.header.stamp = graph.stamp()
            actions.publish(action)

        self._timer = graph.probe.create_timer(0.04, act)
        graph.spin_until(lambda: self.twists, "motion")

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal, then :meth:`wait`."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait until the process has ended and nothing more can arrive; returns exit code and standard error."""
        self.graph.spin_until(lambda: self.process.poll() is not None, "the end of the process")
        self.graph.spin_for(0.2)
        self.graph.probe.destroy_timer(self._timer)
        return self.process.returncode, self.process.communicate()[1]

    @property
    def stands(self) -> bool:
        """Whether the last command was standstill."""
        return list(convert.twist_velocity(self.twists[-1])) == STILL


@pytest.fixture
def make_moving(make_graph: MakeGraph, tmp_path: Path) -> Iterator[Callable[..., MovingNode]]:
    started: list[MovingNode] = []

    def make(*program: str) -> MovingNode:
        started.append(MovingNode(make_graph(), tmp_path, *program))
        return started[-1]

    yield make
    for moving in started:
        moving.process.kill()
        moving.process.wait()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_f36_a_signal_during_motion_ends_with_the_safe_command(
    make_moving: Callable[..., MovingNode], name: str
) -> None:
    """Whatever signal ends the process: the last command that reaches the driver is standstill, the exit code 0."""
    moving = make_moving("-m", "reskill_ros.nodes.command_node")
    assert not moving.stands
    assert moving.end(getattr(signal, name)) == (0, "")
    assert moving.stands


HANGING = """
import time
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.plumbing.node_process import run

def hang(*_):
    print("hangs", file=open("hangs", "w"), flush=True)
    time.sleep(3600)

class Hanging(CommandNode):
    def configure(self):
        super().configure()
        sent = []
        {where}

run(Hanging)
"""


@pytest.mark.parametrize(
    "where",
    [
        # After the command: the callback never returns to the executor.
        "self._rate.tick = lambda: hang() if sent[5:] else sent.append(0)",
        # Amid the command, where the end may not wait for it.
        "send = self.adapter.send; self.adapter.send = lambda *a: (send(*a), sent.append(0), sent[5:] and hang())",
    ],
    ids=["callback", "command"],
)
def test_f36_a_hanging_callback_does_not_hold_back_the_safe_command(
    make_moving: Callable[..., MovingNode], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    moving = make_moving("-c", HANGING.format(where=where))
    moving.graph.spin_until((tmp_path / "hangs").exists, "the callback to hang")
    assert not moving.stands
    code, error = moving.end(signal.SIGTERM)
    assert (code, error) == (1, "error: a callback does not return; the process is ended\n")
    assert moving.stands


IGNORING_SIGHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "reskill_ros.nodes.command_node", *sys.argv[1:]])
"""


def test_under_nohup_a_closed_terminal_ends_nothing(make_moving: Callable[..., MovingNode]) -> None:
    moving = make_moving("-c", IGNORING_SIGHUP)
    moving.process.send_signal(signal.SIGHUP)
    count = len(moving.twists)
    moving.graph.spin_until(lambda: len(moving.twists) > count + 10, "further motion")
    assert not moving.stands
    assert moving.end(signal.SIGTERM) == (0, "")
    assert moving.stands


def test_a_node_ends_with_its_launcher(make_moving: Callable[..., MovingNode], monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, not reaped by anybody yet, and not even the node's parent: the node hears of it."""
    launcher = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    try:
        monkeypatch.setenv(LAUNCHER, str(launcher.pid))
        moving = make_moving("-m", "reskill_ros.nodes.command_node")
        launcher.kill()
        assert moving.wait() == (0, "")
        assert moving.stands
    finally:
        launcher.kill()
        launcher.wait()
    # That process is gone now: a node that comes up too late ends as well.
    late = subprocess.run(
        [sys.executable, "-m", "reskill_ros.nodes.command_node"], capture_output=True, text=True, timeout=60
    )
    assert late.returncode == 0


DRIVER = """
import rclpy
from geometry_msgs.msg import TwistStamped
from reskill_ros.plumbing import convert, qos

rclpy.init()
node = rclpy.create_node("driver")
show = lambda message: print(list(convert.twist_velocity(message)), flush=True)
node.create_subscription(TwistStamped, "command/twist", show, qos.NEWEST)
rclpy.spin(node)
"""


def test_f36_the_process_waits_until_the_driver_has_the_safe_command(make_moving: Callable[..., MovingNode]) -> None:
    """A driver whose process gets no time, as on a busy machine, hears the safe command when it goes on."""
    moving = make_moving("-m", "reskill_ros.nodes.command_node")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        told = driver.stdout
        moving.graph.spin_until(lambda: select.select([told], [], [], 0)[0], "the driver to hear commands")
        driver.send_signal(signal.SIGSTOP)
        moving.process.send_signal(signal.SIGTERM)
        moving.graph.spin_until(lambda: moving.stands, "the safe command")
        # A small part of the time that the process waits: without waiting it would be gone.
        moving.graph.spin_for(0.2)
        driver.send_signal(signal.SIGCONT)
        moving.graph.spin_until(lambda: moving.process.poll() is not None, "the end of the process")
        moving.graph.spin_for(0.5)
        driver.kill()
        assert told.read().splitlines()[-1] == str(STILL)
    finally:
        driver.kill()
        driver.communicate()
