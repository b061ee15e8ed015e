"""Task of pushing a block over a slippery table."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import TaskSpec
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.scene import Scene
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, spawn_around_gripper
from reskill_sim.fetch.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE

GOAL_POS_W = np.array([1.3162, 0.7075, 0.4245])


class SlipperyPushTask(FetchTask):
    """Block task with a quarter of the friction, closed fingers and a fixed goal.

    The reward is 1 for every step with the block within 3 cm of the goal in the plane, up to 100. Correction to the
    published task: the horizon is 100 in training and evaluation (the published configuration cuts it to 50).
    """

    success_distance_m = 0.03
    goal_object: str | None = "block"

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec(
            "slippery_push",
            BLOCK_OBS,
            horizon=100,
            gripper_closed=True,
            description="push a block to a fixed goal on a slippery table",
        )
        self.scenes = (Scene(BLOCK_TABLE, (BLOCK,), friction=(0.25, 5e-3, 1e-4)),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the block around the gripper, away from it and from the goal."""
        block = spawn_around_gripper(rng, 0.15 * self.variation.spawn, [(GOAL_POS_W[:2], 0.05)])
        return on_the_table(scene.objects[0], block)[None], GOAL_POS_W.copy()

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the block is within 3 cm of the goal in the plane."""
        gap = situation.position("block") - situation.position("goal")
        return np.linalg.norm(gap[:, :2], axis=1) < self.success_distance_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 1 in success, 0 otherwise."""
        return success.astype(np.float64)
