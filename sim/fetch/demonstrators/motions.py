"""What the scripted controllers share: reading observations by name and moving towards points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import ObsSpec, vector_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Action per metre of distance: full speed from 4 cm on, no overshoot at the arm's one-step lag.
GAIN = 25.0
OPEN, HOLD, CLOSE = 1.0, 0.0, -1.0
# Half the gap between fully open fingers is 5 cm; above this they count as open [m].
OPENED_M = 0.04


# How many numbers say in which manner an episode is demonstrated.
MANNER_DIM = 2


class Reading:
    """Named slices of a batch of observations, and in which manner each episode is to be demonstrated.

    Args:
        spec: layout of the observations.
        observation: (N, O).
        manner: (N, MANNER_DIM) numbers in [0, 1], constant over an episode, that a controller may use to do things now
            this way, now that way; its middle by default.
    """

    def __init__(self, spec: ObsSpec, observation: FloatArray, manner: FloatArray | None = None) -> None:
        self._spec, self._observation = spec, vector_of(spec.check(observation))
        self._manner = np.full((len(observation), MANNER_DIM), 0.5) if manner is None else manner

    def __getitem__(self, name: str) -> FloatArray:
        return self._observation[:, self._spec.slice(name)]

    def __len__(self) -> int:
        return len(self._observation)

    def drawn(self, index: int, low: float, high: float) -> FloatArray:
        """(N,) values between two bounds, by an entry of the manner."""
        return low + (high - low) * self._manner[:, index]


# (N, 4) clean actions from named observation slices.
Controller = Callable[[Reading], FloatArray]


def command(velocity: FloatArray, gripper: float | FloatArray) -> FloatArray:
    """(N, 4) action from a displacement wish (N, 3) in action units and a gripper command."""
    action = np.empty((len(velocity), 4))
    action[:, :3] = np.clip(velocity, -1.0, 1.0)
    action[:, 3] = gripper
    return action


def towards(error: FloatArray) -> FloatArray:
    """(N, 3) proportional motion along a position error [m]."""
    return GAIN * error


def above(point: FloatArray, height: float) -> FloatArray:
    """Points shifted up [m]."""
    return point + np.array([0.0, 0.0, height])


def displacement(reading: Reading, name: str) -> FloatArray:
    """(N, 3) displacement of an object over the last control step [m]."""
    return reading[f"{name}_relative_displacement"] + reading["gripper_displacement"]


def first_match(rules: list[tuple[BoolArray, FloatArray]], otherwise: FloatArray) -> FloatArray:
    """(N, A) for each row the action of the first rule whose condition holds there."""
    return np.select([condition[:, None] for condition, _ in rules], [action for _, action in rules], otherwise)
