"""Topic names shared by several nodes of this package."""

# Topics on which the simulated robot takes commands, with their message types.
SIMULATOR_COMMANDS = {
    "command/twist": "geometry_msgs/msg/TwistStamped",
    "gripper/command": "trajectory_msgs/msg/JointTrajectory",
    "command/setpoints": "std_msgs/msg/Float64MultiArray",
    "command/positions": "std_msgs/msg/Float64MultiArray",
}

# Recorders acknowledge each frame here in lockstep; the simulator waits for it.
RECORDER_ACKNOWLEDGE = "recorder/acknowledge"
BAG_ACKNOWLEDGE = "bag_recorder/acknowledge"


def observed_image(name: str) -> str:
    """Topic of the newest frame of an image from observation_node, stamped as the observation that contains it."""
    return f"observation/images/{name}"
