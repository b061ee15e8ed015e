"""What docs/ros_interface.md says in words; everything else on that page comes from the code."""

from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, RECORDER_ACKNOWLEDGE

_STATUS = "The node's own diagnostics, kept for late joiners."
# Every topic and service needs a sentence here; the page is refused without it.
MEANINGS = {
    "/clock": "Simulated time; it never goes back. In a namespace, graphs remap it to `clock`.",
    "/diagnostics": "What the node does and how well, once a second; see Diagnostics.",
    "joint_states": "Position and velocity of all joints, by name.",
    "ee_pose": "Pose of the gripper frame.",
    "objects/block/pose": "Pose of an object; one topic for each object of the task, here of `block`.",
    "goal_pose": "Where the task's goal is.",
    "episode": "Which step of which episode the sensors show, and how it goes.",
    "camera/image/compressed": "JPEG pictures; with `camera`.",
    "command/twist": "Velocity of the gripper frame.",
    "gripper/command": "Velocity or position of the fingers.",
    "command/setpoints": "Commands that are neither an end effector's nor a gripper's, by the component's name.",
    "command/positions": "Places or velocities of all components, as the adapter `forward` sends them.",
    RECORDER_ACKNOWLEDGE: "Stamp of a step that has been recorded whole.",
    BAG_ACKNOWLEDGE: "Stamp of a step that is in the bag.",
    **{f"{name}/status": _STATUS for name in ("sim", "policy", "command", "recorder", "bag_recorder")},
    "observation": "The observation vector: the tick of the control loop.",
    "skill_action": "The answer to an observation.",
    "executed_action": "The action that passed the gate, limited as it was commanded.",
    "estop": "Emergency stop: true while pressed, false as a heartbeat. Heard from every publisher, whatever its QoS.",
    "sim_node/reset": "Start an episode, with a task and a seed if you like.",
    "sim_node/pause": "Pause (true) or go on (false).",
    "sim_node/step": "Take single steps while paused.",
    "observation_node/reset": "Treat the next observation as the first of an episode.",
    "policy_node/start": "Configure and activate, as far as that is still to be done.",
    "policy_node/stop": "Deactivate: no more actions.",
    "policy_node/reset": "Choose a new skill at the next observation, as at the start of an episode.",
    "command_node/arm": "Let commands pass.",
    "command_node/stop": "Stop the robot and disarm.",
    "command_node/reset": "Release a latched stop; disarmed afterwards.",
    "command_node/estop": "Emergency stop: pressed (true) or released (false).",
    "recorder_node/start": "Record the episodes that start from now on.",
    "recorder_node/stop": "Record no more; without `driver_episodes`, what was recorded is one episode.",
    "recorder_node/discard": "Drop the running episode; one that is over is kept.",
}

HEAD = """# ROS interface

<!-- Written by `python -m reskill_ros.tools.reference docs/ros_interface.md`; do not edit. -->

Names of topics and services are relative, and so follow a namespace; `~` is the name of the node. Beside what is
listed, every node has ROS's own parameter services and `use_sim_time`, and lifecycle nodes have those of managed nodes.
Parameters that are *fixed* are read once, at start; all others may be set at run time. A bad value is refused with the
reason, at start as at run time.
"""
ARGUMENTS = """## Graphs

Arguments of `reskill-up <graph> name:=value …` and of `ros2 launch reskill_ros <graph>.launch.py name:=value …`, with
their default in each graph; – where a graph does not have them.
"""
DRIVERS = """## Driver files

A robot is one YAML file, in `config/drivers` or anywhere else, that observation_node and command_node read (parameter
`driver`). Topics above are those of the driver `sim`, which sets `reliable_sensors`; without it, sensors are subscribed
to as `SENSOR`. A section `gate` holds the defaults of command_node's parameters of that name. command_node listens to
`observation` only where it has a workspace box, or an adapter that works from the measured position.

The adapter `by_quantity` serves every kind of action: components that move the end effector go into a twist, those of
a gripper into a trajectory, and all others (joint velocities, joint positions, raw) into one labelled array. Topics on
which nothing is commanded are not advertised. Adapters of other packages are found by entry points of the group
`reskill.adapters`.

Named terms of an observation come as [Reading](#reading), one topic each, and images as `sensor_msgs/Image` of exactly
the size that the task's observation has, in `rgb8`, `bgr8`, `rgba8`, `bgra8`, `mono8` or `8UC<n>`; `image_proc`'s
resize node makes other sizes fit. Both are read as every other sensor: with `trigger: synchronised` they must carry
the common stamp, with `trigger: timer` the newest is observed as long as it is not older than `timeout_s`.

Images are no part of `Observation`. For each of them observation_node publishes, just before the observation and with
its stamp, the frame that belongs to it on `observation/images/<name>`, so that whoever answers
or records needs no driver file and never has to guess which frame was meant. policy_node and demonstrator_node answer
an observation once all its frames have come, and stack frames themselves: the newest up to the observation's stamp, the
episode's first one standing for those before it. recorder_node writes the frames as they are.

With `trigger: timer`, joints may come in pieces: arm and gripper by two publishers on one topic, each when it likes.
The newest of each joint is observed, as long as none is older than `timeout_s`. The observation has the stamp of the
oldest joint that the gripper's pose is computed from (`gripper: kinematics`), else of the oldest observed joint, and
there is no new one before all of these are new. Poses are heard from publishers of every quality of service; what a
reliable one keeps for late joiners is heard too. For that there is a second subscription, which a publisher that
keeps nothing says it cannot serve: that is as it should be.
"""
DIAGNOSTICS = """## Diagnostics

Each node publishes a `diagnostic_msgs/DiagnosticArray` with one status on `/diagnostics` every second of the steady
clock: the worst level, all messages that belong to it, and values. `state` says what the node does; rates (`…_hz`) are
means since the last report; durations (`…_p50_ms`, `…_p99_ms`, `…_max_ms`) are over the last 1000 and appear with the
first; all other numbers are counters since the start (`refused_<reason>`, `overruns`, …) that appear with their first
count. Values that a node has from the start stand with the node.
"""
