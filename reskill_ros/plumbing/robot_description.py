"""Kinematic model of a robot, from its description on a topic, a file, or the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from reskill_core.errors import ConfigError
from reskill_core.kinematics import MODEL_FROM_TOPIC, Kinematics, KinematicsConfig
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.served_task import robot_kinematics

if TYPE_CHECKING:
    from reskill_sim.kinematics import ArmModel

TOPIC = "robot_description"
_TIMEOUT_S = 10.0


def load_described_arm(node: Node, task: str, config: KinematicsConfig) -> ArmModel:
    """Load the model of the arm that a driver file describes.

    Args:
        node: node that receives the description, where it comes from the topic.
        task: name of the task, for messages.
        config: kinematics of the driver file.

    Raises:
        ConfigError: the file has no model, the description does not arrive, or the model is unsuitable.
    """
    if not config.model:
        raise ConfigError(
            f"the task {task!r} moves an end effector, and the driver's commands depend on its joints: "
            "kinematics.model must say what arm it is"
        )
    try:
        from reskill_sim.kinematics.arm_model import load_arm
    except ModuleNotFoundError as error:
        raise ConfigError(f"kinematics need the simulator's package: {error}") from error
    description = _received(node) if config.model == MODEL_FROM_TOPIC else ""
    return load_arm(config, description)


def gripper_kinematics(node: Node, task: str, config: KinematicsConfig) -> Kinematics:
    """Return forward kinematics of the gripper frame: of the driver file's arm, or else of the task's own robot.

    Raises:
        ConfigError: see :func:`load_described_arm`.
        SimulationError: there is no simulator that knows the task's robot.
    """
    return load_described_arm(node, task, config).kinematics if config.model else robot_kinematics(task)


def _received(node: Node) -> str:
    found, message = wait_for_message(String, node, TOPIC, qos_profile=qos.KEPT, time_to_wait=_TIMEOUT_S)
    if not found or message is None:
        raise ConfigError(
            f"no message on {node.resolve_topic_name(TOPIC)} within {_TIMEOUT_S:g} s: start robot_state_publisher, or "
            "name a file in kinematics.model"
        )
    return str(message.data)
