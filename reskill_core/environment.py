"""Batched environments: what learning, evaluation and collecting need of a simulator, whatever it simulates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reskill_core.spec import TaskSpec

Places = Sequence[int] | NDArray[np.int64]


class StepResult(Protocol):
    """What one control step led to, for each of the N environments stepped."""

    @property
    def observation(self) -> Any:
        """Observations after the step, in the layout of the task."""

    @property
    def reward(self) -> NDArray[np.float64]:
        """(N,)."""

    @property
    def success(self) -> NDArray[np.bool_]:
        """(N,) whether the task is solved right now."""

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is over by the task's own rule: nothing follows."""

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is cut off by the horizon."""

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """(N,) whether the simulation broke down: the step counts for nothing, and the environment must be reset."""

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is over for any reason."""


class VectorEnv(Protocol):
    """N environments of one task that are stepped together, each of them in a place from 0 to N - 1.

    An episode depends on its seed and on its actions alone: neither on its place, nor on what happens in the others.
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
            seeds: one for each place.
            places: where; everywhere by default.

        Returns:
            Observations of all N environments.

        Raises:
            SimulationError: seeds and places differ in number, or a seed is out of range.
        """

    def step(self, actions: NDArray[Any], places: Places | None = None) -> StepResult:
        """Advance by one control period.

        Args:
            actions: (n, A) in [-1, 1], one for each place.
            places: where; everywhere by default. The other environments stand still.

        Raises:
            SpecError: the actions have another shape.
        """

    def observation(self) -> Any:
        """Current observations of all N environments."""


@runtime_checkable
class Restorable(Protocol):
    """Environments whose complete state can be kept and put back, so that they go on to the same bits."""

    @property
    def state_dim(self) -> int:
        """Length S of one environment's state."""

    def state(self, places: Places | None = None) -> NDArray[np.float64]:
        """(n, S) complete states, of all environments by default."""

    def set_state(self, rows: NDArray[np.float64], places: Places | None = None) -> None:
        """Inverse of :meth:`state`.

        Raises:
            SimulationError: the rows have another shape.
        """


class RestorableVectorEnv(VectorEnv, Restorable, Protocol):
    """Environments that can be restored."""
