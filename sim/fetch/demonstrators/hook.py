"""Demonstrator of the hook tasks: takes the hook, reaches beyond the object and pulls it to the goal."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.demonstrators.motions import CLOSE, GAIN, OPEN, Reading, above, command, first_match, towards

# Tolerances of the handle between the fingers: along it, across it, vertically [m].
GRASP_TOLERANCE_M = np.array([0.04, 0.02, 0.02])
GRASP_HEIGHT_M = 0.008
HOLDING_M = 0.022
HOVER_M = 0.06
# Target of the hook's held point relative to the object, so that the head lies beyond it [m].
REACH = np.array([-0.5, -0.05])
TABLE_HEIGHT_M = 0.42
CARRY_HEIGHT_M = 0.5
CLEAR_HEIGHT_M = 0.475
PLACED_M = 0.015
SWEEP_SPEED = 0.4
SWEEP_CENTRING = 8.0


def hook(reading: Reading) -> Float64Array:
    """(N, 4) actions of a state machine whose state follows from the observation."""
    held, relative = reading["hook_position"], reading["hook_relative_position"]
    grasp = above(relative, GRASP_HEIGHT_M)
    fingers = reading["finger_position"].mean(axis=1)

    inside = np.all(np.abs(grasp) < GRASP_TOLERANCE_M, axis=1)
    holding = inside & (fingers < HOLDING_M)
    over_handle = np.all(np.abs(grasp[:, :2]) < GRASP_TOLERANCE_M[:2] * 0.75, axis=1)
    return first_match(
        [
            (holding, _with_hook_in_hand(reading, held)),
            (inside, command(towards(grasp), CLOSE)),
            (over_handle, command(towards(grasp), OPEN)),
        ],
        otherwise=command(towards(above(relative, HOVER_M)), OPEN),
    )


def _with_hook_in_hand(reading: Reading, held: Float64Array) -> Float64Array:
    target, goal = reading["object_position"], reading["goal_position"]
    missing = (goal - target) * [1.0, 1.0, 0.0]
    distance = np.linalg.norm(missing, axis=1, keepdims=True)
    reach = target[:, :2] + REACH - held[:, :2]
    height = held[:, 2]

    placed = distance[:, 0] < PLACED_M
    low = height < TABLE_HEIGHT_M + 0.03
    # The head is behind the object: far enough out, and the object is between the head's ends.
    captured = (reach[:, 0] < 0.13) & (np.abs(reach[:, 1]) < 0.08)
    aligned = (np.abs(reach) < 0.03).all(axis=1)

    sweep = SWEEP_SPEED * missing / np.maximum(distance, 1e-6)
    # Pull towards the goal, and keep the object in the middle of the head.
    sweep[:, 1] += SWEEP_CENTRING * reach[:, 1]
    sweep[:, 2] = GAIN * (TABLE_HEIGHT_M - height)
    down = np.column_stack([reach, TABLE_HEIGHT_M - height])
    across = np.column_stack([reach, CARRY_HEIGHT_M - height])
    lift = across * [0.0, 0.0, 1.0]
    return first_match(
        [
            (placed, command(np.zeros_like(held), CLOSE)),
            (low & captured, command(sweep, CLOSE)),
            (aligned, command(towards(down), CLOSE)),
            (height > CLEAR_HEIGHT_M, command(towards(across), CLOSE)),
        ],
        otherwise=command(towards(lift), CLOSE),
    )
