"""command_node: the gate and the driver adapter, in a separate process; all robot commands pass through it."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.command_node")

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from reskill_core.commanded_place import CommandedPlace
from reskill_core.gate import Gate, GateConfig, GateError, GateState
from reskill_core.parameters import parameter
from reskill_ros.drivers.adapters import Adapter, Channel, make_adapter
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.drivers.driver_watch import DriverWatch
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns, watch_clock
from reskill_ros.plumbing.diagnostics import Latency, Rate, Report
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.lifecycle import ManagedNode
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import robot_joints, task_spec

_SENDING_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class CommandParameters:
    """Parameters of command_node; those of the gate follow under ``gate.``, with the driver file's as defaults."""

    task: str = parameter("block", "Task whose actions are executed.", read_only=True)
    skills: str = parameter("", "Checkpoint whose task is used instead; needs no simulator.", read_only=True)
    driver: str = parameter("sim", "Name of a file in config/drivers, or the path of one.", read_only=True)
    autostart: bool = parameter(True, "Configure and activate at start.", read_only=True)
    must_start: bool = parameter(False, "End the process with an error if that fails.", read_only=True)
    auto_arm: bool = parameter(False, "Arm when activated; leave it false on a real robot.")
    dry_run: bool = parameter(
        False, "Publish commands and executed_action below shadow/ instead; read when configured."
    )


class CommandNode(ManagedNode):
    """Lifecycle node of the gate: refuses all commands when configured, and can be armed when active.

    Attributes:
        gate: the gate; exists once the node has been configured.
        adapter: the driver adapter; exists once the node has been configured.
        measured: measured positions of the action components in the last observation; None before the first one.
    """

    def __init__(self) -> None:
        super().__init__("command_node", "command/status", shared=("estop",))
        self._settings = Parameters(self, CommandParameters())
        values = self._settings.values
        # The task of a checkpoint, which defines the robot's joints, is read when the node is configured.
        self._driver = load_driver(values.driver, () if values.skills else robot_joints(values.task))
        self._limits: Parameters[GateConfig] = Parameters(self, self._driver.gate, "gate", self._misfits)
        self.gate: Gate
        self._previous_gate: Gate | None = None
        self.adapter: Adapter
        self._watched: DriverWatch
        self._feedback: CommandedPlace
        self._inputs: Inputs
        self.measured: tuple[float, ...] | None = None
        self._told: GateState | None = None
        # Held while a command is sent; no command may follow after the final safe command.
        self._sending = threading.Lock()
        self._ended = False
        self._latency, self._rate = Latency(), Rate()
        if values.autostart:
            self.start(values.must_start)

    def configure(self) -> None:
        """Create gate and adapter; the gate is disarmed."""
        values = self._settings.values
        task = task_spec(values.task, values.skills)
        if values.skills:
            self._driver.require_joints({*task.obs.joints, *robot_joints(task.name)})
        command = self._driver.command
        self._inputs = Inputs(self, self.diagnostics.publish)
        self.while_configured.callback(self._inputs.close)
        channel = Channel(
            self,
            task,
            self._driver.sensing,
            self._driver.base_frame,
            values.dry_run,
            self._driver.kinematics,
            self._driver.topics.joint_states,
            self._inputs,
        )
        self.adapter = make_adapter(command.adapter, channel, command.options)
        self.while_configured.callback(self.adapter.close)
        self.gate = Gate(self._limits.values, task.action, task.control_period_s, self.adapter.needs_feedback)
        if self._previous_gate is not None:
            self.gate.inherit(self._previous_gate)
        self._previous_gate = self.gate
        self._task = task
        self.measured = None
        self._watch_period_s = task.control_period_s / 2
        # The shadow topics of a dry run have no driver.
        self._watched = DriverWatch(self, [] if values.dry_run else self.adapter.publishers)
        self.gate.observe_driver(*self._watched.look())
        self._publisher = self.create_publisher(SkillAction, channel.topic("executed_action"), qos.RECORDED)
        self.while_configured.callback(self.destroy_publisher, self._publisher)
        if self.gate.needs_position:
            self._feedback = CommandedPlace(task)
            self._inputs.listen(Observation, "observation", self._on_observation, qos.NEWEST)
        self._inputs.listen(SkillAction, "skill_action", self._on_skill_action, qos.NEWEST)
        self._inputs.listen(Bool, "estop", lambda message: self._estop(message.data), *qos.EVERY_PUBLISHER)
        for name, kind, callback in (
            ("~/arm", Trigger, self._on_arm),
            ("~/stop", Trigger, self._on_stop),
            ("~/reset", Trigger, self._on_reset),
            ("~/estop", SetBool, self._on_estop),
        ):
            self.while_configured.callback(self.destroy_service, self.create_service(kind, name, callback))
        watch_clock(self, self._on_clock_jump, self.while_configured)

    def activate(self) -> None:
        """Start the command watchdog, and arm if ``auto_arm`` is set and no stop is latched."""
        # Unwound in reverse order: the watchdog ends, the gate disarms, and the robot is stopped.
        self.while_active.callback(self._hold)
        self.while_active.callback(self.gate.disarm)
        timer = self.create_timer(self._watch_period_s, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.while_active.callback(self.destroy_timer, timer)
        if self._settings.values.auto_arm and not self.gate.latched:
            self.gate.arm(time.monotonic())

    def make_safe(self) -> None:
        """Send the final safe command and wait for the driver's acknowledgement; called from another thread."""
        # A callback that blocks while sending must not keep the robot moving.
        taken = self._sending.acquire(timeout=_SENDING_TIMEOUT_S)
        self._ended = True
        if self.stage == "active":
            self._hold()
        if taken:
            self._sending.release()
        self.adapter.flush()

    def report(self, report: Report) -> None:
        """Add the state of the gate and of the driver."""
        if self.stage not in ("inactive", "active"):
            return
        gate = self.gate
        self._told = gate.state
        report.state = gate.state.value
        report.values |= {
            "explanation": gate.explanation,
            "rate_hz": self._rate.read_hz(),
            **self._latency.summary("gate"),
            "clamp_ratio": round(gate.clamp_ratio, 4),
            **gate.counters,
            **self.adapter.counters,
        }
        if gate.latched or gate.interrupted:
            report.error(f"{gate.state.value}: {gate.explanation}")
        elif gate.state is GateState.HOLDING:
            report.warn(f"{gate.state.value}: {gate.explanation}")
        self._inputs.report(report)
        refused = sum(map(self.diagnostics.growth, self.diagnostics.counters))
        if refused:
            report.warn(f"{refused} observations refused")
        self._report_driver(report)

    def _report_driver(self, report: Report) -> None:
        armed = self.gate.state in (GateState.HOLDING, GateState.ACTIVE)
        if self.gate.absent_driver:
            (report.error if armed else report.warn)(f"no driver listens on {self.gate.absent_driver}")
        if self.gate.missing_feedback:
            (report.error if armed else report.warn)(f"no {self.gate.missing_feedback}")
        for fault in self._watched.unheard():
            report.error(fault)

    def _on_observation(self, message: Observation) -> None:
        fault = convert.observation_fault(message, self._task)
        if fault:
            self.diagnostics.counters[f"refused_observation_{fault}"] += 1
            self.get_logger().warning(f"observation refused: {fault}", throttle_duration_sec=1.0)
            return
        self.measured = self._feedback.read(convert.observation_values(message)[0])
        self.gate.observe_position(self.measured, convert.stamp_to_ns(message.header.stamp))

    def _on_skill_action(self, message: SkillAction) -> None:
        received_s = time.monotonic()
        gate, stamp = self.gate, message.header.stamp
        self._apply_limits()
        self._look_for_driver()
        decision = gate.offer(message.action, convert.stamp_to_ns(stamp), received_s, now_ns(self))
        if decision.action is not None:
            with self._sending:
                if self._ended:
                    return
                self.adapter.send(decision.action, stamp, self.measured)
            self._latency.add(time.monotonic() - received_s)
            self._rate.tick()
            message.action = decision.action
            self._publisher.publish(message)
        elif decision.stop:
            self._hold()
        if gate.state is not self._told:
            self._tell()

    def _misfits(self, limits: GateConfig) -> list[str]:
        return limits.misfits(self.gate.actions) if self.stage in ("inactive", "active") else []

    def _apply_limits(self) -> None:
        limits = self._limits.values
        if limits is not self.gate.config:
            self.gate.configure(limits)

    def _watch(self) -> None:
        self._apply_limits()
        self._look_for_driver()
        if self.gate.watch(time.monotonic(), now_ns(self)):
            self._hold()
        if self.gate.state is not self._told:
            self._tell()

    def _look_for_driver(self) -> None:
        lost = self.gate.observe_driver(*self._watched.look())
        if self.gate.observe_feedback(self.adapter.missing(time.monotonic())) or lost:
            self._hold()

    def _hold(self) -> None:
        self.adapter.hold(self.measured)

    def _tell(self) -> None:
        self.get_logger().info(f"{self.gate.state.value}: {self.gate.explanation}")
        self.diagnostics.publish()

    def _on_clock_jump(self) -> None:
        if self.gate.forget():
            self._hold()
            self._tell()
        self.measured = None

    def _estop(self, pressed: bool) -> None:
        if self.gate.estop(pressed, time.monotonic()):
            self._hold()
        if self.gate.state is not self._told:
            self._tell()

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.stage != "active":
            response.message = f"cannot arm while {self.stage}; activate the node first"
            return response
        return self._answer(response, lambda: self.gate.arm(time.monotonic()))

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.gate.disarm()
        self._hold()
        return self._answer(response, lambda: None)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        answer = self._answer(response, self.gate.reset)
        if answer.success:
            # A reset also disarms an active gate.
            self._hold()
        return answer

    def _on_estop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._estop(request.data)
        return self._answer(response, lambda: None)

    def _answer(self, response: Trigger.Response, act: Callable[[], None]) -> Trigger.Response:
        try:
            act()
        except GateError as error:
            response.message = str(error)
            return response
        self._tell()
        response.success = True
        response.message = f"{self.gate.state.value}: {self.gate.explanation}"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(CommandNode, args=args)
