"""Bring a block to a place on the table; demonstrations by pick-and-place and by pushing."""

from __future__ import annotations

import numpy as np

from reskill_core.observation import SensorFrame
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, joint_term, zeros_term
from reskill_sim import constants
from reskill_sim.scene import BoxGeom, Scene, SceneObject
from reskill_sim.tasks.base import BoolArray, EpisodeStart, Task, position_of, resample

HALF_SIZE_M = 0.025
REST_HEIGHT_M = constants.TABLE_TOP_M + HALF_SIZE_M

BLOCK_OBS = ObsSpec(
    frames=("gripper", "block", "goal"),
    joints=constants.FINGER_JOINTS,
    terms=(
        frame_term("gripper_position", "position", "gripper"),
        joint_term("finger_position", "joint_position", constants.FINGER_JOINTS),
        frame_term("gripper_displacement", "displacement", "gripper"),
        joint_term("finger_displacement", "joint_displacement", constants.FINGER_JOINTS),
        frame_term("block_position", "position", "block"),
        frame_term("block_relative_position", "relative_position", "block", "gripper"),
        frame_term("block_relative_displacement", "relative_displacement", "block", "gripper"),
        frame_term("goal_position", "position", "goal"),
        # Where the published layout has the gripper's (unused) goal.
        zeros_term("goal_padding", 3),
    ),
)


class BlockTask(Task):
    """One cube, a goal anywhere within reach on the table; success is the block within 3 cm of the goal."""

    success_distance_m = 0.03

    def __init__(self) -> None:
        self.spec = TaskSpec(
            "block", BLOCK_OBS, horizon=50, description="bring a block to a goal on the table; 25-D observation"
        )
        self.scene = Scene(
            table_pos=(1.35, 0.75, constants.TABLE_TOP_M / 2),
            table_half_size=(0.35, 0.55, constants.TABLE_TOP_M / 2),
            objects=(SceneObject("block", (BoxGeom((HALF_SIZE_M,) * 3, mass=2.0),)),),
        )

    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Goal around the gripper, spread out sideways; block around the gripper, apart from both."""
        grip = constants.START_GRIP_POS_W[:2]
        goal = grip + rng.uniform(-0.15, 0.15, 2)
        goal[1] += rng.uniform(-0.35, 0.35)
        block = resample(
            lambda rng: grip + rng.uniform(-0.15, 0.15, 2) - 0.05,
            lambda xy: np.linalg.norm(xy - grip) >= 0.10 and np.linalg.norm(xy - goal) >= 0.05,
            rng,
        )
        pose = np.array([[*block, REST_HEIGHT_M, 1.0, 0.0, 0.0, 0.0]])
        return EpisodeStart(pose, np.array([*goal, REST_HEIGHT_M]))

    def success(self, frame: SensorFrame) -> BoolArray:
        """(N,) whether the block is within 3 cm of the goal."""
        gap = position_of(self, frame, "block") - position_of(self, frame, "goal")
        return np.linalg.norm(gap, axis=-1) < self.success_distance_m
