"""A task of the Fetch from outside: push the block away from where it starts."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import TaskSpec
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.scene import Scene
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, sparse_reward, spawn_around_gripper
from reskill_sim.fetch.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE


class NearBlockTask(FetchTask):
    """The goal is 10 cm beside the block; success is the block within 3 cm of it."""

    goal_object: str | None = "block"

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        what = "push a block 10 cm to the side"
        self.spec = TaskSpec("near_block", BLOCK_OBS, horizon=50, gripper_closed=True, description=what)
        self.scenes = (Scene(BLOCK_TABLE, (BLOCK,)),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the block around the gripper, and the goal beside it."""
        block = spawn_around_gripper(rng, 0.15 * self.variation.spawn, [])
        pose = on_the_table(scene.objects[0], block)
        return pose[None], pose[:3] + np.array([0.0, 0.1, 0.0])

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the block is within 3 cm of the goal."""
        gap = situation.position("block") - situation.position("goal")
        return np.linalg.norm(gap, axis=-1) < 0.03

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 0 in success, -1 otherwise."""
        return sparse_reward(success)
