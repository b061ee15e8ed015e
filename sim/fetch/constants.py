"""Constants of the simulated Fetch; a test compares them with the compiled model.

Sources: the Fetch model of gymnasium-robotics (``envs/assets/fetch``) and its environment code.
"""

from __future__ import annotations

import numpy as np

CONTROL_PERIOD_S = 0.04
TIMESTEP_S = 0.002

MODEL_PREFIX = "robot0:"
BASE_BODY = "robot0:base_link"
GRIPPER_BODY = "robot0:gripper_link"
GRIP_SITE = "robot0:grip"
MOCAP_BODY = "robot0:mocap"
# Joints that position the robot in the world; the real Fetch does not have them.
BASE_JOINTS_START = {"robot0:slide0": 0.405, "robot0:slide1": 0.48, "robot0:slide2": 0.0}
# Joint names of the real Fetch's driver, in the model's order.
JOINT_NAMES = (
    "torso_lift_joint",
    "head_pan_joint",
    "head_tilt_joint",
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "upperarm_roll_joint",
    "elbow_flex_joint",
    "forearm_roll_joint",
    "wrist_flex_joint",
    "wrist_roll_joint",
    "r_gripper_finger_joint",
    "l_gripper_finger_joint",
)
# Start positions of the joints that the slim profiles fix [m or rad, from the model's zero]. A driver publishes torso
# and head of these; the head's tilt reads 0.06 rad at the model's zero.
FIXED_JOINTS_START = {
    "slide0": 0.405,
    "slide1": 0.48,
    "slide2": 0.0,
    "torso_lift_joint": 0.0012579,
    "head_pan_joint": 0.0,
    "head_tilt_joint": 0.0,
}
FIXED_JOINT_READINGS = {"torso_lift_joint": 0.0012579, "head_pan_joint": 0.0, "head_tilt_joint": 0.06}
# Geoms of gripper and fingers are named as their bodies.
FINGER_GEOMS = ("robot0:r_gripper_finger_link", "robot0:l_gripper_finger_link")
GRIPPER_BODIES = COLLIDING_GEOMS = (GRIPPER_BODY, *FINGER_GEOMS)
# In the order of the classic observation, and of the model's actuators.
FINGER_JOINTS = ("r_gripper_finger_joint", "l_gripper_finger_joint")
# Joints that move the gripper frame.
ARM_JOINTS = tuple(name for name in JOINT_NAMES if name not in FINGER_JOINTS and not name.startswith("head_"))
FINGER_ACTUATORS = ("l_gripper_finger_joint", "r_gripper_finger_joint")
FINGER_OPEN_M = 0.05

# Offset from the model's resting pose to the start pose above the table [m], and the commanded orientation there.
START_OFFSET_M = np.array([-0.498, 0.005, -0.431 + 0.2])
# Not normalised: the Fetch environments add it to the gripper's quaternion in every step, which pulls the orientation
# back to pointing down.
GRIPPER_DOWN_WXYZ = np.array([1.0, 0.0, 1.0, 0.0])
START_SETTLE_STEPS = 10
# Start position of the grip site above the table [m]; measured, and compared with the model by a test.
START_GRIP_POS_W = np.array([1.3419, 0.7491, 0.5347])

TABLE_TOP_M = 0.4
# Massless camera bodies, with the frames below them.
CAMERA_BODIES = ("head_camera_link", "gripper_camera_link", "external_camera_body_0")
