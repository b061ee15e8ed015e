"""Push a block over a slippery table."""

from __future__ import annotations

import numpy as np

from reskill_core.observation import SensorFrame
from reskill_core.spec import TaskSpec
from reskill_sim.scene import Scene
from reskill_sim.tasks.base import (
    BoolArray,
    EpisodeStart,
    FloatArray,
    Task,
    position_of,
    spawn_around_gripper,
    upright_pose,
)
from reskill_sim.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE, REST_HEIGHT_M

GOAL_POS_W = np.array([1.3162, 0.7075, 0.4245])


class SlipperyPushTask(Task):
    """As the block task with a quarter of the friction, closed fingers and a fixed goal.

    Every step with the block within 3 cm of the goal in the plane pays 1, up to 100. Corrected against the published
    task: the horizon is 100 in training and evaluation alike (the published configuration cuts it to 50).
    """

    success_distance_m = 0.03
    gripper_blocked = True

    def __init__(self) -> None:
        self.spec = TaskSpec(
            "slippery_push", BLOCK_OBS, horizon=100, description="push a block to a fixed goal on a slippery table"
        )
        self.scene = Scene(BLOCK_TABLE, (BLOCK,), friction=(0.25, 5e-3, 1e-4))

    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Block around the gripper, apart from it and from the goal."""
        block = spawn_around_gripper(rng, 0.15, [(GOAL_POS_W[:2], 0.05)])
        return EpisodeStart(upright_pose(block, REST_HEIGHT_M)[None], GOAL_POS_W.copy())

    def success(self, frame: SensorFrame, previous: SensorFrame) -> BoolArray:
        """(N,) whether the block is within 3 cm of the goal in the plane."""
        gap = position_of(self, frame, "block") - position_of(self, frame, "goal")
        return np.linalg.norm(gap[:, :2], axis=1) < self.success_distance_m

    def reward(self, frame: SensorFrame, previous: SensorFrame) -> FloatArray:
        """(N,) 1 while it succeeds."""
        return self.success(frame, previous).astype(np.float64)
