"""Constants of the simulated kitchen; tests compare them with the installed environment.

Sources: the FrankaKitchen environment of gymnasium-robotics, its code and its assets.
"""

from __future__ import annotations

CONTROL_PERIOD_S = 0.08
HORIZON = 280
# Joint velocity for an action of 1 [rad/s, fingers m/s].
ACTION_SCALE = 2.0
# Amplitude of the uniform noise of measurement, as a factor on the amplitudes in the arm's configuration file.
ROBOT_NOISE_RATIO, OBJECT_NOISE_RATIO = 0.01, 0.0005

# What names of the arm's joints and bodies begin with in the model; joints have another prefix before it.
JOINT_PREFIX, ARM_PREFIX = "robot:", "panda0_"
# Joint names of the real Franka's driver, in the model's order.
ARM_JOINTS = tuple(f"panda_joint{number}" for number in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
JOINT_NAMES = (*ARM_JOINTS, *FINGER_JOINTS)

# Other joints in the model's order: observed name, joint in the model, unit.
FURNITURE = (
    ("bottom_right_knob", "knob_Joint_1", "rad"),
    ("bottom_right_burner", "bottom_right_burner", "m"),
    ("bottom_left_knob", "knob_Joint_2", "rad"),
    ("bottom_left_burner", "bottom_left_burner", "m"),
    ("top_right_knob", "knob_Joint_3", "rad"),
    ("top_right_burner", "top_right_burner", "m"),
    ("top_left_knob", "knob_Joint_4", "rad"),
    ("top_left_burner", "top_left_burner", "m"),
    ("light_switch", "light_switch", "rad"),
    ("light", "light_joint", "m"),
    ("slide_cabinet", "slide_cabinet", "m"),
    ("left_hinge_cabinet", "left_hinge_cabinet", "rad"),
    ("right_hinge_cabinet", "right_hinge_cabinet", "rad"),
    ("microwave", "microwave", "rad"),
)
# The kettle's body with its mass, and its free joint.
KETTLE_BODY, KETTLE_JOINT = "kettleroot", "kettle"

# Coordinates at the start of every episode: arm and fingers; furniture; position and quaternion (scalar first) of the
# kettle.
START_QPOS = (
    *(1.48388023e-01, -1.76848573e00, 1.84390296e00, -2.47685760e00, 2.60252026e-01, 7.12533105e-01, 1.59515394e00),
    *(4.79267505e-02, 3.71350919e-02),
    *(-2.66279850e-04, -5.18043486e-05, 3.12877220e-05, -4.51199853e-05, -3.90842156e-06, -4.22629655e-05),
    *(6.28065475e-05, 4.04984708e-05, 4.62730939e-04, -2.26906415e-04, -4.65501369e-04, -6.44129196e-03),
    *(-1.77048263e-03, 1.08009684e-03),
    *(-2.69397440e-01, 3.50383255e-01, 1.61944683e00),
    *(1.00618764e00, 4.06395120e-03, -6.62095997e-03, -2.68278933e-04),
)
