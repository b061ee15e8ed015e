"""Demonstrators that pick a block up and put it down at the goal, in a tray or on another block."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.constants import CONTROL_PERIOD_S
from reskill_sim.fetch.demonstrators.motions import (
    CLOSE,
    HOLD,
    OPEN,
    OPENED_M,
    Reading,
    above,
    command,
    displacement,
    first_match,
    towards,
)
from reskill_sim.fetch.tasks.block import HALF_SIZE_M
from reskill_sim.fetch.tasks.clean_up import GOAL_POS_W, TRAY_FLOOR_M
from reskill_sim.fetch.tasks.pyramid_stack import LARGE_HALF_SIZE_M

# Wide tolerances, because noise would disturb a controller with tolerances of millimetres.
BESIDE_M = 0.02
INSIDE_HEIGHT_M = 0.018
HOLDING_M = 0.03
PLACED_M, PLACED_HEIGHT_M = 0.015, 0.02
HOVER_M = 0.06
GRAVITY_M_S2 = 9.81
# High enough to pass over the wall of a tray or another block.
CARRY_M = 0.07
# Ranges of the carrying height and of the height of release over the goal, so that skills transfer to other tasks.
CARRY_RANGE_M, RELEASE_RANGE_M = (0.03, 0.12), (PLACED_HEIGHT_M, 0.1)
RETREAT_M = 0.1
# From the goal of the task with the tray to the centre of a block that rests on the tray's floor.
TRAY_HEIGHT_M = TRAY_FLOOR_M + HALF_SIZE_M - GOAL_POS_W[2]
# From the centre of the large block to that of the block on it.
STACK_HEIGHT_M = LARGE_HALF_SIZE_M + HALF_SIZE_M


def pick_and_place(reading: Reading) -> Float64Array:
    """(N, 4) actions that put the block down at the goal or drop it there, depending on the episode's style."""
    carry_m, release_m = reading.drawn(0, *CARRY_RANGE_M), reading.drawn(1, *RELEASE_RANGE_M)
    return _put_down(reading, reading["goal_position"], carry_m, release_m)


def pick_and_put_away(reading: Reading) -> Float64Array:
    """(N, 4) actions that put the block down in the tray; the observed goal is in the tray's floor."""
    return _put_down(reading, above(reading["goal_position"], TRAY_HEIGHT_M))


def pick_and_stack(reading: Reading) -> Float64Array:
    """(N, 4) actions that put the block down on the large block, whose position is observed as the goal."""
    return _put_down(reading, above(reading["goal_position"], STACK_HEIGHT_M))


def _put_down(
    reading: Reading,
    goal: Float64Array,
    carry_m: float | Float64Array = CARRY_M,
    release_m: float | Float64Array = PLACED_HEIGHT_M,
) -> Float64Array:
    """(N, 4) actions of a state machine whose state follows from the observation.

    Args:
        reading: the observations.
        goal: (N, 3) target of the block's centre [m].
        carry_m: carrying height over the goal [m].
        release_m: maximum height of release over the goal [m].
    """
    block, relative = reading["block_position"], reading["block_relative_position"]
    fingers = reading["finger_position"].mean(axis=1)
    missing = goal - block
    distance = np.linalg.norm(missing[:, :2], axis=1)
    # A block released in motion keeps its velocity while it falls.
    fall_steps = np.sqrt(2 * np.maximum(-missing[:, 2:], 0.0) / GRAVITY_M_S2) / CONTROL_PERIOD_S
    will_miss = np.linalg.norm(missing[:, :2] - fall_steps * displacement(reading, "block")[:, :2], axis=1)

    beside = np.abs(relative[:, :2]).max(axis=1) < BESIDE_M
    inside = beside & (np.abs(relative[:, 2]) < INSIDE_HEIGHT_M)
    holding = inside & (fingers < HOLDING_M)
    placed = (will_miss < PLACED_M) & (np.abs(missing[:, 2]) < release_m)
    opened = fingers > OPENED_M

    carry = missing.copy()
    carry[:, 2] += np.where(distance > 2 * PLACED_M, carry_m, 0.0)
    still = np.zeros_like(relative)
    return first_match(
        [
            (placed & inside & ~opened, command(still, OPEN)),
            (placed, command(towards(above(relative, RETREAT_M)) * [0, 0, 1], HOLD)),
            (holding, command(towards(carry), CLOSE)),
            (inside, command(towards(relative), CLOSE)),
            (beside, command(towards(relative), OPEN)),
        ],
        otherwise=command(towards(_over_the_block(relative)), OPEN),
    )


def _over_the_block(relative: Float64Array) -> Float64Array:
    """Error (N, 3) to the point above the block; only upwards while low beside it, to avoid a collision."""
    error = above(relative, HOVER_M)
    low = relative[:, 2] > -HOVER_M / 2
    near = np.linalg.norm(relative[:, :2], axis=1) < 0.1
    return np.where((low & near)[:, None], error * [0.0, 0.0, 1.0], error)
