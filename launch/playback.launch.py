"""Launch file for playback: executes a recorded episode again, on the simulator or a robot.

`ros2 launch reskill_ros playback.launch.py --show-args` describes the arguments.
"""

from launch import LaunchDescription

from reskill_ros.graphs.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """Build the description; called by `ros2 launch`."""
    return launch_description("playback")
