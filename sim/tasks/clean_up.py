"""Put a block into a tray and get out of the way."""

from __future__ import annotations

import math

import numpy as np

from reskill_core.observation import SensorFrame
from reskill_core.spec import TaskSpec
from reskill_sim import constants
from reskill_sim.scene import BoxGeom, Scene
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

GOAL_POS_W = np.array([1.4162, 1.0749, 0.4245])
TRAY_CENTRE_W = (1.4, 1.06)
TRAY_HALF_M, TRAY_HALF_THICKNESS_M = 0.12, 0.008
WALL_HALF_WIDTH_M, WALL_TILT_RAD = 0.04, 0.84
TRAY_MASS_KG = 2.0
# Where the block counts as in the tray: its centre this far from the tray's at most.
INSIDE_M = 0.10
RESTING_TOLERANCE_M = 0.006


def _tray() -> tuple[BoxGeom, ...]:
    """A base and four walls that lean outwards."""
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


class CleanUpTask(Task):
    """Every step in which the block rests in the tray, let go, pays; fully once the gripper is half a metre up.

    The reward is clip(exp(10 z - 5), 0, 1) of the gripper's height z [m], up to 50. Corrected against the published
    task: that the block rests in the tray is read off its position and motion, not off a force threshold, and it has
    to be let go, so that holding it there pays nothing.
    """

    def __init__(self) -> None:
        self.spec = TaskSpec("clean_up", BLOCK_OBS, horizon=50, description="put a block into a tray and retreat")
        self.scene = Scene(BLOCK_TABLE, (BLOCK,), fixtures=TRAY)

    def sample_start(self, rng: np.random.Generator) -> EpisodeStart:
        """Block around the gripper, apart from it, the goal and the tray."""
        tray = np.array(TRAY_CENTRE_W)
        block = spawn_around_gripper(rng, 0.15, [(GOAL_POS_W[:2], 0.05), (tray, 0.27)])
        return EpisodeStart(upright_pose(block, REST_HEIGHT_M)[None], GOAL_POS_W.copy())

    def success(self, frame: SensorFrame, previous: SensorFrame) -> BoolArray:
        """(N,) whether the block rests in the tray, let go."""
        block = position_of(self, frame, "block")
        inside = (np.abs(block[:, :2] - TRAY_CENTRE_W) < INSIDE_M).all(axis=1)
        resting = np.abs(block[:, 2] - TRAY_FLOOR_M - HALF_SIZE_M) < RESTING_TOLERANCE_M
        loose = released(self, frame, "block", HALF_SIZE_M)
        return inside & resting & loose & at_rest(self, frame, previous, "block")

    def reward(self, frame: SensorFrame, previous: SensorFrame) -> FloatArray:
        """(N,) up to 1 while it succeeds, growing with the gripper's height."""
        height = position_of(self, frame, "gripper")[:, 2]
        return self.success(frame, previous) * np.clip(np.exp(10 * height - 5), 0.0, 1.0)
