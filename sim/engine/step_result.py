"""What a control step of a batch of environments led to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class StepResult:
    """Outcome of one control step, for each of the environments stepped.

    It is what :class:`reskill_core.environment.StepResult` asks for.

    Attributes:
        observation: (N, O) float64, or a mapping where the layout has images.
        reward: (N,) float64.
        success: (N,) whether the task is solved right now.
        terminated: (N,) whether the episode is over because success has held long enough.
        truncated: (N,) whether the horizon is reached without that.
        diverged: (N,) whether the physics broke down; the environment is left where it was and must be reset.
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
