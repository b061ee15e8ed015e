"""Fast scripts that grasp a block in motion and release it in motion: into the tray, or onto the large block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.demonstrators.fast.grasp import Grasp
from reskill_sim.fetch.demonstrators.motions import CLOSE, OPEN, Reading, above, command, displacement, first_match
from reskill_sim.fetch.demonstrators.pick_and_place import STACK_HEIGHT_M
from reskill_sim.fetch.tasks.clean_up import INSIDE_M, TRAY_CENTRE_W

# Finger position above which the block is released [m].
FREE_M = 0.034
# Speed at which closing fingers drag the block along y, as a share of the carrying action.
DRAG = 0.5


@dataclass(frozen=True)
class ThrowIntoTray:
    """Controller that carries the block over the tray's near wall, throws it down behind the wall and rises.

    Attributes:
        grasp: grasp of the block.
        carry_m: carrying height [m].
        clear_m: height above which the block passes over the wall [m].
        stop_y_m: limit along y while the block is lower [m].
        over_y_m: position along y from which on the block is past the wall [m].
        land_m: target height of the throw behind the wall [m].
        aim_y_m: target of the throw along y [m].
        release_y_m: position along y of the release [m].
        x_margin_m: maximum distance from the tray's centre along x for landing [m].
        x_ahead_m: additional distance along x allowed when starting over the wall [m].
        release_z: action along z during the release.
        follow: action along y while the block is still between the fingers.
        rest_m: final height of the gripper [m].
    """

    grasp: Grasp
    carry_m: float = 0.51
    clear_m: float = 0.482
    stop_y_m: float = 0.84
    over_y_m: float = 0.899
    land_m: float = 0.48
    aim_y_m: float = 1.04
    release_y_m: float = 0.93
    x_margin_m: float = 0.067
    x_ahead_m: float = 0.08
    release_z: float = 0.0
    follow: float = 0.8
    rest_m: float = 0.52

    def __call__(self, reading: Reading) -> Float64Array:
        """(N, 4) actions of a state machine whose state follows from the observation."""
        block, relative = reading["block_position"], reading["block_relative_position"]
        moved, fingers = reading["gripper_displacement"], reading["finger_position"].mean(axis=1)

        over = block[:, 1] > self.over_y_m
        sideways = np.abs(block[:, 0] - TRAY_CENTRE_W[0])
        barred = (~over & (block[:, 2] < self.clear_m)) | (sideways > self.x_margin_m + self.x_ahead_m)
        aim = np.empty_like(block)
        aim[:, 0] = np.clip(block[:, 0], TRAY_CENTRE_W[0] - self.x_margin_m, TRAY_CENTRE_W[0] + self.x_margin_m)
        aim[:, 1] = np.where(barred, self.stop_y_m, self.aim_y_m)
        aim[:, 2] = np.where(over, self.land_m, self.carry_m)
        carry = self.grasp.gain * (aim - block)

        near = np.linalg.norm(relative, axis=1) < 0.06
        away = np.zeros_like(block)
        away[:, 1] = np.where(near, self.follow, 0.0)
        rise = self.grasp.gain * (self.rest_m - reading["gripper_position"][:, 2])
        away[:, 2] = np.where(near & (fingers < FREE_M), self.release_z, rise)
        return first_match(
            [
                ((block[:, 1] > self.release_y_m) & (sideways < INSIDE_M), command(away, OPEN)),
                (self.grasp.holds(relative, fingers), command(carry, CLOSE)),
            ],
            otherwise=self.grasp.action(relative, moved, fingers, np.clip(DRAG * carry[:, 1], -1.0, 1.0)),
        )


@dataclass(frozen=True)
class DropOnBlock:
    """Controller that carries the block over the large one, releases it so that it slides to the centre, and rises.

    Attributes:
        grasp: grasp of the block.
        drop_m: target height over the resting position at release [m].
        clear_m: depth below the resting height at which the block may already pass over the large block [m].
        beside_m: distance along x and y from the large block that it keeps while lower than that [m].
        slide: distance that the block slides after its release, per displacement of the last step.
        centred_m: allowed distance from the centre at rest [m].
        above_m: maximum height over the resting position for release [m].
    """

    grasp: Grasp
    drop_m: float = 0.005
    clear_m: float = 0.0064
    beside_m: float = 0.0787
    slide: float = 1.0
    centred_m: float = 0.02
    above_m: float = 0.012

    def __call__(self, reading: Reading) -> Float64Array:
        """(N, 4) actions of a state machine whose state follows from the observation."""
        relative, motion = reading["block_relative_position"], displacement(reading, "block")
        moved, fingers = reading["gripper_displacement"], reading["finger_position"].mean(axis=1)
        missing = above(reading["goal_position"], STACK_HEIGHT_M) - reading["block_position"]
        height = -missing[:, 2]

        will_miss = np.linalg.norm(missing[:, :2] - self.slide * motion[:, :2], axis=1)
        arrives = (will_miss < self.centred_m) & (height > -0.004) & (height < self.above_m)
        stacked = (np.linalg.norm(missing[:, :2], axis=1) < 0.04) & (np.abs(height) < 0.015) & (fingers > FREE_M)

        carry = above(missing, self.drop_m)
        largest = np.abs(missing[:, :2]).max(axis=1)
        open_way = np.maximum(largest - self.beside_m, 0.0) / np.maximum(largest, 1e-6)
        carry[:, :2] *= np.where(height < -self.clear_m, open_way, 1.0)[:, None]
        carry *= self.grasp.gain

        rise = np.zeros_like(relative)
        rise[:, 2] = (fingers > FREE_M) & (relative[:, 2] > -0.1)
        return first_match(
            [
                (arrives | stacked, command(rise, OPEN)),
                (self.grasp.holds(relative, fingers), command(carry, CLOSE)),
            ],
            otherwise=self.grasp.action(relative, moved, fingers, np.clip(DRAG * carry[:, 1], -1.0, 1.0)),
        )


throw_into_tray = ThrowIntoTray(
    Grasp(
        gain=21.0,
        lag=0.066,
        hover_m=0.068,
        funnel=(0.0, 0.69),
        close_within_m=(0.05, 0.031, 0.055),
        inside_m=(0.0475, 0.03, 0.0485),
    )
)
# The large block may be in the way: stay above it along x too, and descend only next to the small one.
drop_on_block = DropOnBlock(Grasp(lag=0.066, hover_m=0.075, funnel=(1.5, 1.0)))
