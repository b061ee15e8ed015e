"""Task of moving a block to a goal on the table; demonstrated by pick-and-place and by pushing."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import ObsSpec, TaskSpec, frame_term, joint_term, zeros_term
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch import constants
from reskill_sim.fetch.scene import BoxGeom, Scene, SceneObject, Table
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, sparse_reward, spawn_around_gripper

HALF_SIZE_M = 0.025

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
        # Padding for the gripper's (unused) goal of the published layout.
        zeros_term("goal_padding", 3),
    ),
)


BLOCK = SceneObject("block", (BoxGeom((HALF_SIZE_M,) * 3, mass=2.0),))
BLOCK_TABLE = Table((1.35, 0.75), (0.35, 0.55))


class BlockTask(FetchTask):
    """One cube and a goal anywhere within reach on the table; success is the block within 3 cm of the goal."""

    success_distance_m = 0.03
    hold_steps: int | None = 10
    goal_object: str | None = "block"

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec(
            "block", BLOCK_OBS, horizon=50, description="bring a block to a goal on the table; 25-D observation"
        )
        self.scenes = (Scene(BLOCK_TABLE, (BLOCK,)),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the goal around the gripper, spread out sideways, and the block around the gripper, away from both."""
        grip = constants.START_GRIP_POS_W[:2]
        goal = grip + rng.uniform(-0.15, 0.15, 2)
        goal[1] += rng.uniform(-0.35, 0.35)
        block = spawn_around_gripper(rng, 0.15 * self.variation.spawn, [(goal, 0.05)])
        return on_the_table(scene.objects[0], block)[None], on_the_table(scene.objects[0], goal)[:3]

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the block is within 3 cm of the goal."""
        gap = situation.position("block") - situation.position("goal")
        return np.linalg.norm(gap, axis=-1) < self.success_distance_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 0 in success, -1 otherwise."""
        return sparse_reward(success)
