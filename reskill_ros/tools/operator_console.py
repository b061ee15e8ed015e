"""Keys in a terminal for the operator of a robot: arm, stop, emergency stop, recorded episodes and their labels."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from reskill_core.gate.states import GateState
from reskill_core.labels import label_fault
from reskill_core.process import ending_signals
from reskill_core.text import printable
from reskill_ros.plumbing import qos
from reskill_ros.srv import StartRecording, StopRecording
from reskill_ros.tools.operator_screen import OperatorScreen

_POLL_S = 0.02
_HEARTBEAT_S = 0.1
# Time after the start within which services are waited for, because they have not been discovered yet.
_DISCOVERY_S = 3.0
# Longest wait for the robot's last stop.
_STOP_TIMEOUT_S = 5.0
_QUIT, _STOP_KEY, _LABEL = "q", " ", "l"
_ENTER, _ERASE, _ERASE_ALL, _ENDS = "\r\n", "\x7f\b", "\x15", ("\x03", "\x04")
_PROMPT = "label: "
# States of the gate in which the robot may move.
_ARMED = (GateState.HOLDING.value, GateState.ACTIVE.value)
# Nodes whose status is shown.
_STATUSES = ("command", "policy", "recorder")


@dataclass(frozen=True)
class Call:
    """Call of a service.

    Attributes:
        kind: type of the service.
        name: its name.
        fields: fields of the request.
        optional: whether it is left out where nobody offers it.
        labelled: whether the request has a label.
    """

    kind: Any
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False
    labelled: bool = False


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        meaning: what it does, for the help.
        calls: services that it calls, in this order.
        urgent: whether it does not wait for earlier keys, and cancels them.
    """

    meaning: str
    calls: tuple[Call, ...] = ()
    urgent: bool = False


_STOP = Call(Trigger, "command_node/stop")
_NEW = Call(Trigger, "observation_node/reset", optional=True)
KEYS = {
    "a": Key("arm: the robot moves as soon as commands arrive", (_NEW, Call(Trigger, "command_node/arm"))),
    _STOP_KEY: Key("(space) stop the robot and disarm", (_STOP,), urgent=True),
    "e": Key("emergency stop", (Call(SetBool, "command_node/estop", {"data": True}),), urgent=True),
    "r": Key(
        "release the emergency stop and reset; the robot stays disarmed",
        (Call(SetBool, "command_node/estop", {"data": False}), Call(Trigger, "command_node/reset")),
    ),
    "s": Key("start to record an episode", (_NEW, Call(StartRecording, "recorder_node/start", labelled=True))),
    "n": Key(
        "stop the robot; the episode is a success",
        (_STOP, Call(StopRecording, "recorder_node/stop", {"verdict": "success"}, labelled=True)),
    ),
    "f": Key(
        "stop the robot; the episode is a failure",
        (_STOP, Call(StopRecording, "recorder_node/stop", {"verdict": "failure"}, labelled=True)),
    ),
    "b": Key("stop the robot; drop the episode and record it again", (_STOP, Call(Trigger, "recorder_node/discard"))),
    _LABEL: Key("edit the label of the running and further episodes; Enter ends it (the robot must not be armed)"),
    _QUIT: Key("stop the robot and quit", (_STOP,), urgent=True),
}


class OperatorConsole(Node):
    """Node that calls services for keys, and prints their answers and changes of the robot's state.

    Attributes:
        label: label of the episodes that are recorded; empty for that of the recorder.

    Args:
        screen: where it prints.
        heartbeat: publish ``estop``, false until the emergency stop is pressed, so that ``gate.estop_timeout_s`` stops
            the robot when this program or its connection ends.
    """

    def __init__(self, screen: OperatorScreen, heartbeat: bool) -> None:
        super().__init__("operator_console")
        self.label = ""
        self._screen = screen
        self._show = screen.show
        self._typed: str | None = None
        self._waiting: deque[Call] = deque()
        self._running: Future | None = None
        self._pressed = False
        self._discovered_by_s = time.monotonic() + _DISCOVERY_S
        self.create_timer(_POLL_S, self._go_on)
        self._shown: dict[str, str] = {}
        # Kept, because a server answers only a client that it has discovered.
        calls = {call.name: call for key in KEYS.values() for call in key.calls}
        self._callers: dict[str, Any] = {name: self.create_client(call.kind, name) for name, call in calls.items()}
        for name in _STATUSES:
            self.create_subscription(DiagnosticStatus, f"{name}/status", self._status_of(name), qos.LATCHED)
        if heartbeat:
            self._heart = self.create_publisher(Bool, "estop", qos.STATE)
            self.create_timer(_HEARTBEAT_S, lambda: self._heart.publish(Bool(data=self._pressed)))

    @property
    def busy(self) -> bool:
        """Whether a service has not answered yet."""
        return self._running is not None or bool(self._waiting)

    @property
    def is_typing(self) -> bool:
        """Whether a label is being typed."""
        return self._typed is not None

    def take(self, char: str) -> None:
        """Take a character: a key, or part of a label that is being typed."""
        if self._typed is None:
            if char not in _ENTER:
                self.press(char)
            return
        if self._armed:  # By somebody else. No key acts now, but the operator has to be able to stop the robot.
            self.press(_STOP_KEY)
        if char in _ENTER:
            self._end_label(self._typed)
            return
        if char in _ERASE:
            self._typed = self._typed[:-1]
        elif char == _ERASE_ALL:
            self._typed = ""
        elif fault := label_fault(self._typed + char):
            self._show(fault)
        else:
            self._typed += char
        self._screen.edit(_PROMPT, self._typed)

    def _begin_label(self) -> None:
        if self._armed:
            self._show("the robot is armed, and keys do not act while a label is typed: stop it first (space)")
            return
        self._typed = self.label
        self._screen.edit(_PROMPT, self.label)

    def _end_label(self, label: str) -> None:
        self.label, self._typed = label, None
        self._screen.end_edit()
        self._show(f'the label is "{printable(label)}"' if label else "no label: episodes have that of the recorder")

    @property
    def _armed(self) -> bool:
        return self._shown.get("command") in _ARMED

    def press(self, letter: str) -> None:
        """Do what a key stands for."""
        key = KEYS.get(letter)
        if key is None:
            self._show(f"unknown key {letter!a}; {help_line()}")
            return
        if letter == _LABEL:
            self._begin_label()
            return
        if key.urgent:
            self._waiting.clear()
            self._running = None
        if letter in "er":
            self._pressed = letter == "e"
        told = {"label": self.label}
        self._waiting.extend(
            replace(call, fields={**call.fields, **told}) if call.labelled else call for call in key.calls
        )
        self._go_on()

    def _go_on(self) -> None:
        while self._running is None and self._waiting:
            call = self._waiting[0]
            client = self._callers[call.name]
            is_ready = client.service_is_ready()
            if not is_ready and time.monotonic() < self._discovered_by_s:
                return  # Tried again by the timer.
            self._waiting.popleft()
            if is_ready:
                self._running = client.call_async(call.kind.Request(**call.fields))
                self._running.add_done_callback(partial(self._answered, call))
            elif not call.optional:
                self._show(f"{call.name}: nobody offers it")
                self._waiting.clear()

    def _answered(self, call: Call, answer: Future) -> None:
        result: Any = answer.result()
        if not call.optional or not result.success:
            self._show(f"{call.name}: {'' if result.success else 'refused: '}{printable(result.message)}")
        if answer is not self._running:
            return  # An urgent key came in between.
        self._running = None
        if not result.success:
            self._waiting.clear()
        self._go_on()

    def _status_of(self, name: str) -> Callable[[DiagnosticStatus], None]:
        def show(message: DiagnosticStatus) -> None:
            values = {item.key: item.value for item in message.values}
            text = values.get("state") or message.message
            if self._shown.get(name) != text:
                self._shown[name] = text
                self._show(f"[{name}] {printable(message.message or text)}")

        return show


def help_line() -> str:
    """List the keys in one line."""
    return ", ".join(f"{'space' if letter == ' ' else letter}: {key.meaning}" for letter, key in KEYS.items())


def operate(namespace: str = "", heartbeat: bool = False) -> int:
    """Read keys until ``q``, the end of the input or Ctrl-C; the robot is stopped in the end.

    Returns:
        0; 1 if the last stop was not confirmed.
    """
    name = namespace.strip("/")
    remap = ["-r", f"__ns:=/{name}"] if name else []
    rclpy.init(
        args=["operate", "--ros-args", "--log-level", "fatal", *remap], signal_handler_options=SignalHandlerOptions.NO
    )
    executor = SingleThreadedExecutor()
    console = OperatorConsole(OperatorScreen(), heartbeat)
    executor.add_node(console)
    # Whatever ends this program, but SIGKILL, stops the robot first.
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            print("keys: " + help_line().replace(", ", "\r\n      "), end="\r\n", flush=True)
            with _single_keys():
                _read(console, executor)
        console.press(_QUIT)
        return _await_rest(console, executor)
    finally:
        console.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


def _read(console: OperatorConsole, executor: SingleThreadedExecutor) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while True:
        executor.spin_once(timeout_sec=_POLL_S)
        if not select.select([sys.stdin], [], [], 0)[0]:
            continue
        # Unbuffered, so that no key waits behind another one.
        try:
            byte = os.read(sys.stdin.fileno(), 1)
        except OSError:
            return  # The terminal was closed.
        if not byte:
            return
        for char in decoder.decode(byte):
            if char in _ENDS or (char == _QUIT and not console.is_typing):
                return
            if console.is_typing and char in _ENTER and sys.stdin.isatty():
                # Further lines of a pasted text are not keys; what is pressed once the label is shown, is one.
                termios.tcflush(sys.stdin, termios.TCIFLUSH)
            console.take(char)


def _await_rest(console: OperatorConsole, executor: SingleThreadedExecutor) -> int:
    waited_s = 0.0
    while console.busy and waited_s < _STOP_TIMEOUT_S:
        executor.spin_once(timeout_sec=_POLL_S)
        waited_s += _POLL_S
    return int(console.busy)


@contextmanager
def _single_keys() -> Iterator[None]:
    """Deliver keys without Enter, where the input is a terminal; the terminal is restored at the end."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        # It may have been closed.
        with suppress(termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
