"""Order of an examination, and its live part: topics, joints, commands, kinematics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from reskill_core.commanded_place import moved_joints
from reskill_core.errors import ReskillError
from reskill_core.kinematics import Kinematics
from reskill_core.sensing import Sensing
from reskill_core.spec import GRIPPER_FRAME, GRIPPER_VELOCITY, TaskSpec
from reskill_ros.drivers.adapters import Adapter, Channel, make_adapter
from reskill_ros.drivers.driver_file import DriverConfig, load_driver
from reskill_ros.drivers.driver_watch import DriverWatch
from reskill_ros.msg import Reading
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.diagnostics import Level
from reskill_ros.plumbing.endpoints import full_name, full_names
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.robot_description import gripper_kinematics
from reskill_ros.plumbing.served_task import robot_joints, task_spec
from reskill_ros.tools.doctor.findings import Finding
from reskill_ros.tools.doctor.listening import SECTION, Expected, Probe, missing_joints
from reskill_ros.tools.doctor.machine import examine_checkpoint, examine_gate, examine_machine, examine_ros
from reskill_ros.tools.doctor.poses import PoseProbe

# Until publishers have been discovered and kept messages have arrived.
_DISCOVERY_S = 1.0
# How long something late is waited for, before it counts as missing.
_PATIENCE_S = 2.0
# Position of each finger of a gripper that counts as closed [m].
_CLOSED_M = 0.005


@dataclass(frozen=True)
class Patient:
    """What to examine.

    Attributes:
        driver: driver file; empty examines no robot.
        skills: checkpoint whose task is to be run; empty for ``task``.
        task: task to be run.
        namespace: namespace of the robot.
        duration_s: time to listen [s].
    """

    driver: str = ""
    skills: str = ""
    task: str = "block"
    namespace: str = ""
    duration_s: float = 3.0


def examine(patient: Patient) -> list[Finding]:
    """Examine everything; moves nothing and publishes nothing.

    Raises:
        ReskillError: the task is unknown.
    """
    found = [*examine_machine(), *examine_ros()]
    if patient.skills:
        found += examine_checkpoint(patient.skills)
        if found[-1].level is Level.ERROR:
            return found
    if not patient.driver:
        return found
    task = task_spec(patient.task, patient.skills)
    section = f"Driver {patient.driver}"
    try:
        driver = load_driver(patient.driver, {*task.obs.joints, *robot_joints(task.name)})
    except ReskillError as error:
        return [*found, Finding(section, Level.ERROR, str(error))]
    found.append(Finding(section, Level.OK, driver.description or driver.command.adapter))
    found += examine_gate(driver.gate, task)
    return found + list(_examine_robot(patient, driver, task))


def _examine_robot(patient: Patient, driver: DriverConfig, task: TaskSpec) -> Iterator[Finding]:
    arguments = ["-r", f"__ns:=/{patient.namespace.strip('/')}"] if patient.namespace.strip("/") else []
    rclpy.init(args=["doctor", "--ros-args", "--log-level", "fatal", *arguments])
    node = Node("_doctor")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield from _Visit(node, executor, driver, task).findings(patient.duration_s)
    finally:
        node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()


class _Visit:
    """Live examination of one robot; the node's name is hidden, so that nobody takes it for a driver."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, driver: DriverConfig, task: TaskSpec) -> None:
        self._node, self._executor, self._driver, self._task = node, executor, driver, task

    def findings(self, duration_s: float) -> Iterator[Finding]:
        kinematics, faults = self._kinematics()
        yield from faults
        sensing = self._sensing(kinematics)
        probes = list(self._probes(sensing))
        for probe in probes:
            probe.listen(self._node)
        poses, lack = self._poses(sensing)
        yield from lack
        self._spin(_DISCOVERY_S)
        yield from self._clock()
        if poses is not None:
            poses.settle()
        adapter, fault = self._adapter()
        self._spin(duration_s)
        for probe in probes:
            yield from probe.findings(self._node)
        if poses is not None:
            yield from poses.findings()
        positions = {name: value for probe in probes for name, value in probe.positions.items()}
        names = dict.fromkeys(sensing.joints, "observation")
        if adapter is not None and (lacking := self._missing(adapter)):
            yield Finding("Joints", Level.ERROR, f"commands need {lacking}", "sensing.joints maps names")
        yield from missing_joints(names, positions)
        yield from self._joint_ranges(positions)
        if self._task.gripper_closed:
            yield from self._fingers(positions)
        if kinematics is not None:
            yield from self._gripper(kinematics, positions)
        if adapter is not None:
            yield from self._commands(adapter)
            adapter.close()
        elif fault not in [finding.text for finding in faults]:
            yield Finding("Commands", Level.ERROR, fault)

    def _missing(self, adapter: Adapter) -> str:
        """What commands need and is not there; late joint states, which are a finding of their own, are waited for."""
        end_s = time.monotonic() + _PATIENCE_S
        while (lacking := adapter.missing(time.monotonic())) and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)
        return lacking

    def _spin(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _clock(self) -> Iterator[Finding]:
        clocks = self._node.get_publishers_info_by_topic("/clock")
        if len(clocks) > 1:
            yield Finding("Clock", Level.ERROR, f"/clock has {len(clocks)} publishers: {full_names(clocks)}")
        elif clocks:
            text = f"simulated time is published by {full_name(clocks[0])}"
            yield Finding("Clock", Level.WARN, text, "a real robot needs none; nodes use it with use_sim_time:=true")
        else:
            yield Finding("Clock", Level.OK, "nobody publishes /clock: nodes use the system's time")

    # ------------------------------------------------------------------ sensors

    def _kinematics(self) -> tuple[Kinematics | None, list[Finding]]:
        if self._driver.sensing.gripper != "kinematics":
            return None, []
        try:
            kinematics = gripper_kinematics(self._node, self._task.name, self._driver.kinematics)
        except ReskillError as error:
            return None, [Finding("Kinematics", Level.ERROR, str(error))]
        return kinematics, [Finding("Kinematics", Level.OK, f"arm with the joints {', '.join(kinematics.joints)}")]

    def _sensing(self, kinematics: Kinematics | None) -> Sensing:
        if kinematics is None:
            return Sensing(self._task, self._driver.sensing)
        return Sensing(self._task, self._driver.sensing, kinematics.joints, kinematics.pose)

    def _probes(self, sensing: Sensing) -> Iterator[Probe]:
        topics = self._driver.topics
        profile = qos.STATE if self._driver.reliable_sensors else qos.SENSOR
        expected = Expected(self._task.control_rate_hz, self._driver.sensing.timeout_s)

        def probe(topic: str, kind: type[Any]) -> Probe:
            return Probe(self._node.resolve_topic_name(topic), kind, (profile,), expected)

        if sensing.joints:
            yield probe(topics.joint_states, JointState)
        for term in sensing.terms:
            if term not in sensing.velocities:
                yield probe(topics.reading(term), Reading)
        for name in sensing.images:
            yield probe(topics.image(name), Image)

    def _poses(self, sensing: Sensing) -> tuple[PoseProbe | None, list[Finding]]:
        # Without its kinematics, which are wrong then, the gripper's pose would be expected from a source.
        computed = {GRIPPER_FRAME} if self._driver.sensing.gripper == "kinematics" else set()
        frames = [name for name in sensing.frames if name not in computed]
        try:
            return PoseProbe(self._node, self._driver, frames, self._task.control_rate_hz), []
        except ReskillError as error:
            return None, [Finding(SECTION, Level.ERROR, str(error))]

    def _joint_ranges(self, positions: dict[str, float]) -> Iterator[Finding]:
        for name, source in self._driver.sensing.joints.items():
            driven = self._driver.sensing.joint(name).name
            if driven in positions and source.within_limits(positions[driven]) != positions[driven]:
                text = f"{driven} is at {positions[driven]:.3f}, outside of low {source.low} and high {source.high}"
                yield Finding("Joints", Level.WARN, text)

    def _fingers(self, positions: dict[str, float]) -> Iterator[Finding]:
        moved, grippers = moved_joints(self._task), self._task.action.indices(GRIPPER_VELOCITY)
        sources = [self._driver.sensing.joint(name) for component in grippers for name in moved[component]]
        fingers = [source.to_observation(positions[source.name]) for source in sources if source.name in positions]
        if fingers and max(fingers) > _CLOSED_M:
            text = f"the gripper is open by {sum(fingers) * 1e3:.0f} mm, and stays closed in {self._task.name}"
            yield Finding(
                "Joints", Level.WARN, text, "close it before the first episode: agents have never seen it open"
            )

    def _gripper(self, kinematics: Kinematics, positions: dict[str, float]) -> Iterator[Finding]:
        sources = [self._driver.sensing.joint(name) for name in kinematics.joints]
        if any(source.name not in positions for source in sources):
            return
        joints = np.array([source.to_observation(positions[source.name]) for source in sources])
        position, quat = kinematics.pose(joints)
        place, _ = self._driver.sensing.base.pose(position.tolist(), quat.tolist())
        gate = self._driver.gate
        text = f"gripper at {', '.join(f'{value:.3f}' for value in place)} m in the task's world"
        outside = [
            "xyz"[axis]
            for axis, value in enumerate(place)
            if gate.workspace_low and not gate.workspace_low[axis] <= value <= gate.workspace_high[axis]
        ]
        if outside:
            text += f", outside of the workspace box along {', '.join(outside)}"
            remedy = "move it there, or check base_position_w, base_quat_wxyz and tool_position"
            yield Finding("Kinematics", Level.WARN, text, remedy)
        else:
            yield Finding("Kinematics", Level.OK, text)

    # ------------------------------------------------------------------ commands

    def _adapter(self) -> tuple[Adapter | None, str]:
        """The adapter, in a dry run, so that nothing is sent; or why there is none."""
        driver, command = self._driver, self._driver.command
        channel = Channel(
            self._node,
            self._task,
            driver.sensing,
            driver.base_frame,
            True,
            driver.kinematics,
            driver.topics.joint_states,
            Inputs(self._node, lambda: None),
        )
        try:
            return make_adapter(command.adapter, channel, command.options), ""
        except ReskillError as error:
            return None, str(error)

    def _commands(self, adapter: Adapter) -> Iterator[Finding]:
        for publisher in adapter.publishers:
            shadow = self._node.resolve_topic_name("shadow")
            topic = self._node.resolve_topic_name(publisher.topic_name.removeprefix(f"{shadow}/"))
            kind = publisher.msg_type
            wanted = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            endpoints = self._node.get_subscriptions_info_by_topic(topic)
            drivers = [endpoint for endpoint in endpoints if not DriverWatch.observes(endpoint.node_name)]
            if not drivers:
                text = f"{topic}: no driver listens"
                yield Finding("Commands", Level.ERROR, text, f"start its controller, which takes a {wanted}")
            for endpoint in drivers:
                reason = qos.mismatch(publisher.qos_profile, endpoint.qos_profile)
                if endpoint.topic_type != wanted:
                    text = f"{topic}: {full_name(endpoint)} takes {endpoint.topic_type}, the adapter sends {wanted}"
                    yield Finding("Commands", Level.ERROR, text)
                elif reason:
                    text = f"{topic}: {full_name(endpoint)} does not hear ({reason})"
                    yield Finding("Commands", Level.ERROR, text)
                else:
                    yield Finding("Commands", Level.OK, f"{topic}: {full_name(endpoint)} listens")
            rivals = [
                item for item in self._node.get_publishers_info_by_topic(topic) if item.node_name != "command_node"
            ]
            if rivals:
                text = f"{topic} is also published by {full_names(rivals)}"
                yield Finding("Commands", Level.ERROR, text, "end it: two programs would command the robot")
