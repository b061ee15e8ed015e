"""Episodes of an agent on a simulated arm in virtual time.

Faster than over ROS, and the same on every machine. Sensing, policy, gate, inverse kinematics and trajectories are the
package's own, and commands come late, as over ROS: by a random share of a control period.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from arm_driver import SETUPS, Setup, controller, start_positions
from arm_world import FINGER_RANGE_M, TIMESTEP_S, ArmWorld, Judge
from geometry_msgs.msg import TwistStamped
from rclpy.time import Time
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from reskill_core.commanded_place import CommandedPlace
from reskill_core.config import config_from_dict
from reskill_core.gate import Gate
from reskill_core.rotations import matrix_from_quat
from reskill_core.runtime import load_policy
from reskill_core.seeding import episode_rng
from reskill_core.sensing import Sensing, Tick
from reskill_ros.drivers.adapters.joint_trajectory import JointTrajectoryOptions, braking_points
from reskill_ros.drivers.commands.gripper import GripperOptions, wants_open
from reskill_ros.drivers.commands.joint_targets import JointTarget
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.plumbing import convert
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.tasks import get_task
from reskill_sim.kinematics import DifferentialIk, load_arm

# As measured from an observation's timer to the controller, over ROS on a busy machine [s].
LATE_S = (0.006, 0.025)


@dataclass(frozen=True)
class _Command:
    due_s: float
    action: Sequence[float]
    place: Sequence[float]
    stamp_ns: int


class Rehearsal:
    """An agent and an arm.

    Args:
        arm: one of ``arm_driver.SETUPS``.
        agent: checkpoint, or name of a shipped agent.
        driver: driver file; by default that of the arm's name.
        variation: of the task's world.

    Attributes:
        world: the arm at the table.
    """

    def __init__(self, arm: str, agent: str, driver: str = "", variation: Variation = NOMINAL) -> None:
        self._setup: Setup = SETUPS[arm]
        self._driver = load_driver(driver or arm)
        self._policy = load_policy(agent)
        self._task = get_task(self._policy.checkpoint.task.name, variation)
        spec = self._task.spec
        self._arm = load_arm(self._driver.kinematics, self._setup.arm.urdf())
        self.world = ArmWorld(self._setup.arm, self._setup.mount, self._task)
        self._start = start_positions(self._setup, self._arm)
        kinematics = self._arm.kinematics
        self._sensing = Sensing(spec, self._driver.sensing, kinematics.joints, kinematics.pose)
        self._place, self._scale = CommandedPlace(spec), np.array(spec.action.scale)
        self._period_s = spec.control_period_s
        integrates = self._setup.controller != "velocity"
        self._ik = DifferentialIk(self._arm, self._driver.kinematics, self._period_s, integrates)
        self._base = self._setup.mount.transform.inverse
        options = self._driver.command.options
        self._threshold = config_from_dict(GripperOptions, options["gripper"]).threshold
        if self._setup.controller == "trajectory":
            self._braking_s = config_from_dict(JointTrajectoryOptions, options).braking_s

    def episode(self, seed: int, horizons: float = 2.0) -> tuple[bool, float]:
        """Run an episode, ``horizons`` times as long as the task's; returns whether it is solved, and its return."""
        rng, world, task = np.random.default_rng(seed), self.world, self._task
        world.reset(task.sample_start(episode_rng(seed, "world"), 0), self._start)
        judge = Judge(task, world.frame())
        self._controller = controller(self._setup, self._arm)
        self._ik.stop()
        self._is_open: bool | None = None
        self._gate = Gate(self._driver.gate, task.spec.action, self._period_s)
        self._sensing.forget()
        self._gate.arm(0.0)
        waiting: deque[_Command] = deque()
        # Not zero, which would be no stamp.
        first, substeps = 1000, round(self._period_s / TIMESTEP_S)
        for step in range(first, first + round(horizons * task.spec.horizon) * substeps):
            now_s = step * TIMESTEP_S
            if (step - first) % substeps == 0:
                if step > first:
                    judge.see(world.frame())
                due_s = max(now_s + rng.uniform(*LATE_S), waiting[-1].due_s if waiting else 0.0)
                waiting.append(self._command(now_s, due_s, seed))
            while waiting and waiting[0].due_s <= now_s:
                self._offer(waiting.popleft(), now_s)
            world.target = self._controller.setpoint(now_s, world.target, world.positions, world.velocities)
            world.step()
        judge.see(world.frame())
        return judge.solved, judge.sum

    def _command(self, now_s: float, due_s: float, seed: int) -> _Command:
        """What the policy answers to the sensors of this moment."""
        tick = self._tick(now_s)
        if tick.episode.step == 0:
            self._policy.reset([seed])
        action = self._policy.act(tick.values).action[0]
        return _Command(due_s, action.tolist(), self._place.read(tick.values[0]), tick.stamp_ns)

    def _tick(self, now_s: float) -> Tick:
        now_ns, setup = round(now_s * 1e9), self._setup
        fingers = setup.finger_readings(self.world.fingers)
        positions = dict(zip([*setup.finger_joints, *setup.arm.joints], [*fingers, *self.world.positions], strict=True))
        self._sensing.offer_joints(positions, now_ns, now_s, now_ns)
        for name, (position, quat_wxyz) in self.world.poses().items():
            if name in self._sensing.frames:
                pose = self._base.pose(tuple(position), tuple(quat_wxyz))
                self._sensing.offer_pose(name, pose, now_ns, now_s, now_ns)
        tick = self._sensing.tick_if_fresh(now_s, now_ns, awaits_execution=True)
        assert tick is not None
        return tick

    def _offer(self, command: _Command, now_s: float) -> None:
        self._gate.observe_position(command.place, command.stamp_ns)
        decision = self._gate.offer(command.action, command.stamp_ns, now_s, round(now_s * 1e9))
        if decision.action is None:
            return
        self._sensing.offer_execution(now_s)
        velocity = (np.array(decision.action) * self._scale)[:3]
        self._controller.command(self._message(self._base.vector(velocity.tolist()), now_s), now_s)
        fingers = -1.0 if self._task.spec.gripper_closed else decision.action[-1]
        self._is_open = wants_open(fingers, self._is_open, self._threshold)
        if self._is_open is not None:
            self.world.finger_target = FINGER_RANGE_M[1 if self._is_open else 0]

    def _message(self, velocity: Sequence[float], now_s: float) -> Any:
        """A message for the controller, joints in the order of the driver file, for a velocity in the base frame."""
        kind, measured = self._setup.controller, self.world.positions
        if kind == "servo":
            twist = TwistStamped()
            twist.header.frame_id = self._setup.base_frame
            twist.header.stamp = Time(nanoseconds=now_s * 1e9).to_msg()
            convert.set_twist(twist, velocity)
            return twist
        if kind == "twist":
            twist = TwistStamped()
            _, quat_wxyz = self._arm.pose(measured)
            convert.set_twist(twist, (matrix_from_quat(quat_wxyz).T @ velocity).tolist())
            return twist.twist
        motion = self._ik.step(velocity, measured)
        if kind == "trajectory":
            target = JointTarget(motion.position.tolist(), motion.velocity.tolist())
            points = braking_points(target, self._period_s, self._braking_s)
            return JointTrajectory(joint_names=list(self._arm.joints), points=points)
        return Float64MultiArray(data=(motion.velocity if kind == "velocity" else motion.position).tolist())
