"""What a real arm's driver and robot_state_publisher publish, for the shipped driver files of arms."""

from __future__ import annotations

from dh_arms import FRANKA, GEN3, SO101, UR5E
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from reskill_ros.plumbing import convert, qos

# The arm of each driver file with kinematics.
ARMS = {"ur5e": UR5E, "gen3": GEN3, "gen3_twist": GEN3, "fr3": FRANKA, "fr3_servo": FRANKA, "so101": SO101}


def describe(node: Node, driver: str, namespace: str = "") -> Publisher[String] | None:
    """Publish the URDF of a driver's arm, for as long as the publisher lives; None if the driver needs none."""
    if driver not in ARMS:
        return None
    publisher: Publisher[String] = node.create_publisher(String, f"{namespace}/robot_description", qos.LATCHED)
    publisher.publish(String(data=ARMS[driver].urdf()))
    return publisher


def start_joint_states(node: Node, driver: str) -> JointState:
    """Joint states of a driver's arm where it starts, measured now."""
    arm = ARMS[driver]
    return convert.joint_state_message(node.get_clock().now().to_msg(), arm.joints, arm.start)
