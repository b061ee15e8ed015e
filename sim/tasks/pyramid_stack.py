"""Stack a block on a larger one."""

from __future__ import annotations

import numpy as np

from reskill_core.observation import SensorFrame
from reskill_core.spec import TaskSpec
from reskill_sim import constants
from reskill_sim.scene import BoxGeom, Scene, SceneObject
from reskill_sim.tasks.base import (
    BoolArray,
    EpisodeStart,
    FloatArray,
    Task,
    at_rest,
    position_of,
    released,
    spawn_around_gripper,
    upright_pose,
)
from reskill_sim.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE, HALF_SIZE_M, REST_HEIGHT_M

LARGE_HALF_SIZE_M = 0.035
CENTRED_M = 0.04
RESTING_TOLERANCE_M = 0.005


class PyramidStackTask(Task):
    """Every step in which the block rests on the large one, centred within 4 cm and let go, pays 1, up to 50.

    The large block's position stands where the block task has the goal, so that skills learnt there apply. Corrected
    against the published task: control steps of 0.04 s as everywhere; both blocks start on the table, not inside it
    or in each other; and the reward asks for a real stack, which holding the block over the large one is not.
    """

    def __init__(self) -> None:
        self.spec = TaskSpec("pyramid_stack", BLOCK_OBS, horizon=50, description="stack a block on a larger one")
        large = SceneObject(
            "large_block", (BoxGeom((LARGE_HALF_SIZE_M,) * 3, mass=10.0),), frame="goal", rgba=(0.75, 0.30, 0.25, 1.0)
        )
        self.scene = Scene(BLOCK_TABLE, (BLOCK, large))

    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Both blocks around the gripper, apart from it and from each other."""
        large = spawn_around_gripper(rng, 0.10, [])
        block = spawn_around_gripper(rng, 0.10, [(large, 0.10)])
        poses = [
            upright_pose(block, REST_HEIGHT_M),
            upright_pose(large, constants.TABLE_TOP_M + LARGE_HALF_SIZE_M),
        ]
        return EpisodeStart(np.stack(poses), poses[1][:3])

    def success(self, frame: SensorFrame, previous: SensorFrame) -> BoolArray:
        """(N,) whether the block rests on the large one, centred and let go."""
        gap = position_of(self, frame, "block") - position_of(self, frame, "goal")
        centred = np.linalg.norm(gap[:, :2], axis=1) < CENTRED_M
        resting = np.abs(gap[:, 2] - HALF_SIZE_M - LARGE_HALF_SIZE_M) < RESTING_TOLERANCE_M
        loose = released(self, frame, "block", HALF_SIZE_M)
        return centred & resting & loose & at_rest(self, frame, previous, "block")

    def reward(self, frame: SensorFrame, previous: SensorFrame) -> FloatArray:
        """(N,) 1 while it succeeds."""
        return self.success(frame, previous).astype(np.float64)
