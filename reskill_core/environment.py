"""Interfaces of batched environments, as used by training, evaluation and collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array
from reskill_core.spec import TaskSpec

Places = Sequence[int] | NDArray[np.int64]


class StepResult(Protocol):
    """Result of one control step, for each of the N stepped environments."""

    @property
    def observation(self) -> Any:
        """Observations after the step, in the layout of the task."""

    @property
    def reward(self) -> NDArray[np.float64]:
        """(N,) rewards of the step."""

    @property
    def success(self) -> NDArray[np.bool_]:
        """(N,) whether the task is solved in the current state."""

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """(N,) whether the episode ended in a terminal state of the task."""

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(N,) whether the episode was cut off by the horizon."""

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """(N,) whether the simulation diverged: the step is invalid, and the environment must be reset."""

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is over for any reason."""


class VectorEnv(Protocol):
    """N environments of one task that are stepped together, each in a place (index) from 0 to N - 1.

    An episode depends only on its seed and its actions, not on its place or on the other environments.
    """

    @property
    def spec(self) -> TaskSpec:
        """The task: layouts of observations and actions, control period, horizon."""

    @property
    def num_envs(self) -> int:
        """Number N of environments."""

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> Any:
        """Start episodes.

        Args:
            seeds: one seed per place.
            places: indices of environments; all by default.

        Returns:
            Observations of all N environments.

        Raises:
            SimulationError: seeds and places differ in number, or a seed is out of range.
        """

    def step(self, actions: NDArray[Any], places: Places | None = None) -> StepResult:
        """Advance by one control period.

        Args:
            actions: (n, A) in [-1, 1], one per place.
            places: indices of environments; all by default. The others are not stepped.

        Raises:
            SpecError: the actions have another shape.
        """

    def observation(self) -> Any:
        """Return the current observations of all N environments."""


@runtime_checkable
class Restorable(Protocol):
    """Environments whose complete state can be saved and restored, with bit-equal continuation."""

    @property
    def state_dim(self) -> int:
        """Length S of one environment's state."""

    def state(self, places: Places | None = None) -> NDArray[np.float64]:
        """(n, S) complete states, by default of all environments."""

    def set_state(self, rows: NDArray[np.float64], places: Places | None = None) -> None:
        """Restore states saved by :meth:`state`.

        Raises:
            SimulationError: the rows have another shape.
        """


@runtime_checkable
class Privileged(Protocol):
    """Environments that tell more than an agent observes, for critics and estimators in training."""

    def true_observation(self) -> Any:
        """Return the current observations of all N environments without the delay and noise of their variation."""

    def world_parameters(self) -> NDArray[np.float64]:
        """Return (N, W) what the variation has drawn for each running episode.

        Entries are the parameters that are not always nominal, each mapped to [-1, 1] from the span of its range and
        its nominal value. They do not change during an episode.
        """


@runtime_checkable
class Delaying(Protocol):
    """Environments in which actions may take effect later."""

    def action_delays(self) -> NDArray[np.float64]:
        """Return (N,) control steps, also in parts, until an action takes effect, in each running episode."""


@runtime_checkable
class Graded(Protocol):
    """Environments whose variation can be weakened, as in a curriculum.

    Attributes:
        strength: (N,) strength of each environment's variation, from 0, nominal, to 1, as configured. A change takes
            effect at the next reset, or the next state that is set; a state has to be set with the strength that it
            was saved with.
    """

    strength: NDArray[np.float64]


def variation_strengths(num_envs: int, nominal_share: float, strength: float = 1.0) -> Float64Array:
    """(N,) strengths of the variation, of which a share, the first ones, is nominal."""
    values = np.full(num_envs, strength)
    values[: round(nominal_share * num_envs)] = 0.0
    return values


class RestorableVectorEnv(VectorEnv, Restorable, Protocol):
    """Batched environments that can be restored."""
