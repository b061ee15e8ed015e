"""Task of putting a block into a tray and retreating."""

from __future__ import annotations

import math

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import TaskSpec
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch import constants
from reskill_sim.fetch.scene import BoxGeom, Scene
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, released, spawn_around_gripper
from reskill_sim.fetch.tasks.block import BLOCK, BLOCK_OBS, BLOCK_TABLE, HALF_SIZE_M

GOAL_POS_W = np.array([1.4162, 1.0749, 0.4245])
TRAY_CENTRE_W = (1.4, 1.06)
TRAY_HALF_M, TRAY_HALF_THICKNESS_M = 0.12, 0.008
WALL_HALF_WIDTH_M, WALL_TILT_RAD = 0.04, 0.84
TRAY_MASS_KG = 2.0
# Maximum distance along x and y of the block's centre from the tray's, for the block to be in the tray.
INSIDE_M = 0.10
RESTING_TOLERANCE_M = 0.006


def _tray() -> tuple[BoxGeom, ...]:
    """A base, and four walls tilted outwards."""
    x, y = TRAY_CENTRE_W
    base_height = constants.TABLE_TOP_M + 0.01
    base = BoxGeom((TRAY_HALF_M, TRAY_HALF_M, TRAY_HALF_THICKNESS_M), TRAY_MASS_KG, (x, y, base_height))
    out = TRAY_HALF_M + WALL_HALF_WIDTH_M * math.cos(WALL_TILT_RAD)
    up = base_height + WALL_HALF_WIDTH_M * math.sin(WALL_TILT_RAD)
    cosine, sine = math.cos(WALL_TILT_RAD / 2), math.sin(WALL_TILT_RAD / 2)
    along_x = (0.16, WALL_HALF_WIDTH_M, TRAY_HALF_THICKNESS_M)
    along_y = (WALL_HALF_WIDTH_M, 0.16, TRAY_HALF_THICKNESS_M)
    walls = (
        BoxGeom(along_y, TRAY_MASS_KG, (x + out, y, up), (cosine, 0.0, -sine, 0.0)),
        BoxGeom(along_y, TRAY_MASS_KG, (x - out, y, up), (cosine, 0.0, sine, 0.0)),
        BoxGeom(along_x, TRAY_MASS_KG, (x, y + out, up), (cosine, sine, 0.0, 0.0)),
        BoxGeom(along_x, TRAY_MASS_KG, (x, y - out, up), (cosine, -sine, 0.0, 0.0)),
    )
    return (base, *walls)


TRAY = _tray()
TRAY_FLOOR_M = TRAY[0].pos[2] + TRAY_HALF_THICKNESS_M


class CleanUpTask(FetchTask):
    """Task with a reward for every step in which the block rests in the tray, released.

    The reward is clip(exp(10 z - 5), 0, 1) for the gripper's height z [m]: 1 from half a metre on, up to 50 in total.
    Corrections to the published task: whether the block rests in the tray is determined by its position and motion, not
    by a force threshold; and it has to be released, so that holding it in the tray gives no reward.
    """

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec("clean_up", BLOCK_OBS, horizon=50, description="put a block into a tray and retreat")
        self.scenes = (Scene(BLOCK_TABLE, (BLOCK,), fixtures=TRAY),)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the block around the gripper, away from it, the goal and the tray."""
        tray = np.array(TRAY_CENTRE_W)
        block = spawn_around_gripper(rng, 0.15 * self.variation.spawn, [(GOAL_POS_W[:2], 0.05), (tray, 0.27)])
        return on_the_table(scene.objects[0], block)[None], GOAL_POS_W.copy()

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the block rests in the tray, released."""
        block, half_size_m = situation.position("block"), HALF_SIZE_M * situation.size
        inside = (np.abs(block[:, :2] - TRAY_CENTRE_W) < INSIDE_M).all(axis=1)
        resting = np.abs(block[:, 2] - TRAY_FLOOR_M - half_size_m) < RESTING_TOLERANCE_M
        loose = released(situation, "block", half_size_m)
        return inside & resting & loose & situation.at_rest("block")

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) up to 1 in success, increasing with the gripper's height."""
        height = situation.position("gripper")[:, 2]
        return success * np.clip(np.exp(10 * height - 5), 0.0, 1.0)
