"""Hand-written texts of docs/ros_interface.md; the rest of the page is generated from the code."""

from reskill_ros.plumbing.topics import BAG_ACKNOWLEDGE, RECORDER_ACKNOWLEDGE

_STATUS = "The node's own diagnostics, kept for late joiners."
# Every topic and service needs a sentence here; without it, the page is not written.
MEANINGS = {
    "/clock": "Simulated time, monotonic. In a namespace, graphs remap it to `clock`.",
    "/diagnostics": "State and performance of the node, once a second; see Diagnostics.",
    "joint_states": "Position and velocity of all joints, by name.",
    "robot_description": "URDF of the simulated robot, from the frame of the poses on; kept for late joiners.",
    "ee_pose": "Pose of the gripper frame.",
    "objects/block/pose": "Pose of an object; one topic for each object of the task, here of `block`.",
    "goal_pose": "Pose of the task's goal.",
    "episode": "Episode and step of the sensor messages, with reward, success and end.",
    "camera/image/compressed": "JPEG images, if `camera` is set.",
    "command/twist": "Velocity of the gripper frame or of a mobile base.",
    "gripper/command": "Velocity or position of the fingers.",
    "command/setpoints": "Commands for components other than end effector and gripper, labelled by component name.",
    "markers": "Frames, path in the colour of each skill, workspace box and state, in the driver's base frame.",
    "command/positions": "Positions or velocities of all components, as of `cartesian_forward`.",
    RECORDER_ACKNOWLEDGE: "Stamp of a completely recorded step.",
    BAG_ACKNOWLEDGE: "Stamp of a step written to the bag.",
    **{f"{name}/status": _STATUS for name in ("sim", "policy", "command", "recorder", "bag_recorder")},
    "observation": "Observation vector; each message triggers one cycle of the control loop.",
    "skill_action": "Action in response to an observation.",
    "executed_action": "Action that passed the gate, with the limits applied, as commanded.",
    "estop": "Emergency stop: true while pressed, false as a heartbeat. Received from publishers of any QoS.",
    "sim_node/reset": "Start an episode, optionally with a task and a seed.",
    "sim_node/pause": "Pause (true) or resume (false).",
    "sim_node/step": "Take single steps while paused.",
    "observation_node/reset": "Treat the next observation as the first of an episode.",
    "policy_node/start": "Configure and activate, unless already done.",
    "policy_node/stop": "Deactivate; no further actions.",
    "policy_node/reset": "Choose a new skill at the next observation, as at the start of an episode.",
    "command_node/arm": "Arm the gate; commands pass.",
    "command_node/stop": "Stop the robot and disarm.",
    "command_node/reset": "Release a latched stop; the gate remains disarmed.",
    "command_node/estop": "Emergency stop: pressed (true) or released (false).",
    "recorder_node/start": "Record the episodes that start from now on, with a label.",
    "recorder_node/stop": "Stop recording; without `driver_episodes`, it is stored as an episode, with a verdict.",
    "recorder_node/discard": "Discard the running episode and record it anew; completed ones are kept.",
}

HEAD = """# ROS interface

<!-- Written by `python -m reskill_ros.tools.reference docs/ros_interface.md`; do not edit. -->

Names of topics and services are relative and resolved in the node's namespace; `~` is the name of the node. In addition
to the listed interfaces, every node has the standard parameter services and `use_sim_time`, and lifecycle nodes have
the services of managed nodes. *Fixed* parameters are read once at start; all others may be set at run time. Invalid
values are refused with a reason, at start and at run time.
"""
ARGUMENTS = """## Graphs

Arguments of `reskill-up <graph> name:=value …` and of `ros2 launch reskill_ros <graph>.launch.py name:=value …`, with
their default in each graph; – if a graph does not have the argument.
"""
COMPOSED = """### composed_node

observation_node and policy_node in one process, started by `composed:=true`. Both have the interfaces above.
Observations and images are published as always, but reach the policy without the middleware. Each node has its own
arguments, after its name:

```
ros2 run reskill_ros composed_node observation_node -p driver:=ur5e -p skills:=s policy_node -p skills:=s --ros-args …
```
"""
DRIVERS = """## Driver files

A robot is described by one YAML file, in `config/drivers` or any other folder, which observation_node and command_node
read (parameter `driver`). The topics above are those of the driver `sim`, which sets `reliable_sensors`; otherwise
sensors are subscribed to with the profile `SENSOR`. The section `gate` holds the defaults of command_node's `gate`
parameters. command_node subscribes to `observation` only if it has a workspace box, or an adapter that requires the
measured position.

The adapter `by_quantity` supports every kind of action: components that move the end effector are sent as a twist,
gripper components as a trajectory, and all others (joint velocities, joint positions, raw) as one labelled array.
Topics without commands are not advertised. Adapters of other packages are found through entry points of the group
`reskill.adapters`.

Named terms of an observation are received as [Reading](#reading), one topic each, and images as `sensor_msgs/Image` of
exactly the size in the task's observation, encoded as `rgb8`, `bgr8`, `rgba8`, `bgra8`, `mono8` or `8UC<n>`; the resize
node of `image_proc` converts other sizes. Both are treated like every other sensor: with `trigger: synchronised` they
must carry the common stamp; with `trigger: timer` the newest message is used if it is not older than `timeout_s`.

Images are not part of `Observation`. For each image, observation_node publishes the corresponding frame on
`observation/images/<name>`, immediately before the observation and with its stamp, so that policies and recorders need
no driver file and can match frames exactly. policy_node and demonstrator_node respond to an observation once all its
frames have arrived. They stack frames themselves: the newest ones up to the observation's stamp, padded with the first
frame of the episode. recorder_node and bag_recorder_node store the frames unchanged, and replay_node publishes those
of a bag before each observation.

With `trigger: timer`, joints may arrive in separate messages, for example from an arm and a gripper that publish on one
topic at independent rates. The newest value of each joint is used if none is older than `timeout_s`. The stamp of the
observation is that of the oldest joint from which the gripper's pose is computed (`gripper: kinematics`), otherwise of
the oldest observed joint; the next observation requires new values of all of these. Poses are received from publishers
of any quality of service, including messages kept for late joiners. This requires a second subscription, for which
volatile publishers log an incompatible-QoS warning; the warning is expected.
"""
POSES = """### Poses

`poses` names the source of a frame's pose: of `gripper`, `goal`, and each object by its name. Poses are in
`base_frame`, or with `transform_poses` in any frame that tf knows, and age by their own stamps. `tf` needs the package
`tf2_ros_py`, arrays need that of their message. [robots.md](robots.md#poses) has examples.
"""
DIAGNOSTICS = """## Diagnostics

Each node publishes a `diagnostic_msgs/DiagnosticArray` with one status on `/diagnostics` every second of the steady
clock: the worst level, all messages of that level, and values. `state` is the state of the node; rates (`…_hz`) are
means since the last report; durations (`…_p50_ms`, `…_p99_ms`, `…_max_ms`) are statistics of the last 1000 samples and
appear with the first one; all other numbers are counters since the start (`refused_<reason>`, `overruns`, …) that
appear with the first count. Values that are present from the start are listed with each node.
"""
