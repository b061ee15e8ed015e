"""Launch file for replay: feeds recorded observations to a policy and compares its actions with the recorded ones.

`ros2 launch reskill_ros replay.launch.py --show-args` describes the arguments.
"""

from launch import LaunchDescription

from reskill_ros.graphs.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Build the description; called by `ros2 launch`."""
    return launch_description("replay")
