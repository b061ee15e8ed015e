"""Fast script that strikes a block on a slippery table so that it comes to rest at the goal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.demonstrators.motions import CLOSE, Reading, command, displacement, first_match


@dataclass(frozen=True)
class Strike:
    """Controller that strikes the block once along x and once along y, hard enough to slide the remaining distance.

    With so little friction a fast push is a strike: the block immediately leaves the fingers along the normal of the
    face that they hit, and slides on. The sliding distance was measured: its square root is proportional to the action
    of a gripper that starts from rest, and decreases linearly with the gap between fingers and block.

    Attributes:
        gain: action per metre of distance.
        lag: share of the gripper's last displacement that follows in the next step without any action.
        slowing_m: decrease per step of a sliding block's displacement per step [m].
        strength: action per square root of the sliding distance [m^-0.5].
        gap_strength: action per metre of gap.
        contact_m: distance between gripper and block centre at contact [m].
        stand_off_m: distance behind the block of the position to strike from [m].
        reach_m: minimum and maximum distance behind the block for a strike [m].
        lateral_m: maximum distance from the face's centre for a strike [m].
        low_m: maximum height over the block's centre for a strike [m].
        hover_m: height over the block's centre for passing over the block [m].
        funnel: height per distance from the position to strike from.
        clear_m: height over the block's centre below which the gripper has to go around the block [m].
        beside_m: distance along x or y from which on the gripper is beside the block [m].
        behind_m: distance behind the block from which on the gripper has passed the corner [m].
        corner_m: distance to the block's centre while going around the corner [m].
        enough_m: remaining distance along x or y up to which the block is not struck along that axis again [m].
        done_m: allowed distance from the goal at rest [m].
        drag: displacement along the face per metre of remaining distance along it, which drags the block by friction.
        started_m: displacements of block and gripper in a step that indicate a strike in that step [m].
    """

    gain: float = 31.0
    lag: float = 0.117
    slowing_m: float = 0.0045
    strength: float = 2.2
    gap_strength: float = 8.5
    contact_m: float = 0.046
    stand_off_m: float = 0.05
    reach_m: tuple[float, float] = (0.034, 0.0775)
    lateral_m: float = 0.008
    low_m: float = 0.015
    hover_m: float = 0.055
    funnel: float = 2.0
    clear_m: float = 0.044
    beside_m: float = 0.038
    behind_m: float = 0.041
    corner_m: float = 0.06
    enough_m: float = 0.0257
    done_m: float = 0.024
    drag: float = 0.24
    started_m: tuple[float, float] = (0.002, 0.006)

    def __call__(self, reading: Reading) -> Float64Array:
        """(N, 4) actions of a state machine whose state follows from the observation."""
        rows = np.arange(len(reading))
        moved, motion = reading["gripper_displacement"], displacement(reading, "block")[:, :2]
        # Position of the gripper relative to the block.
        place = self.lag * moved - reading["block_relative_position"]
        missing = (reading["goal_position"] - reading["block_position"])[:, :2]
        # Distance to the goal once the block has come to rest, and its direction along each axis.
        short = missing - motion * np.linalg.norm(motion, axis=1, keepdims=True) / (2 * self.slowing_m)
        sign = np.where(short >= 0, 1.0, -1.0)

        behind, aside = -place[:, :2] * sign, np.abs(place[:, 1::-1])
        left = np.abs(short)
        needed = left > np.minimum(self.enough_m, 0.99 * left.max(axis=1, keepdims=True))
        ready = needed & (behind > self.reach_m[0]) & (behind < self.reach_m[1]) & (aside < self.lateral_m)
        ready &= (place[:, 2] < self.low_m)[:, None]
        # The axis that the gripper is ready for, or else the one with the larger remaining distance.
        axis = np.argmax(2.0 * ready + needed + left, axis=1)
        other, towards = 1 - axis, sign[rows, axis]
        behind, aside = behind[rows, axis], place[rows, other]
        speed, way = motion[rows, axis] * towards, missing[rows, axis] * towards

        # A block struck in the last step shows only part of its speed: wait for the next observation.
        started = (speed > self.started_m[0]) & (moved[rows, axis] * towards > self.started_m[1])
        done = np.linalg.norm(short, axis=1) < self.done_m
        gap = np.maximum(behind - self.contact_m + 0.5 * speed, 0.0)
        slip = motion[rows, other] - 0.5 * aside + self.drag * short[rows, other]
        strike = np.empty_like(place)
        strike[rows, axis] = towards * (self.strength * np.sqrt(np.maximum(way, 0.0)) + self.gap_strength * gap)
        strike[rows, other] = self.gain * slip
        strike[:, 2] = -self.gain * place[:, 2]

        # Move behind the block: over it, or around its corner when low.
        low = place[:, 2] < self.clear_m
        around = low & (behind < self.behind_m)
        target = np.zeros_like(place)
        target[rows, axis] = -towards * self.stand_off_m
        target[rows, other] = np.where(around, np.copysign(np.maximum(np.abs(aside), self.corner_m), aside), 0.0)
        error = target - place
        beside = (np.abs(place[:, :2]) > self.beside_m).any(axis=1)
        height = np.minimum(self.funnel * np.abs(error[:, :2]).max(axis=1), self.hover_m)
        error[:, 2] += np.where(low & beside, 0.0, height)
        error[:, :2] += motion
        rise = np.column_stack([motion, np.full(len(motion), self.stand_off_m)])
        still = np.zeros_like(place)
        struck = ready[rows, axis]
        return first_match(
            [
                (done | (struck & started), command(still, CLOSE)),
                (struck, command(strike, CLOSE)),
                (low & ~beside, command(self.gain * rise, CLOSE)),
            ],
            otherwise=command(self.gain * error, CLOSE),
        )


strike_to_goal = Strike()
