"""Task of stacking a block on a larger one."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import TaskSpec
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.scene import BoxGeom, Scene, SceneObject
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, released, spawn_around_gripper
from reskill_sim.fetch.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE, HALF_SIZE_M

LARGE_HALF_SIZE_M = 0.035
CENTRED_M = 0.04
RESTING_TOLERANCE_M = 0.005


class PyramidStackTask(FetchTask):
    """Task with a reward of 1 for every step in which the block rests on the large one, centred within 4 cm, released.

    The return is at most 50. The large block's position is observed as the block task's goal, so that skills trained
    there apply. Corrections to the published task: control steps are 0.04 s as in all tasks; both blocks start on the
    table, not inside it or in each other; and holding the block over the large one gives no reward.
    """

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec("pyramid_stack", BLOCK_OBS, horizon=50, description="stack a block on a larger one")
        large = SceneObject(
            "large_block", (BoxGeom((LARGE_HALF_SIZE_M,) * 3, mass=10.0),), frame="goal", rgba=(0.75, 0.30, 0.25, 1.0)
        )
        self.scenes = (Scene(BLOCK_TABLE, (BLOCK, large)),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw both blocks around the gripper, away from it and from each other."""
        spread_m = 0.10 * self.variation.spawn
        large = spawn_around_gripper(rng, spread_m, [])
        block = spawn_around_gripper(rng, spread_m, [(large, 0.10)])
        poses = np.stack([on_the_table(item, xy) for item, xy in zip(scene.objects, (block, large), strict=True)])
        return poses, poses[1, :3]

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the block rests on the large one, centred and released."""
        gap = situation.position("block") - situation.position("goal")
        half_size_m = HALF_SIZE_M * situation.size
        centred = np.linalg.norm(gap[:, :2], axis=1) < CENTRED_M
        resting = np.abs(gap[:, 2] - half_size_m - LARGE_HALF_SIZE_M) < RESTING_TOLERANCE_M
        loose = released(situation, "block", half_size_m)
        return centred & resting & loose & situation.at_rest("block")

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 1 in success, 0 otherwise."""
        return success.astype(np.float64)
