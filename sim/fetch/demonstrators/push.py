"""Demonstrator that pushes a block over the table to the goal with closed fingers."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.demonstrators.motions import CLOSE, GAIN, Reading, above, command, first_match, towards

STAND_OFF_M = 0.055
BEHIND_M = 0.03
LATERAL_M = 0.02
HOVER_M = 0.07
PLACED_M = 0.012
PUSH_GAIN = 12.0
PUSH_SPEED = 1.0


def push(reading: Reading) -> Float64Array:
    """(N, 4) actions of a state machine whose state follows from the observation."""
    relative = reading["block_relative_position"]
    missing = (reading["goal_position"] - reading["block_position"]) * [1.0, 1.0, 0.0]
    distance = np.linalg.norm(missing, axis=1, keepdims=True)
    direction = missing / np.maximum(distance, 1e-6)

    from_block = -relative * [1.0, 1.0, 0.0]
    along = (from_block * direction).sum(axis=1, keepdims=True)
    sideways = from_block - along * direction
    low = relative[:, 2] > -0.02
    behind = (along[:, 0] < -BEHIND_M) & (np.linalg.norm(sideways, axis=1) < LATERAL_M)
    placed = distance[:, 0] < PLACED_M

    stand_off = relative - direction * STAND_OFF_M
    over_stand_off = np.linalg.norm(stand_off[:, :2], axis=1) < 0.015

    speed = np.minimum(distance * PUSH_GAIN, PUSH_SPEED)
    pushing = direction * speed - GAIN * sideways
    pushing[:, 2] = GAIN * relative[:, 2]
    hover = above(stand_off, HOVER_M)
    near = np.linalg.norm(relative[:, :2], axis=1) < 0.09
    in_the_way = near & (relative[:, 2] > -HOVER_M * 0.7)
    return first_match(
        [
            (placed, command(towards(above(relative, HOVER_M)) * [0, 0, 1], CLOSE)),
            (low & behind, command(pushing, CLOSE)),
            (over_stand_off, command(towards(stand_off), CLOSE)),
            (in_the_way, command(towards(hover) * [0, 0, 1], CLOSE)),
        ],
        otherwise=command(towards(hover), CLOSE),
    )
