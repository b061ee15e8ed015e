"""Actor of soft actor-critic in numpy: a network for the mean and the standard deviation of decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array
from reskill_core.rl.actor import Decision
from reskill_core.rl.gaussian import ACTOR, log_density
from reskill_core.runtime.networks import Mlp, soft_limit

# Weights of the bounds: that of the mean; the lowest, initial and highest log standard deviation.
MEAN_LIMIT, LOG_STD_RANGE = "actor.mean_limit", "actor.log_std_range"


class SacActor(NamedTuple):
    """Gaussian :class:`~reskill_core.rl.actor.Actor` whose standard deviation depends on the input.

    It computes the same as :class:`reskill_core.rl.sac_networks.Policy`.

    Attributes:
        net: network from inputs (..., I) to (..., 2 D): mean and log standard deviation before their bounds.
        mean_limit: means are in (-limit, limit).
        log_std_range: (3,) lowest, initial and highest log standard deviation.
    """

    net: Mlp
    mean_limit: float
    log_std_range: Float32Array

    @classmethod
    def from_weights(cls, weights: Mapping[str, NDArray[np.float32]], prefix: str = "") -> SacActor:
        """Load an actor from the weights of a checkpoint whose names begin with ``prefix``."""
        limit = float(weights[f"{prefix}{MEAN_LIMIT}"][0])
        return cls(Mlp.from_weights(weights, f"{prefix}{ACTOR}"), limit, weights[f"{prefix}{LOG_STD_RANGE}"])

    def act(self, inputs: Float32Array, draws: Float32Array | None = None) -> Decision:
        """See :class:`~reskill_core.rl.actor.Actor`."""
        free_mean, free_log_std = np.split(self.net(inputs).reshape(len(inputs), -1), 2, axis=1)
        mean = soft_limit(free_mean, self.mean_limit)
        if draws is None:
            return Decision(mean, None)
        low, initial, high = self.log_std_range
        log_std = initial + np.where(
            free_log_std > 0, soft_limit(free_log_std, high - initial), soft_limit(free_log_std, initial - low)
        )
        return Decision(mean + np.exp(log_std) * draws, log_density(draws, log_std))
