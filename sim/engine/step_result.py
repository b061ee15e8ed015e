"""Result of a control step of a batch of environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray


@dataclass(frozen=True)
class StepResult:
    """Result of one control step, for each of the stepped environments.

    It implements :class:`reskill_core.environment.StepResult`.

    Attributes:
        observation: (N, O) float64, or a mapping if the layout has images.
        reward: (N,) float64.
        success: (N,) whether the task is solved in the current state.
        terminated: (N,) whether the episode ended because success has held long enough.
        truncated: (N,) whether the episode reached the horizon otherwise.
        diverged: (N,) whether the physics diverged; the environment stays in its previous state and must be reset.
    """

    observation: Any
    reward: NDArray[np.float64]
    success: BoolArray
    terminated: BoolArray
    truncated: BoolArray
    diverged: BoolArray

    @property
    def done(self) -> BoolArray:
        """(N,) whether the episode is over for any reason."""
        return self.terminated | self.truncated | self.diverged
