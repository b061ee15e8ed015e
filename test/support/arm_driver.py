"""A simulated arm behind the interfaces of a real one's driver: `python arm_driver.py ur5e`.

A process that publishes joint states at 500 Hz (best effort, in an order of its own), poses of objects in the arm's
base frame, and the URDF; it takes commands as the arm's controller does, rejects what that rejects, and loses or delays
messages if told to. Real time; it knows nothing of the package's own nodes.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from array import array
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mink
import numpy as np
import rclpy
from arm_controllers import ForwardController, RejectedError, ServoController, TrajectoryController, TwistController
from arm_world import FINGER_RANGE_M, FINGERS, TIMESTEP_S, ArmWorld, Judge, Mount
from dh_arms import FRANKA, GEN3, SO101, UR5E, Arm
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from reskill_core.kinematics import KinematicsConfig
from reskill_core.seeding import episode_rng
from reskill_ros.srv import ResetEpisode
from reskill_sim.engine.variation import Variation, parse_variation
from reskill_sim.fetch.constants import START_GRIP_POS_W
from reskill_sim.fetch.tasks import get_task as fetch_task
from reskill_sim.kinematics import DifferentialIk, load_arm
from reskill_sim.kinematics.arm_model import TOOL_SITE

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_POSES_EVERY = 10


@dataclass(frozen=True)
class Knuckle:
    """A joint that moves both fingers, as far as its angle says.

    Attributes:
        name: name.
        open: its angle when the gripper is open [rad].
        closed: its angle when the gripper is closed [rad].
    """

    name: str
    open: float = 0.0
    closed: float = 0.8

    def angle(self, finger: float) -> float:
        """Angle [rad] for a position of the fingers [m]."""
        return self.closed + finger / FINGER_RANGE_M[1] * (self.open - self.closed)

    def finger(self, angle: float) -> float:
        """Position of the fingers [m] for an angle [rad]."""
        return FINGER_RANGE_M[1] * (angle - self.closed) / (self.open - self.closed)


@dataclass(frozen=True)
class Setup:
    """An arm with its controllers.

    Attributes:
        arm: the arm.
        mount: where it stands.
        controller: ``trajectory``, ``position``, ``velocity``, ``servo`` or ``twist``.
        command_topic: topic of the controller.
        gripper_topic: topic of the gripper.
        gripper_array: whether it takes a Float64MultiArray; otherwise a JointTrajectory.
        knuckle: the gripper's only joint; None for two fingers that slide.
        base_frame: name of the base frame.
    """

    arm: Arm
    mount: Mount
    controller: str
    command_topic: str
    gripper_topic: str = "gripper_controller/joint_trajectory"
    gripper_array: bool = False
    knuckle: Knuckle | None = None
    base_frame: str = "base_link"

    @property
    def finger_joints(self) -> list[str]:
        """Names of the gripper's joints."""
        return [self.knuckle.name] if self.knuckle else list(FINGERS)

    def finger_readings(self, fingers: NDArray[np.float64]) -> list[float]:
        """Positions of the gripper's joints [rad or m], for (2,) positions of the fingers [m]."""
        return [self.knuckle.angle(float(fingers.mean()))] if self.knuckle else fingers.tolist()


_IN_FRONT, _NEAR_THE_TRAY = (0.75, 0.75, 0.4), (0.85, 1.0, 0.4)
SETUPS = {
    "ur5e": Setup(
        UR5E,
        Mount(_IN_FRONT),
        "trajectory",
        "scaled_joint_trajectory_controller/joint_trajectory",
        knuckle=Knuckle("finger_joint"),
    ),
    "gen3": Setup(
        GEN3,
        Mount(_NEAR_THE_TRAY),
        "position",
        "forward_position_controller/commands",
        "gripper_forward_controller/commands",
        gripper_array=True,
    ),
    "gen3_twist": Setup(
        GEN3,
        Mount(_NEAR_THE_TRAY),
        "twist",
        "twist_controller/commands",
        knuckle=Knuckle("robotiq_85_left_knuckle_joint"),
    ),
    "fr3": Setup(FRANKA, Mount(_IN_FRONT), "velocity", "joint_velocity_controller/commands"),
    "fr3_servo": Setup(FRANKA, Mount(_IN_FRONT), "servo", "servo_node/delta_twist_cmds"),
    # On a block of 10 cm on the table. Its jaws open along the x axis of the gripper frame.
    "so101": Setup(
        SO101,
        Mount((1.13, 0.75, 0.5), gripper_yaw=math.pi / 2),
        "trajectory",
        "arm_controller/joint_trajectory",
        knuckle=Knuckle("gripper", open=1.35, closed=0.0),
    ),
}


class ArmDriver(Node):
    """Driver and physics of an arm.

    Services: ``~/episode`` starts an episode of a task with a seed; ``~/outcome`` says whether the task is solved;
    ``~/restart`` restarts the controller, as switching it off and on does.
    """

    def __init__(self, setup: Setup, task: str, variation: Variation, lost: float, late_s: float) -> None:
        super().__init__("arm_driver")
        self._setup, self._task = setup, fetch_task(task, variation)
        self._base = setup.mount.transform
        arm = load_arm(
            KinematicsConfig("topic", end_effector=setup.arm.tip, tool_position=(0.0, 0.0, setup.arm.tool)),
            setup.arm.urdf(),
        )
        self._start = start_positions(setup, arm)
        self._world = ArmWorld(setup.arm, setup.mount, self._task)
        self._controller = controller(setup, arm)
        self._rng, self._lost, self._late_s = np.random.default_rng(0), lost, late_s
        self._delayed: deque[tuple[float, Any]] = deque()
        # In an order that is nobody else's: fingers first, then the arm from its tip.
        self._names = [*setup.finger_joints, *reversed(setup.arm.joints)]
        self._joints = self.create_publisher(JointState, "joint_states", qos_profile_sensor_data)
        self._description = self.create_publisher(String, "robot_description", LATCHED)
        self._description.publish(String(data=setup.arm.urdf()))
        frames = [name for name in self._task.spec.obs.frames if name not in ("gripper", "goal")]
        self._objects = {name: self.create_publisher(PoseStamped, f"perception/{name}/pose", 10) for name in frames}
        self._goal = self.create_publisher(PoseStamped, "goal_pose", LATCHED)
        self._subscribe()
        self.create_service(ResetEpisode, "~/episode", self._on_episode)
        self.create_service(Trigger, "~/outcome", self._on_outcome)
        self.create_service(Trigger, "~/restart", self._on_restart)
        self._begin(0)
        self._steps, self._began_s = 0, time.monotonic()
        self.create_timer(TIMESTEP_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _subscribe(self) -> None:
        kinds = {"trajectory": JointTrajectory, "servo": TwistStamped, "twist": Twist}
        kind = kinds.get(self._setup.controller, Float64MultiArray)
        self._subscription = self.create_subscription(kind, self._setup.command_topic, self._on_command, 1)
        gripper = Float64MultiArray if self._setup.gripper_array else JointTrajectory
        self._gripper = self.create_subscription(gripper, self._setup.gripper_topic, self._on_gripper, 1)

    def _begin(self, seed: int) -> None:
        self._world.reset(self._task.sample_start(episode_rng(seed, "world"), 0), self._start)
        self._controller.reset()
        self._delayed.clear()
        self._judge = Judge(self._task, self._world.frame())
        self._publish_goal()

    # ------------------------------------------------------------------ time

    def _tick(self) -> None:
        now_s = time.monotonic()
        due = round((now_s - self._began_s) / TIMESTEP_S)
        if due - self._steps > 100:
            # The machine was busy: physics goes on from now, as a slow robot would not.
            self._steps = due - 1
        while self._steps < due:
            self._step()

    def _step(self) -> None:
        world, now_s = self._world, self._began_s + self._steps * TIMESTEP_S
        while self._delayed and self._delayed[0][0] <= now_s:
            self._take(self._delayed.popleft()[1])
        clock_s = self._now_s() if self._setup.controller == "servo" else now_s
        world.target = self._controller.setpoint(clock_s, world.target, world.positions, world.velocities)
        world.step()
        self._steps += 1
        if self._rng.random() >= self._lost:
            self._publish_joints()
        if self._steps % _POSES_EVERY == 0:
            self._publish_poses()
        if self._steps % round(self._task.spec.control_period_s / TIMESTEP_S) == 0:
            self._judge.see(self._world.frame())

    def _now_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    # ------------------------------------------------------------------ sensors

    def _publish_joints(self) -> None:
        fingers = self._setup.finger_readings(self._world.fingers)
        message = JointState(name=self._names)
        message.position = array("d", [*fingers, *self._world.positions[::-1]])
        message.velocity = array("d", [*np.zeros(len(fingers)), *self._world.velocities[::-1]])
        message.header.stamp = self.get_clock().now().to_msg()
        self._joints.publish(message)

    def _publish_poses(self) -> None:
        poses = self._world.poses()
        for name, publisher in self._objects.items():
            publisher.publish(self._pose(*poses[name]))

    def _publish_goal(self) -> None:
        self._goal.publish(self._pose(self._world.goal, (1.0, 0.0, 0.0, 0.0)))

    def _pose(self, position: Any, quat_wxyz: Any) -> PoseStamped:
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = self.get_clock().now().to_msg(), self._setup.base_frame
        point, turn = self._base.inverse.pose(tuple(position), tuple(quat_wxyz))
        message.pose.position.x, message.pose.position.y, message.pose.position.z = map(float, point)
        orientation = message.pose.orientation
        orientation.w, orientation.x, orientation.y, orientation.z = map(float, turn)
        return message

    # ------------------------------------------------------------------ commands

    def _on_command(self, message: Any) -> None:
        if self._rng.random() < self._lost:
            return
        self._delayed.append((time.monotonic() + self._rng.uniform(0.0, self._late_s), message))

    def _take(self, message: Any) -> None:
        try:
            self._controller.command(message, self._now_s())
        except RejectedError as error:
            self.get_logger().error(f"rejected: {error}", throttle_duration_sec=1.0)

    def _on_gripper(self, message: Any) -> None:
        if isinstance(message, JointTrajectory):
            if sorted(message.joint_names) != sorted(self._setup.finger_joints):
                self.get_logger().error(f"rejected: gripper joints {list(message.joint_names)}")
                return
            values = message.points[-1].positions
        else:
            values = message.data
        if len(values) != len(self._setup.finger_joints):
            self.get_logger().error(f"rejected: {len(values)} gripper values")
            return
        mean = sum(values) / len(values)
        finger = self._setup.knuckle.finger(mean) if self._setup.knuckle else mean
        self._world.finger_target = min(max(finger, FINGER_RANGE_M[0]), FINGER_RANGE_M[1])

    # ------------------------------------------------------------------ services

    def _on_episode(self, request: ResetEpisode.Request, response: ResetEpisode.Response) -> ResetEpisode.Response:
        self._begin(request.seed)
        response.success = True
        return response

    def _on_outcome(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._judge.solved, f"{self._judge.sum:.3f}"
        return response

    def _on_restart(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.destroy_subscription(self._subscription)
        self.destroy_subscription(self._gripper)
        self._controller.reset()
        self._world.target = self._world.positions
        self._subscribe()
        response.success = True
        return response


def controller(setup: Setup, arm: Any) -> TrajectoryController | ForwardController | ServoController | TwistController:
    joints = setup.arm.joints
    if setup.controller == "trajectory":
        return TrajectoryController(joints)
    config = KinematicsConfig(max_speed=tuple(0.8 * link.speed for link in setup.arm.links))
    if setup.controller == "servo":
        return ServoController(setup.base_frame, DifferentialIk(arm, config, ServoController.PERIOD_S))
    if setup.controller == "twist":
        return TwistController(arm, DifferentialIk(arm, config, TwistController.PERIOD_S))
    return ForwardController(joints, setup.controller, TIMESTEP_S)


def start_positions(setup: Setup, arm: Any) -> list[float]:
    """Joint positions with the gripper where the Fetch's tasks start, pointing down, its fingers along y [rad]."""
    configuration = mink.Configuration(arm.model)
    configuration.update(np.array(setup.arm.start))
    frame = mink.FrameTask(TOOL_SITE, "site", position_cost=1.0, orientation_cost=1.0)
    turn = setup.mount.yaw + setup.mount.gripper_yaw
    cosine, sine = math.cos(turn), math.sin(turn)
    down = np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])
    place = np.array(setup.mount.transform.inverse.point(START_GRIP_POS_W.tolist()))
    frame.set_target(mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(down), place))
    posture = mink.PostureTask(arm.model, cost=1e-3)
    posture.set_target(configuration.q.copy())
    limits = [mink.ConfigurationLimit(arm.model, min_distance_from_limits=0.1)]
    for _ in range(300):
        rates = mink.solve_ik(configuration, [frame, posture], 0.05, "daqp", 1e-4, limits=limits)
        configuration.integrate_inplace(rates, 0.05)
    if np.abs(frame.compute_error(configuration)).max() > 1e-3:
        raise ValueError(f"{setup.arm.name} does not reach the start")
    return list(configuration.q)


def main() -> int:
    """Run the driver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", choices=sorted(SETUPS))
    parser.add_argument("--task", default="block")
    parser.add_argument("--variation", action="append", default=[], help="of the task's world, such as mass=0.05")
    parser.add_argument("--lost", type=float, default=0.0, help="share of messages that are lost")
    parser.add_argument("--late-s", type=float, default=0.0, help="longest delay of commands [s]")
    given, ros = parser.parse_known_args()
    rclpy.init(args=ros)
    node = ArmDriver(SETUPS[given.arm], given.task, parse_variation(given.variation), given.lost, given.late_s)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
