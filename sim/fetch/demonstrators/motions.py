"""Building blocks of scripted controllers: named observation slices, and motions towards points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import ObsSpec, vector_of

# Action per metre of distance: full speed from 4 cm on, without overshoot at the arm's lag of one step.
GAIN = 25.0
OPEN, HOLD, CLOSE = 1.0, 0.0, -1.0
# Finger position above which the fingers count as open; fully open is 5 cm [m].
OPENED_M = 0.04


# Number of parameters of an episode's style.
MANNER_DIM = 2


class Reading:
    """Named slices of a batch of observations, and the style parameters of each episode.

    Args:
        spec: layout of the observations.
        observation: (N, O).
        manner: (N, MANNER_DIM) style parameters in [0, 1], constant over an episode, by which a controller may vary its
            motion; 0.5 by default.
    """

    def __init__(self, spec: ObsSpec, observation: Float64Array, manner: Float64Array | None = None) -> None:
        self._spec, self._observation = spec, vector_of(spec.check(observation))
        self._manner = np.full((len(observation), MANNER_DIM), 0.5) if manner is None else manner

    def __getitem__(self, name: str) -> Float64Array:
        return self._observation[:, self._spec.slice(name)]

    def __len__(self) -> int:
        return len(self._observation)

    def drawn(self, index: int, low: float, high: float) -> Float64Array:
        """(N,) values between two bounds, interpolated by a style parameter."""
        return low + (high - low) * self._manner[:, index]


# Function from named observation slices to (N, 4) noise-free actions.
Controller = Callable[[Reading], Float64Array]


def command(velocity: Float64Array, gripper: float | Float64Array) -> Float64Array:
    """(N, 4) action from a velocity (N, 3) in action units and a gripper command."""
    action = np.empty((len(velocity), 4))
    action[:, :3] = np.clip(velocity, -1.0, 1.0)
    action[:, 3] = gripper
    return action


def towards(error: Float64Array) -> Float64Array:
    """(N, 3) proportional control of a position error [m]."""
    return GAIN * error


def above(point: Float64Array, height: float) -> Float64Array:
    """Points shifted up [m]."""
    return point + np.array([0.0, 0.0, height])


def displacement(reading: Reading, name: str) -> Float64Array:
    """(N, 3) displacement of an object over the last control step [m]."""
    return reading[f"{name}_relative_displacement"] + reading["gripper_displacement"]


def first_match(rules: list[tuple[BoolArray, Float64Array]], otherwise: Float64Array) -> Float64Array:
    """(N, A) actions, for each row of the first rule whose condition holds."""
    return np.select([condition[:, None] for condition, _ in rules], [action for _, action in rules], otherwise)
