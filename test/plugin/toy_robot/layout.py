"""What the toy task's observations and actions mean; needs no simulator."""

from __future__ import annotations

from reskill_core.spec import (
    GOAL_FRAME,
    JOINT_VELOCITY,
    ActionComponent,
    ActionSpec,
    ImageFeature,
    ObsSpec,
    TaskSpec,
    frame_term,
    joint_term,
)

JOINTS = ("x_joint", "y_joint")
CAMERA = ImageFeature("camera", 12, 12, 3)
OBS = ObsSpec(
    (GOAL_FRAME,),
    JOINTS,
    (joint_term("cart", "joint_position", JOINTS), frame_term("goal", "position", GOAL_FRAME)),
    images=(CAMERA,),
)
ACTION = ActionSpec(tuple(ActionComponent(name, JOINT_VELOCITY, "m/s", 1.0) for name in JOINTS))
REACH = TaskSpec("toy_reach", OBS, ACTION, control_period_s=0.05, horizon=40, description="drive a cart to a goal")
