"""README's "On a real robot", literally, on simulated arms behind the interfaces of real ones."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Command
from ros_graph import Graph
from sensor_msgs.msg import JointState

from reskill_ros.plumbing import qos

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "test/support/arm_driver.py"
# Far more than the arm's servos settle by [rad], and a speed that stands for rest [rad/s].
MOVED_RAD, REST_RAD_S = 0.1, 0.01
# Longer than the gate holds before it disarms.
PATIENCE_S = 8.0


def readme_commands(arm: str) -> list[list[str]]:
    """Commands of the section, for an arm."""
    section = (ROOT / "README.md").read_text().partition("## On a real robot")[2]
    block = section.partition("```\n")[2].partition("```")[0]
    return [line.replace("ur5e", arm).split() for line in block.splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started = []

    def start(*command: str) -> Command:
        started.append(Command(tmp_path, command))
        return started[-1]

    yield start
    for command in reversed(started):
        command.close()


@pytest.fixture
def graph(tmp_path: Path, run: Callable[..., Command]) -> Iterator[Graph]:
    made = Graph(tmp_path, {})
    yield made
    made.close()


@pytest.mark.parametrize("arm", ["ur5e", "gen3", "gen3_twist", "so101"])
@pytest.mark.timeout(300)
def test_the_readme_moves_a_robot_and_brings_it_to_rest(graph: Graph, run: Callable[..., Command], arm: str) -> None:
    doctor, dry, policy, operate = readme_commands(arm)
    assert "dry_run:=true" in dry
    states = graph.listen(JointState, "joint_states", qos.SENSOR)
    driver = run(sys.executable, str(DRIVER), arm, "--task", "clean_up", "--lost", "0.01", "--late-s", "0.01")
    graph.spin_until(lambda: states, "the arm")
    start = dict(zip(states[0].name, states[0].position, strict=True))

    def moved() -> float:
        now = dict(zip(states[-1].name, states[-1].position, strict=True))
        return max(abs(now[name] - start[name]) for name in start if not re.search("finger|knuckle|gripper", name))

    examined = run(*doctor)
    assert examined.wait() == 0, examined.output
    assert "0 errors" in examined.output

    trial = run(*dry)
    keys = Keys(operate)
    graph.spin_until(lambda: keys.pressed("a", "[command] active"), "commands in the dry run")
    graph.spin_for(0.5)
    assert moved() < MOVED_RAD
    keys.press("q")
    graph.spin_until(lambda: keys.ended, "the end")
    trial.press_ctrl_c()
    assert trial.wait() == 0, trial.output

    acting = run(*policy)
    keys = Keys(operate)
    graph.spin_until(lambda: keys.pressed("a", "[command] active"), "arming")
    graph.spin_until(lambda: moved() > MOVED_RAD, "motion")
    keys.press("q")
    graph.spin_until(lambda: keys.ended, "the end")
    graph.spin_until(lambda: max(map(abs, states[-1].velocity)) < REST_RAD_S, "rest")
    acting.press_ctrl_c()
    assert acting.wait() == 0, acting.output
    assert not re.findall("rejected.*", driver.output)


class Keys:
    """``reskill operate`` in a terminal."""

    def __init__(self, command: list[str]) -> None:
        self._own, terminal = pty.openpty()
        os.set_blocking(self._own, False)
        self._process = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self._output = b""
        self._pressed_s = -PATIENCE_S

    def press(self, key: str) -> None:
        os.write(self._own, key.encode())

    def pressed(self, key: str, answer: str) -> bool:
        """Press a key now and then, once the robot is known; whether the console has printed an answer.

        Not all the time: every arming begins an episode, whose first observation needs all sensors anew.
        """
        if b"[command]" in self._output and time.monotonic() - self._pressed_s > PATIENCE_S:
            self._pressed_s = time.monotonic()
            self.press(key)
        self._read()
        return answer.encode() in self._output

    @property
    def ended(self) -> bool:
        self._read()
        return self._process.poll() is not None

    def _read(self) -> None:
        try:
            self._output += os.read(self._own, 65536)
        except (BlockingIOError, OSError):
            return
