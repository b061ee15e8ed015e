"""Lets a skill policy drive the simulator or a robot.

`ros2 launch reskill_ros policy.launch.py --show-args` describes the arguments.
"""

from launch import LaunchDescription

from reskill_ros.graphs.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Called by `ros2 launch`."""
    return launch_description("policy")
