"""Task of pulling an object that is out of reach to a goal with a hook."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, joint_term
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch import constants
from reskill_sim.fetch.scene import BoxGeom, Scene, SceneObject, Table
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, resample, sparse_reward

OBJECT_HALF_SIZE_M = 0.025
HOOK_HALF_THICKNESS_M = 0.015
# Offset from the hook's body to its held point, near the end of the handle [m].
HOOK_HOLD_OFFSET_M = (-0.25, 0.0, 0.0)
HOOK_START_XY = np.array([1.35, 0.35])
GOAL_POS_W = np.array([1.65, 0.75, 0.42])

HOOK_OBS = ObsSpec(
    frames=("gripper", "object", "hook", "goal"),
    joints=constants.FINGER_JOINTS,
    terms=(
        frame_term("gripper_position", "position", "gripper"),
        frame_term("object_position", "position", "object"),
        frame_term("object_relative_position", "relative_position", "object", "gripper"),
        joint_term("finger_position", "joint_position", constants.FINGER_JOINTS),
        frame_term("object_euler", "euler", "object"),
        frame_term("object_relative_displacement", "relative_displacement", "object", "gripper"),
        frame_term("object_rotation_displacement", "rotation_displacement", "object"),
        frame_term("gripper_displacement", "displacement", "gripper"),
        joint_term("finger_displacement", "joint_displacement", constants.FINGER_JOINTS),
        frame_term("hook_position", "position", "hook"),
        frame_term("hook_euler", "euler", "hook"),
        frame_term("hook_relative_displacement", "relative_displacement", "hook", "gripper"),
        frame_term("hook_rotation_displacement", "rotation_displacement", "hook"),
        frame_term("hook_relative_position", "relative_position", "hook", "gripper"),
        frame_term("goal_position", "position", "goal"),
    ),
)


HOOK = SceneObject(
    "hook",
    (
        BoxGeom((0.4, HOOK_HALF_THICKNESS_M, HOOK_HALF_THICKNESS_M), mass=2.0),
        BoxGeom((HOOK_HALF_THICKNESS_M, 0.1, HOOK_HALF_THICKNESS_M), mass=2.0, pos=(0.4, 0.085, 0.0)),
    ),
    frame_offset=HOOK_HOLD_OFFSET_M,
    rgba=(0.85, 0.55, 0.15, 1.0),
)
HOOK_TABLE = Table((1.65, 0.75), (0.5, 0.45))


class HookTask(FetchTask):
    """A cube beyond the arm's reach and a hook next to the robot; success is the cube within 5 cm of the goal."""

    success_distance_m = 0.05
    hold_steps: int | None = 10
    goal_object: str | None = "object"

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec(
            "hook", HOOK_OBS, horizon=100, description="pull an object to the goal with a hook; 43-D observation"
        )
        target = SceneObject("object", (BoxGeom((OBJECT_HALF_SIZE_M,) * 3, mass=2.0),))
        self.scenes = (Scene(HOOK_TABLE, (target, HOOK)),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the object beyond the goal, at least 10 cm from it; hook and goal are fixed."""
        spread = self.variation.spawn
        xy = resample(
            lambda rng: np.array([1.8 + spread * rng.uniform(-0.05, 0.10), 0.75 + spread * rng.uniform(-0.05, 0.05)]),
            lambda xy: np.linalg.norm(xy - GOAL_POS_W[:2]) >= 0.10,
            rng,
        )
        target, hook = scene.objects
        return np.stack([on_the_table(target, xy), on_the_table(hook, HOOK_START_XY)]), GOAL_POS_W.copy()

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the object is within 5 cm of the goal."""
        gap = situation.position("object") - situation.position("goal")
        return np.linalg.norm(gap, axis=-1) < self.success_distance_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 0 in success, -1 otherwise."""
        return sparse_reward(success)
