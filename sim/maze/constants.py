"""Facts of the planar base and its camera, and the layouts of observations and actions.

Shape, mass and damping of the base, the force of its motors, its fastest speed and the control period are those of the
point mass in D4RL's ``maze2d`` environments; the camera is like the one that SPiRL's mazes were seen with.
"""

from __future__ import annotations

import math

from reskill_core.spec import (
    END_EFFECTOR_VELOCITY,
    GOAL_FRAME,
    ActionComponent,
    ActionSpec,
    ImageFeature,
    ObsSpec,
    frame_term,
    joint_term,
)

# Names of the base's coordinates in joint states, as drivers of holonomic bases publish them [m].
JOINTS = ("odom_x", "odom_y")

RADIUS_M = 0.1
DENSITY = 1000.0
MASS_KG = 4.0 / 3.0 * math.pi * RADIUS_M**3 * DENSITY
DAMPING = 1.0
MAX_FORCE_N = 100.0
MAX_SPEED = 5.0
CONTROL_PERIOD_S = 0.01
# The motors follow a commanded velocity with this time constant, as far as their force reaches.
SERVO_TIME_S = 0.05
WALL_HALF_HEIGHT_M = 0.2

# The camera looks down on the base from 5 m, with a field of view of 45 degrees.
CAMERA_DISTANCE_M = 5.0
VIEW_M = 2.0 * CAMERA_DISTANCE_M * math.tan(math.radians(22.5))
PIXELS = 32
CAMERA = ImageFeature("camera", PIXELS, PIXELS, 3, stack=2)
# Radius of the marks of base and goal in pictures [m].
MARK_M = 0.2

# RGB of what pictures show; the floor is a chequerboard of the cells, which shows motion where no wall is in sight. Odd
# cells are lighter than even ones by a share of the difference to walls.
FLOOR_RGB = (38, 51, 64)
ODD_SHARE = 0.15
WALL_RGB = (179, 128, 77)
GOAL_RGB = (204, 51, 51)
BASE_RGB = (77, 204, 102)

POSITION, DISPLACEMENT, GOAL_POSITION = "base_position", "base_displacement", "goal_position"
STATE_OBS = ObsSpec(
    (GOAL_FRAME,),
    JOINTS,
    (
        joint_term(POSITION, "joint_position", JOINTS),
        joint_term(DISPLACEMENT, "joint_displacement", JOINTS),
        frame_term(GOAL_POSITION, "position", GOAL_FRAME),
    ),
)
IMAGE_OBS = ObsSpec(STATE_OBS.frames, STATE_OBS.joints, STATE_OBS.terms, (CAMERA,))
ACTION = ActionSpec(
    tuple(
        ActionComponent(axis, quantity, "m/s", MAX_SPEED)
        for axis, quantity in zip("xy", END_EFFECTOR_VELOCITY, strict=False)
    )
)
