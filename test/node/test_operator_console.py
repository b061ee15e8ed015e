"""``reskill operate`` in a terminal: what keys do, and that the robot is at rest whatever ends it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import tty
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped
from rclpy.executors import SingleThreadedExecutor
from recorder_bench import episode
from ros_graph import Graph, MakeGraph
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from reskill_core.data import DemoDataset
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.recorder_node import RecorderNode
from reskill_ros.tools.operator_console import OperatorConsole, _read
from reskill_ros.tools.operator_screen import OperatorScreen

GATE = {"gate.command_timeout_s": 30.0, "gate.resume_after": 1}
TASK_STEPS = 5


class Terminal:
    """A terminal with the console in it, beside a gate and a recorder."""

    def __init__(self, graph: Graph, *arguments: str) -> None:
        self.graph = graph
        self.twists = graph.listen(TwistStamped, "command/twist")
        graph.listen(JointTrajectory, "gripper/command")
        self.gate = graph.add(CommandNode()).gate
        self.recorder = graph.add(RecorderNode())
        self._observations = graph.publisher(Observation, "observation")
        self._actions = graph.publisher(SkillAction, "skill_action")
        self._keys, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output, self.label = b"", ""
        os.set_blocking(self._keys, False)
        command = [sys.executable, "-m", "reskill_sim.cli.main", "operate", *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            # Ignored where the tests run under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        self.wait(lambda: b"[command] disarmed" in self.output, "the gate's state")

    def wait(self, condition: Callable[[], object], what: str) -> None:
        def holds() -> object:
            self._read()
            return condition()

        try:
            self.graph.spin_until(holds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; printed was {self.output.decode()}") from error

    def press(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def act(self, stamp: object | None = None) -> None:
        """One step of an episode, whose command passes if the gate is armed."""
        shown = episode(1, steps=TASK_STEPS)
        observation = Observation(task="block", values=array("d", shown.observation[0].astype(float)))
        numbers = array("f", [0.5, 0.0, 0.0, 0.0])
        action = SkillAction(action=numbers, decoded_action=numbers, residual=numbers, source="operator")
        observation.header.stamp = action.header.stamp = stamp or self.graph.stamp()
        self._observations.publish(observation)
        self._actions.publish(action)
        self.graph.spin_for(0.03)

    def move(self) -> None:
        """Until the robot moves."""

        def moving() -> bool:
            self.act()
            return bool(self.twists) and self.twists[-1].twist.linear.x > 0

        self.graph.spin_until(moving, "motion")

    def at_rest(self) -> bool:
        return self.gate.state.value == "disarmed" and self.twists[-1].twist.linear.x == 0.0

    def shown_state(self) -> bytes:
        """State of the gate that the console has printed last."""
        return re.findall(rb"\[command\] (\w+)", self.output)[-1]

    def hang_up(self) -> None:
        """Close the terminal."""
        for end in (self._keys, self.slave):
            os.close(end)
        self._keys = self.slave = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._keys >= 0:
            self.hang_up()

    def _read(self) -> None:
        if self._keys < 0:
            return
        try:
            self.output += os.read(self._keys, 65536)
        except BlockingIOError:
            return


@pytest.fixture
def open_terminal(make_graph: MakeGraph, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened = []

    def make(*arguments: str, **gate: float) -> Terminal:
        recorder = {"dataset": str(tmp_path / "data"), "driver_episodes": False, "auto_start": False, "patience_s": 0.3}
        graph = make_graph(command_node={**GATE, **gate}, recorder_node={**recorder, "min_free_gb": 0.0})
        opened.append(Terminal(graph, *arguments))
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.close()


def test_keys_arm_stop_and_latch(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.press("a")
    terminal.wait(lambda: terminal.gate.state.value == "holding", "arming")
    terminal.move()
    terminal.press(" ")
    terminal.wait(terminal.at_rest, "the stop")
    terminal.press("e")
    terminal.wait(lambda: terminal.gate.state.value == "estopped", "the emergency stop")
    terminal.press("a")
    terminal.wait(lambda: b"refused: cannot arm while estopped" in terminal.output, "the refusal")
    terminal.press("r")
    terminal.wait(lambda: terminal.gate.state.value == "disarmed", "the reset")
    terminal.press("x")
    terminal.wait(lambda: b"unknown key 'x'" in terminal.output, "the help")


def test_episodes_by_keys(open_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """Recorded and dropped, recorded again as a success, then one as a failure."""
    terminal = open_terminal()
    for keys, saved in (("sb", 0), ("n", 1), ("sf", 2)):
        for key in keys:
            if key != "s":
                terminal.press("a")
                terminal.wait(lambda: terminal.gate.state.value in ("holding", "active"), "arming")
                for _ in range(TASK_STEPS):
                    terminal.move()
            terminal.press(key)
            terminal.wait(lambda: terminal.recorder.assembler.recording == (key in "sb"), f"key {key}")  # noqa: B023
        terminal.wait(terminal.at_rest, "the stop")
        terminal.wait(lambda: terminal.recorder.store.counts["saved"] == saved, "the data set")  # noqa: B023
    assert DemoDataset.open(tmp_path / "data").success.tolist() == [True, False]


def test_a_label_is_typed_and_kept_until_it_is_changed(open_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """Corrected while it is typed; said at the start of an episode, or while it runs."""
    terminal = open_terminal()

    def label(keys: str, result: str) -> None:
        terminal.press("l")
        terminal.wait(lambda: terminal.output.endswith(b"label: " + terminal.label.encode()), "the prompt")
        terminal.press(keys)
        terminal.wait(lambda: b"label: " + result.encode() in terminal.output.splitlines()[-1], "what was typed")
        terminal.press("\r")
        terminal.wait(lambda: f'the label is "{result}"'.encode() in terminal.output, "the label")
        terminal.label = result

    def record(*last: str) -> None:
        saved = terminal.recorder.store.counts["saved"]
        terminal.press("s")
        terminal.wait(lambda: terminal.recorder.assembler.recording, "recording")
        terminal.press("a")
        terminal.wait(lambda: terminal.gate.state.value in ("holding", "active"), "arming")
        for _ in range(TASK_STEPS):
            terminal.move()
        if last:
            terminal.press(" ")
            terminal.wait(lambda: terminal.shown_state() == b"disarmed", "the stop")
            label(*last)
        terminal.press("n")
        terminal.wait(lambda: terminal.recorder.store.counts["saved"] == saved + 1, "the data set")

    label("lift the blocj\x7fk", "lift the block")
    record()
    record("\x15Würfel aufs Tablett", "Würfel aufs Tablett")
    record()
    labels = DemoDataset.open(tmp_path / "data").label
    assert labels.tolist() == ["lift the block", "Würfel aufs Tablett", "Würfel aufs Tablett"]


def test_what_cannot_be_in_a_label_is_refused_while_it_is_typed(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.press("l")
    terminal.wait(lambda: terminal.output.endswith(b"label: "), "the prompt")
    terminal.press("a\tb")
    terminal.wait(lambda: terminal.output.endswith(b"label: ab"), "what was typed")
    assert b"a label is one line without control characters, got '\\t'" in terminal.output
    terminal.press("é" * 128)
    terminal.wait(lambda: b"a label has at most 256 bytes" in terminal.output, "the limit")
    terminal.press("\r")
    kept = "ab" + "é" * 127
    terminal.wait(lambda: f'the label is "{kept}"'.encode() in terminal.output, "the label")


def test_further_lines_of_a_pasted_label_are_no_keys(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.press("l")
    terminal.wait(lambda: terminal.output.endswith(b"label: "), "the prompt")
    terminal.press("lift\nall")
    terminal.wait(lambda: b'the label is "lift"' in terminal.output, "the label")
    terminal.press("x")
    terminal.wait(lambda: b"unknown key 'x'" in terminal.output, "the next key")
    assert terminal.gate.state.value == "disarmed"


def test_no_key_is_lost_once_the_label_is_shown(make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """As quick as can be: pressed while the label is being printed."""
    graph, (keys, terminal) = make_graph(), pty.openpty()
    tty.setcbreak(terminal)

    class Screen(OperatorScreen):
        def show(self, line: str) -> None:
            super().show(line)
            if line.startswith("the label is"):
                os.write(keys, b"q")

    class Executor(SingleThreadedExecutor):
        turns = 0

        def spin_once(self, timeout_sec: float | None = None) -> None:
            self.turns += 1
            assert self.turns < 100, "the key was lost"
            super().spin_once(timeout_sec)

    console = graph.add(OperatorConsole(Screen(), heartbeat=False))
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(keys, b"lx\r")
        _read(console, Executor())
    os.close(keys)
    assert console.label == "x"


def test_nobody_types_while_the_robot_moves(open_terminal: Callable[..., Terminal]) -> None:
    """Keys do not act while a label is typed; so whatever is typed stops a robot that somebody else has armed."""
    terminal = open_terminal()
    terminal.press("a")
    terminal.wait(lambda: b"[command] holding" in terminal.output, "arming")
    terminal.press("l")
    terminal.wait(lambda: b"the robot is armed" in terminal.output, "the refusal")
    terminal.press(" ")
    terminal.wait(lambda: terminal.gate.state.value == "disarmed", "the stop")
    terminal.wait(lambda: terminal.shown_state() == b"disarmed", "the state")
    terminal.press("l")
    terminal.wait(lambda: terminal.output.endswith(b"label: "), "the prompt")
    assert terminal.graph.call(Trigger, "command_node/arm").success
    terminal.move()
    terminal.wait(lambda: terminal.shown_state() in (b"holding", b"active"), "the state")
    terminal.press("o")
    terminal.wait(terminal.at_rest, "the stop")
    terminal.wait(lambda: terminal.output.endswith(b"label: o"), "what was typed")


@pytest.mark.parametrize("ending", ["q", "\x04", "SIGINT", "SIGTERM", "SIGHUP"])
def test_the_robot_is_at_rest_when_the_console_ends(open_terminal: Callable[..., Terminal], ending: str) -> None:
    terminal = open_terminal()
    terminal.press("a")
    terminal.wait(lambda: terminal.gate.state.value == "holding", "arming")
    terminal.move()
    if ending.startswith("SIG"):
        terminal.process.send_signal(signal.Signals[ending])
    else:
        terminal.press(ending)
    terminal.wait(lambda: terminal.process.poll() is not None, "the end")
    terminal.wait(terminal.at_rest, "rest")
    assert termios.tcgetattr(terminal.slave)[3] == terminal.before[3], "the terminal is as it was"


def test_the_robot_is_at_rest_when_the_terminal_is_closed(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.press("a")
    terminal.wait(lambda: terminal.gate.state.value == "holding", "arming")
    terminal.move()
    terminal.hang_up()
    terminal.wait(lambda: terminal.process.poll() is not None, "the end")
    terminal.wait(terminal.at_rest, "rest")


def test_with_a_heartbeat_a_killed_console_stops_the_robot(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--heartbeat", **{"gate.estop_timeout_s": 1.0})

    def armed() -> bool:
        terminal.press("a")
        terminal.graph.spin_for(0.1)
        return terminal.gate.state.value == "holding"

    terminal.wait(armed, "arming, which needs the heartbeat")
    terminal.move()
    terminal.process.kill()
    terminal.wait(lambda: terminal.gate.state.value == "estopped", "the stop")
    assert "no e-stop heartbeat" in terminal.gate.explanation
